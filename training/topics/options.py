"""The options of the recipe, and the training plan they make."""

from __future__ import annotations

import argparse
from pathlib import Path

from .batches import Variation
from .documents import FOLDER
from .plan import Plan

OUTPUT = Path("server/gatehouse_server/embedded/topics/1")
STATE = Path("build/training-topics")


def parser() -> argparse.ArgumentParser:
    """Every option with its meaning and default."""
    result = argparse.ArgumentParser(
        prog="python -m training.topics",
        description="Train the embedded document classifier and write its model folder.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("--data", type=Path, required=True, help=f"folder that contains {FOLDER}/")
    add("--output", type=Path, default=OUTPUT, help="model folder to write")
    add("--state", type=Path, default=STATE, help="folder of the checkpoint, for --resume")
    add("--resume", action="store_true", help="go on from the checkpoint where there is one")
    add("--time-limit-minutes", type=float, help="end by then; the schedule is hastened to fit")
    add("--seed", type=int, default=1, help="seed of everything random")
    add("--threads", type=int, default=1, help="processor threads")
    add("--epochs", type=int, default=22, help="epochs of the schedule")
    add("--patience-epochs", type=int, default=8, help="stop after so many epochs without a better one")
    add("--batch-size", type=int, default=32, help="documents in a step")
    add("--learning-rate", type=float, default=1.5e-3, help="highest rate of the schedule")
    add("--weight-decay", type=float, default=0.01, help="decoupled weight decay")
    add("--average-decay", type=float, default=0.998, help="decay of the averaged weights, per step")
    add("--vocabulary-size", type=int, default=24000, help="words, the unknown one included")
    add("--embedding-size", type=int, default=128, help="size of a word vector")
    add("--hidden-size", type=int, default=128, help="LSTM units of each direction")
    add("--vector-scale", type=float, default=0.5, help="root mean square of the first word vectors")
    add("--embedding-dropout", type=float, default=0.3, help="dropout of word vector dimensions")
    add("--output-dropout", type=float, default=0.2, help="dropout of LSTM outputs")
    add("--pooled-dropout", type=float, default=0.4, help="dropout before the head")
    add("--label-smoothing", type=float, default=0.02, help="share of a label given to all classes")
    add("--teacher-share", type=float, default=0.6, help="share of the teacher's opinion in the target")
    add("--teacher-folds", type=int, default=5, help="folds of the teacher's held-out opinions")
    add("--teacher-penalty", type=float, default=2e-7, help="quadratic penalty of the teacher's weights")
    add("--category-share", type=float, default=0.2, help="weight of the finer categories' loss")
    add("--title-before", type=float, default=0.25, help="share of documents shown with the title before")
    add("--title-alone", type=float, default=0.05, help="share of documents shown as title alone")
    add("--crop", type=float, default=0.4, help="share of the other documents cropped")
    add("--unknown", type=float, default=0.15, help="share of words made unknown")
    add("--drop", type=float, default=0.05, help="share of words dropped")
    add("--longest-steps", type=int, default=256, help="longest document in training, in words")
    return result


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan of the loop as asked for."""
    minutes = options.time_limit_minutes
    return Plan(
        seed=options.seed,
        epochs=options.epochs,
        patience_epochs=options.patience_epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        warm_up_steps=200,
        average_decay=options.average_decay,
        label_smoothing=options.label_smoothing,
        teacher_share=options.teacher_share,
        category_share=options.category_share,
        time_limit_seconds=None if minutes is None else minutes * 60,
        variation=Variation(
            title_before=options.title_before,
            title_alone=options.title_alone,
            crop=options.crop,
            unknown=options.unknown,
            drop=options.drop,
            longest_steps=options.longest_steps,
        ),
    )
