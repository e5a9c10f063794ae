"""Train the keyboard model: ``python -m training.keyboard --data DIR``."""

import sys
from pathlib import Path

import click
import torch
from click.core import ParameterSource
from rich.console import Console

from training.keyboard import card, corpus
from training.keyboard.course import Settings
from training.keyboard.evaluation import measure, network_scores, trigram_scores
from training.keyboard.export import export, load_exported
from training.keyboard.network import Shape
from training.keyboard.optimization import Run
from training.keyboard.tokenization import SENTENCE_END, SPECIALS, token_id
from training.keyboard.trigram import Trigram

_FOLDER = click.Path(path_type=Path, file_okay=False)
_PATHS = ("data", "output", "work", "resume", "export_only")  # not part of what decides the weights


@click.command(context_settings={"show_default": True})
@click.option(
    "--data", type=_FOLDER, required=True, help="Holds tatoeba-eng/ and common-voice-en-sentences/."
)
@click.option(
    "--output",
    type=_FOLDER,
    default=Path("server/gatehouse_server/embedded/keyboard/1"),
    help="Model folder to write.",
)
@click.option("--work", type=_FOLDER, default=Path("build/training-keyboard"), help="Where checkpoints lie.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--export-only", is_flag=True, help="Train no further: export the best weights so far.")
@click.option(
    "--time-limit-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Fit the schedule into this much training time.",
)
@click.option("--epochs", type=int, default=18, help="Passes over the training text at most.")
@click.option("--seed", type=int, default=1, help="Of names, first weights, dropout and batch order.")
@click.option("--vocabulary-size", type=int, default=10_000, help="Words, <unk> and </s> included.")
@click.option("--embedding-size", type=int, default=192, help="Width of embedding and projection.")
@click.option("--hidden-size", type=int, default=896, help="Width of the LSTM's cell.")
@click.option("--batch-tokens", type=int, default=640, help="Tokens in a batch.")
@click.option("--learning-rate", type=float, default=2e-3, help="Peak learning rate of AdamW.")
@click.option("--weight-decay", type=float, default=0.02, help="Decoupled weight decay.")
@click.option("--input-dropout", type=float, default=0.2, help="Dropout on embedded inputs.")
@click.option("--output-dropout", type=float, default=0.3, help="Dropout on the states before the softmax.")
@click.option("--average-decay", type=float, default=0.9995, help="Decay of the weights' moving average.")
@click.option("--clip-norm", type=float, default=1.0, help="Largest gradient norm.")
@click.option("--patience-epochs", type=int, default=2, help="Stop after so many epochs without a gain.")
@click.option(
    "--precision",
    type=click.Choice(["bfloat16", "float32"]),
    default="bfloat16",
    help="Of matrix products in training; everything else is float32.",
)
@click.option("--threads", type=int, default=1, help="Compute threads.")
@click.pass_context
def main(
    context: click.Context,
    data: Path,
    output: Path,
    work: Path,
    resume: bool,
    export_only: bool,
    time_limit_minutes: float | None,
    epochs: int,
    seed: int,
    vocabulary_size: int,
    embedding_size: int,
    hidden_size: int,
    batch_tokens: int,
    learning_rate: float,
    weight_decay: float,
    input_dropout: float,
    output_dropout: float,
    average_decay: float,
    clip_norm: float,
    patience_epochs: int,
    precision: str,
    threads: int,
) -> None:
    """Train the embedded keyboard model, measure it beside a trigram, and write its model folder."""
    torch.set_num_threads(threads)
    console = Console(soft_wrap=True, log_path=False, width=None if sys.stdout.isatty() else 160)
    raw = corpus.read(data)
    prepared = corpus.prepare(raw, seed)
    tokenizer = corpus.make_tokenizer(prepared.train, vocabulary_size)
    start = token_id(tokenizer, SENTENCE_END)
    train = corpus.encode(tokenizer, prepared.train)
    valid = corpus.encode(tokenizer, prepared.valid)
    console.log(
        f"{train.sentences} sentences, {len(train.ids)} tokens to train on; "
        f"{valid.sentences} sentences, {len(valid.ids)} tokens to validate on"
    )
    shape = Shape(
        vocabulary_size=tokenizer.get_vocab_size(), embedding_size=embedding_size, hidden_size=hidden_size
    )
    settings = Settings(
        seed=seed,
        epochs=epochs,
        time_limit_seconds=None if time_limit_minutes is None else time_limit_minutes * 60.0,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        input_dropout=input_dropout,
        output_dropout=output_dropout,
        average_decay=average_decay,
        clip_norm=clip_norm,
        patience_epochs=patience_epochs,
        dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32,
    )
    run = Run(shape, settings, train, valid, start, work, console)
    if resume or export_only:
        run.resume()
    if not export_only:
        run.train()

    console.log("writing the model folder; measuring its stored weights beside the trigram")
    export(output, run.best(), tokenizer, prepared)
    network = load_exported(output, shape)
    never_proposed = [token_id(tokenizer, special) for special in SPECIALS]
    raw_train, raw_valid = corpus.encode(tokenizer, raw.train), corpus.encode(tokenizer, raw.valid)
    comparisons = []
    for name, learnt, judged in (("prepared", train, valid), ("raw", raw_train, raw_valid)):
        trigram = Trigram(learnt, shape.vocabulary_size, start)
        comparisons.append(
            card.Comparison(
                text=name,
                model=measure(network_scores(network, judged, start), never_proposed),
                trigram=measure(trigram_scores(trigram, judged, start), never_proposed),
            )
        )
        console.log(comparisons[-1])
    card.draw(output / "loss.png", run.progressed)
    card.write(
        output / "card.md",
        command=_command(context),
        shape=shape,
        settings=settings,
        progressed=run.progressed,
        comparisons=comparisons,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        train_text=train,
        weights_bytes=(output / "model.safetensors").stat().st_size,
    )
    console.log(f"written to {output}")


def _command(context: click.Context) -> str:
    """The command that gives this run: every option passed that decides the weights."""
    parts = ["python -m training.keyboard --data DIR"]
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in _PATHS:
            value = context.params[name]
            parts.append(
                f"{option.opts[0]} {value:g}" if isinstance(value, float) else f"{option.opts[0]} {value}"
            )
    return " ".join(parts)


if __name__ == "__main__":
    main()
