"""The keyboard's card and loss picture, written by the run itself."""

import math
import platform
from dataclasses import dataclass
from pathlib import Path

import tokenizers
import torch

from training.keyboard.corpus import Encoded
from training.keyboard.course import Progressed, Settings
from training.keyboard.evaluation import Figures
from training.keyboard.first_names import FEMALE, KEPT_SHARE, MALE
from training.keyboard.network import Shape
from training.report import hardware, plot_losses, write_card


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Model and trigram on the same validation targets."""

    text: str
    model: Figures
    trigram: Figures


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _figures(comparisons: list[Comparison]) -> str:
    rows = [
        "| validation text | | perplexity | top-1 | top-3 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for comparison in comparisons:
        model, trigram = comparison.model, comparison.trigram
        for name, figures in (("this model", model), ("trigram", trigram)):
            rows.append(
                f"| {comparison.text} | {name} | {figures.perplexity:.2f} | {_percent(figures.top_1)} "
                f"| {_percent(figures.top_3)} |"
            )
        rows.append(
            f"| {comparison.text} | model against trigram | x {model.perplexity / trigram.perplexity:.3f} "
            f"| {100 * (model.top_1 - trigram.top_1):+.2f} points "
            f"| {100 * (model.top_3 - trigram.top_3):+.2f} points |"
        )
    return "\n".join(rows)


def draw(path: Path, progressed: Progressed) -> None:
    """Write the loss picture."""
    plot_losses(
        path,
        progressed.train_losses,
        progressed.valid_losses,
        "keyboard: training (with dropout) and validation loss",
        train_x=progressed.train_epochs,
        valid_x=progressed.valid_epochs,
        x_label="passes over the training text",
        y_label="cross-entropy per token (nats)",
        best_x=progressed.best_epoch,
    )


def write(
    path: Path,
    *,
    command: str,
    shape: Shape,
    settings: Settings,
    progressed: Progressed,
    comparisons: list[Comparison],
    parameters: int,
    train_text: Encoded,
    weights_bytes: int,
) -> None:
    """Write card.md. `comparisons` are figures of the stored float16 weights."""
    names, kept = len(MALE) + len(FEMALE) + 2, 100 * KEPT_SHARE
    minutes, megabytes = progressed.seconds / 60.0, weights_bytes / 1e6
    precision = str(settings.dtype).removeprefix("torch.")
    sections = {
        "Figures": f"""
        Measured on the stored float16 weights, computed in float32, over {comparisons[0].model.targets}
        targets: every word, mark, `<unk>` and sentence end counts, the last two are never proposed. The
        trigram is an interpolated Kneser-Ney trigram (discount 0.75) over the same vocabulary and sentences,
        measured by the same code. "prepared": both learnt from prepared sentences. "raw": the trigram learnt
        from the raw sentences; the model is the same as above and does not know that every fifth sentence of
        the raw corpus is about Tom.

        {_figures(comparisons)}
        """,
        "Data": f"""
        - Tatoeba, English side of the sentence pairs published at manythings.org/anki, training and
          validation part. Licence CC BY 2.0 FR. Attribution: tatoeba.org and www.manythings.org/anki.
        - Common Voice, English sentences (mozilla/voice-web). Licence CC0 1.0. Sentences that Tatoeba holds
          are left out.

        {train_text.sentences} training sentences, {len(train_text.ids)} tokens, each sentence on its own from
        the zero state. Validation is Tatoeba's validation part.
        """,
        "Preparation": f"""
        Typographic quotes become plain ones, letters lower case; words keep inner apostrophes, every mark is
        a token. The {shape.vocabulary_size} entries are `<unk>`, `</s>` and the most frequent words, sorted.
        Tatoeba names nearly everybody Tom or Mary; a seeded variety of {names} first names stands in their
        place (the same throughout a sentence; {kept:.0f} % keep the old name), in training and prepared
        validation alike.
        """,
        "Network": f"""
        Embedding {shape.vocabulary_size} x {shape.embedding_size}, one LSTM layer of {shape.hidden_size}
        cells projected to {shape.embedding_size}, output tied to the embedding, with bias: {parameters:,}
        parameters, {megabytes:.2f} MB as float16.
        """,
        "Training": f"""
        ```
        {command}
        ```

        {progressed.valid_epochs[-1]:.2f} epochs, {progressed.step} steps, {minutes:.0f} minutes on
        {torch.get_num_threads()} thread of: {hardware()}. Seed {settings.seed}. torch {torch.__version__},
        tokenizers {tokenizers.__version__}, Python {platform.python_version()}.

        AdamW (peak learning rate {settings.learning_rate}, {settings.warm_up_steps} steps of warm-up, cosine
        to a hundredth; weight decay {settings.weight_decay}), batches of {settings.batch_tokens} tokens,
        dropout {settings.input_dropout} on inputs and {settings.output_dropout} on outputs, gradient norm
        clipped at {settings.clip_norm}, matrix products in {precision}. Kept: the moving average of the
        weights (decay {settings.average_decay}) at its best validation, epoch {progressed.best_epoch:.2f},
        {progressed.best_loss:.4f} nats (perplexity {math.exp(progressed.best_loss):.2f}). Loss curve:
        `loss.png`.

        To reproduce, put both corpora under DIR as `tatoeba-eng/` and `common-voice-en-sentences/` and run
        the command. With a time limit the schedule follows the clock, so figures differ a little from machine
        to machine; without one the same seed gives the same course.
        """,
        "Limits": """
        Short everyday sentences make up most of the text: longer or specialised writing is predicted less
        well. Sentences are independent; nothing is carried from one to the next. `blocked.txt` keeps some
        words from being suggested, but the model reflects its corpora and may still suggest unfitting ones.
        """,
    }
    write_card(
        path,
        title="keyboard 1",
        summary="A word-level language model of English that suggests the next word while one types.",
        sections=[(heading, _flush_left(body)) for heading, body in sections.items()],
    )


def _flush_left(body: str) -> str:
    """The body without its indentation in this file; list items keep their two spaces."""
    indentation = " " * 8
    return "\n".join(line.removeprefix(indentation) for line in body.strip().splitlines())
