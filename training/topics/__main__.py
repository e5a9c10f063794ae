"""Command line of the recipe: prepare, train, and write the model folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import torch

from .card import Run, write_report
from .documents import FOLDER, read_documents
from .export import EXPORTED, folder_bytes, write_model
from .loop import Training, half_precision
from .measures import figures, logits
from .network import Shape, TopicNetwork
from .options import parser, plan_of
from .preparation import Prepared, prepare
from .words import encode


def first_network(options: argparse.Namespace, prepared: Prepared) -> TopicNetwork:
    """The network before training, with the word vectors made from the text."""
    torch.manual_seed(options.seed)
    network = TopicNetwork(
        Shape(
            vocabulary_size=prepared.tokenizer.get_vocab_size(),
            embedding_size=options.embedding_size,
            hidden_size=options.hidden_size,
            classes=len(prepared.labels),
            categories=len(prepared.categories),
            embedding_dropout=options.embedding_dropout,
            output_dropout=options.output_dropout,
            pooled_dropout=options.pooled_dropout,
        )
    )
    with torch.no_grad():
        network.embedding.weight.copy_(prepared.vectors * options.vector_scale)
    return network


def write_folder(
    training: Training,
    prepared: Prepared,
    options: argparse.Namespace,
    *,
    command: Sequence[str],
    report: Callable[[str], None],
) -> None:
    """The whole model folder of the best weights so far."""
    result = training.evaluate(training.best)
    probe = TopicNetwork(training.network.shape)
    probe.load_state_dict(half_precision(training.best))
    documents = read_documents(options.data / FOLDER / "valid.tsv")
    titled = [f"{document.title} {document.abstract}" for document in documents]
    write_model(
        options.output,
        shape=training.network.shape,
        labels=prepared.labels,
        weights=training.best,
        tokenizer=prepared.tokenizer,
        version=options.output.name,
    )
    left_out = {"data", "output", "state", "resume", "threads"}
    write_report(
        options.output,
        labels=prepared.labels,
        result=result,
        teacher=prepared.teacher,
        titled=figures(logits(probe, encode(prepared.tokenizer, titled)), prepared.valid_labels),
        run=Run(
            command=command,
            parameters={name: value for name, value in vars(options).items() if name not in left_out},
            progress=training.progress,
            weights=sum(value.numel() for name, value in training.best.items() if name.startswith(EXPORTED)),
            threads=options.threads,
        ),
    )
    report(
        f"{options.output}: {folder_bytes(options.output) / 1e6:.2f} MB, accuracy {result.accuracy:.4f}, "
        f"macro F1 {result.macro_f1:.4f}, loss {result.loss:.4f}"
    )


def main(arguments: Sequence[str]) -> None:
    """Run the recipe."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.state.mkdir(parents=True, exist_ok=True)

    def report(line: str) -> None:
        print(line, flush=True)

    prepared = prepare(
        options.data,
        options.state,
        vocabulary_size=options.vocabulary_size,
        embedding_size=options.embedding_size,
        folds=options.teacher_folds,
        penalty=options.teacher_penalty,
        seed=options.seed,
        report=report,
    )
    network = first_network(options, prepared)
    report(f"{sum(value.numel() for value in network.parameters()):,} weights")
    checkpoint = options.state / "checkpoint.pt"
    training = Training(
        network,
        plan_of(options),
        prepared.examples,
        (prepared.valid_sequences, prepared.valid_labels),
        checkpoint,
        report=report,
    )
    if options.resume and checkpoint.is_file():
        training.resume()
        report(f"resumed after epoch {training.progress.epoch}")
    training.run()
    write_folder(training, prepared, options, command=repeatable(arguments), report=report)


def repeatable(arguments: Sequence[str]) -> list[str]:
    """The command that repeats this run, without what depends on the machine: its folders."""
    whole = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for folder in ("--data", "--output", "--state"):
        whole.add_argument(folder)
    whole.add_argument("--resume", action="store_true")
    _, deciding = whole.parse_known_args(arguments)
    return ["python", "-m", "training.topics", "--data", "DIR", *deciding]


if __name__ == "__main__":
    main(sys.argv[1:])
