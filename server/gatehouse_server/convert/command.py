"""`gatehouse models convert`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

EXIT_REFUSED = 2
"""As of every command that could not do what it was asked."""
_FILE = click.Path(path_type=Path)


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.argument("source", type=_FILE)
@click.argument("dest", type=_FILE)
@click.option("--name", metavar="NAME", help="Name of the model; by default made of SOURCE's.")
@click.option("--version", default="1", show_default=True, metavar="VERSION")
@click.option("--description", default="", metavar="TEXT", help="One sentence about the model.")
@click.option(
    "--task",
    type=click.Choice(["language_model", "classifier", "regressor", "encoder"]),
    help="What the outputs are, where the source does not tell.",
)
@click.option("--as", "as_", type=click.Choice(["encoder"]), help="Serve the recurrent part alone: vectors.")
@click.option(
    "--vocab",
    metavar="FILE",
    help="Tokens: one a line in the order of their ids, JSON, or tokenizer.json. `numbers`: called by their ids.",
)
@click.option(
    "--unknown-token", metavar="TOKEN", help="What other words become; by default the usual one, <unk>."
)
@click.option("--start-token", metavar="TOKEN", help="What a session of a language model begins with.")
@click.option("--end-token", metavar="TOKEN", help="What ends a sentence.")
@click.option("--lowercase", is_flag=True, help="Text is lower-cased before it is looked up.")
@click.option(
    "--split",
    type=click.Choice(["words", "whitespace", "characters"]),
    default="words",
    show_default=True,
    help="How text becomes tokens, with a list of tokens.",
)
@click.option("--keep-context", is_flag=True, help="A language model goes on after the end of a sentence.")
@click.option(
    "--labels", metavar="FILE|A,B,C", help="Labels of a classifier, in order. `numbers`: called so."
)
@click.option(
    "--scores",
    type=click.Choice(["softmax", "sigmoid", "linear"]),
    help="What makes scores of the outputs; sigmoid for several labels at once.",
)
@click.option("--feature-names", metavar="A,B,C", help="Names for the values of a step.")
@click.option("--pooling", metavar="KIND", help="last, mean, max, several joined by commas, or none.")
@click.option("--activation", type=click.Choice(["tanh", "relu"]), help="Of an nn.RNN.")
@click.option("--recurrent", metavar="NAME", help="The recurrent module, of several; stacked: LOWER,UPPER.")
@click.option("--embedding", metavar="NAME", help="The embedding, or none.")
@click.option("--head", metavar="NAME", help="The output layer, tied (to the embedding), or none.")
@click.option("--mapping", type=_FILE, metavar="FILE", help="JSON that says where each parameter is.")
@click.option("--check-inputs", type=_FILE, metavar="FILE", help=".npy of inputs to compare with.")
@click.option("--check-outputs", type=_FILE, metavar="FILE", help=".npy of the outputs for them.")
@click.option(
    "--check-form",
    type=click.Choice(["scores", "log_scores", "logits", "outputs"]),
    default="scores",
    show_default=True,
    help="What those outputs are; `outputs`: of the recurrent layers.",
)
@click.option("--tolerance", type=click.FloatRange(min=0), default=1e-5, show_default=True)
@click.option("--force", is_flag=True, help="Replace the folder that is there.")
def convert(source: Path, dest: Path, **values: Any) -> None:
    """Make a model folder DEST/NAME/VERSION of SOURCE, a trained network in another format.

    Reads state dicts of torch (.pt, .pth, .safetensors), models of Keras (.keras, .h5), graphs of ONNX, and
    any named arrays with a --mapping. No code of SOURCE is ever run. The folder is loaded and compared with
    the source's own answers before it appears.
    """
    # Imported late: it brings torch, and a misspelt flag should not wait for that.
    from gatehouse_server.convert.conversion import convert as run
    from gatehouse_server.convert.port import ConversionError
    from gatehouse_server.convert.report import report

    try:
        conversion = run(_request(source, dest, values))
    except ConversionError as error:
        click.echo(f"gatehouse models convert: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    click.echo(report(conversion, dest))


def _request(source: Path, dest: Path, values: dict[str, Any]) -> Any:
    from gatehouse_server.convert.port import SourceOptions
    from gatehouse_server.convert.request import CheckRequest, ConversionRequest, TextRequest

    return ConversionRequest(
        source=source,
        destination=dest,
        name=values["name"],
        version=values["version"],
        task=values["task"],
        description=values["description"],
        labels=values["labels"],
        head_kind=values["scores"],
        feature_names=_words(values["feature_names"]) or (),
        force=values["force"],
        options=SourceOptions(
            as_encoder=values["as_"] == "encoder",
            recurrent=values["recurrent"],
            embedding=values["embedding"],
            head=values["head"],
            activation=values["activation"],
            pooling=() if values["pooling"] == "none" else _words(values["pooling"]),
            mapping=values["mapping"],
        ),
        text=TextRequest(
            vocabulary=values["vocab"],
            unknown_token=values["unknown_token"],
            start_token=values["start_token"],
            end_token=values["end_token"],
            lowercase=values["lowercase"],
            split=values["split"],
            keep_context=values["keep_context"],
        ),
        check=CheckRequest(
            tolerance=values["tolerance"],
            inputs=values["check_inputs"],
            outputs=values["check_outputs"],
            form=values["check_form"],
        ),
    )


def _words(given: str | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(word.strip() for word in given.split(","))
