"""Command line of the recipe: train and write the model folder, or measure what a server answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import torch
from gatehouse import Client

from .batches import Batcher
from .card import Run, figure_table, write_report
from .days import Example, examples, split_days
from .export import folder_bytes, half_precision, write_model
from .loop import Plan, train
from .measures import figures_of, read_by_dateutil, read_by_network, read_by_server
from .network import DateNetwork, Shape
from .tokenization import input_tokenizer, output_tokenizer

SPLIT_SEED = 20_260
"""Which days are held back: the same ones for every training, so that no network may be measured on what it saw."""

_VALIDATION_SEED, _HELD_BACK_SEED = 1, 2
_VALIDATION_EXAMPLES = 2_000
_EMBEDDED = Path("server/gatehouse_server/embedded/dates/1")


def held_back_examples(count: int) -> list[Example]:
    """The same spellings of held-back days at each call."""
    return examples(split_days(SPLIT_SEED).held_back, count, Random(_HELD_BACK_SEED))


def parser() -> argparse.ArgumentParser:
    """The options, with their defaults."""
    options = argparse.ArgumentParser(
        prog="python -m training.dates",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--output", type=Path, default=_EMBEDDED, help="the model folder, <name>/<version>")
    options.add_argument("--steps", type=int, default=3_000)
    options.add_argument("--batch-size", type=int, default=256)
    options.add_argument("--learning-rate", type=float, default=3e-3)
    options.add_argument("--weight-decay", type=float, default=0.01)
    options.add_argument("--input-embedding", type=int, default=48)
    options.add_argument("--encoder-hidden", type=int, default=128)
    options.add_argument("--output-embedding", type=int, default=16)
    options.add_argument("--decoder-hidden", type=int, default=192)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument(
        "--examples", type=int, default=10_000, help="spellings of held-back days to measure on"
    )
    options.add_argument(
        "--evaluate", metavar="TARGET", help="measure the server there instead, as localhost:50051"
    )
    options.add_argument("--model", default="dates", help="the model to measure with --evaluate")
    options.add_argument("--beam-size", type=int, default=1, help="how wide to search with --evaluate")
    return options


def main(arguments: Sequence[str]) -> None:
    """Run the recipe."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)

    def report(line: str) -> None:
        print(line, flush=True)

    if options.evaluate is not None:
        evaluate(options, report)
    else:
        make(options, arguments, report)


def evaluate(options: argparse.Namespace, report: Callable[[str], None]) -> None:
    """Exact matches through a server, beside the baseline's."""
    measured = held_back_examples(options.examples)
    with Client(options.evaluate) as client:
        answers = read_by_server(client, options.model, measured, beam_size=options.beam_size)
    readers = {
        f"{options.model} at {options.evaluate}, beam {options.beam_size}": figures_of(measured, answers),
        "python-dateutil": figures_of(measured, read_by_dateutil(measured)),
    }
    report(figure_table(readers))


def make(options: argparse.Namespace, arguments: Sequence[str], report: Callable[[str], None]) -> None:
    """Train, then write the whole folder."""
    torch.manual_seed(options.seed)
    reading, writing = input_tokenizer(), output_tokenizer()
    batcher, split = Batcher(reading, writing), split_days(SPLIT_SEED)
    network = DateNetwork(
        Shape(
            input_vocabulary=reading.get_vocab_size(),
            input_embedding=options.input_embedding,
            encoder_hidden=options.encoder_hidden,
            output_vocabulary=writing.get_vocab_size(),
            output_embedding=options.output_embedding,
            decoder_hidden=options.decoder_hidden,
        )
    )
    plan = Plan(
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        warmup_steps=min(200, max(1, options.steps // 10)),
        report_steps=min(250, options.steps),
        seed=options.seed,
    )
    validation = examples(split.validation, _VALIDATION_EXAMPLES, Random(_VALIDATION_SEED))
    progress = train(network, plan, batcher, split.training, validation, report)
    weights = half_precision(network.state_dict())
    network.load_state_dict(weights)
    write_model(
        options.output,
        shape=network.shape,
        weights=weights,
        reading=reading,
        writing=writing,
        version=options.output.name,
    )
    measured = held_back_examples(options.examples)
    figures = figures_of(measured, read_by_network(network, batcher, measured))
    left_out = {"output", "evaluate", "model", "beam_size", "examples"}
    write_report(
        options.output,
        readers={
            "**this model**, greedy": figures,
            "python-dateutil": figures_of(measured, read_by_dateutil(measured)),
        },
        run=Run(
            command=["python", "-m", "training.dates", *repeatable(arguments)],
            parameters={name: value for name, value in vars(options).items() if name not in left_out},
            progress=progress,
            weights=sum(value.numel() for value in weights.values()),
        ),
    )
    report(f"{options.output}: {folder_bytes(options.output) / 1e6:.2f} MB, exact {figures.exact:.4f}")


def repeatable(arguments: Sequence[str]) -> list[str]:
    """The arguments that decide what comes out: all but where it goes."""
    whole = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    whole.add_argument("--output")
    return whole.parse_known_args(arguments)[1]


if __name__ == "__main__":
    main(sys.argv[1:])
