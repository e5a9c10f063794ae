"""What textbooks say of cells, and what was measured here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.report_cells_results import CellResults, name_of
from training.cells.network import Kind

ALIKE_PERPLEXITY = 0.03
"""Shares of a perplexity by which two networks may differ and still be called alike."""
ALIKE_ACCURACY = 0.03
"""Shares of documents, likewise."""
FAR_BACK = 60
"""Words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`same`: whether it was so here; None where some of it was."""

    said: str
    source: str
    measured: str
    same: bool | None


def claims(results: CellResults) -> Iterator[Claim]:
    """In the order of the page."""
    yield _far_back(results)
    yield _gradient(results)
    yield _next_words(results)
    yield _as_good(
        results,
        "gru",
        "A GRU is about as good as an LSTM, with three quarters of its recurrent parameters",
        "Chung et al. 2014",
    )
    yield _as_good(
        results, "cifg", "Coupling the input and forget gates costs hardly anything", "Greff et al. 2015"
    )
    yield _as_good(results, "peephole", "Peepholes do not help", "Greff et al. 2015", better_is_other=True)
    yield _both_directions(results)


def _far_back(results: CellResults) -> Claim:
    accuracy = {kind: results.figure("topics", kind) for kind in ("rnn", "lstm", "gru")}
    return Claim(
        said="What lies far back is learned with gates, and hardly without",
        source="Bengio et al. 1994, Hochreiter and Schmidhuber 1997",
        measured=f"class after 64 words: vanilla RNN {accuracy['rnn']:.1%}, LSTM {accuracy['lstm']:.1%}, "
        f"GRU {accuracy['gru']:.1%} (a guess: 8.3%)",
        same=min(accuracy["lstm"], accuracy["gru"]) > accuracy["rnn"] + ALIKE_ACCURACY,
    )


def _gradient(results: CellResults) -> Claim:
    before = {kind: results.gradient(kind, "before")[FAR_BACK] for kind in ("rnn", "lstm")}
    after = {kind: results.gradient(kind, "after")[FAR_BACK] for kind in ("rnn", "lstm", "gru")}
    return Claim(
        said="Gates keep the gradient from vanishing",
        source="Hochreiter and Schmidhuber 1997, Gers et al. 2000",
        measured=f"of the gradient {FAR_BACK} words back, trained: vanilla RNN {after['rnn']:.1g}, LSTM "
        f"{after['lstm']:.1g}, GRU {after['gru']:.1g}; untrained: vanilla RNN {before['rnn']:.1g}, LSTM "
        f"{before['lstm']:.1g}",
        same=min(after["lstm"], after["gru"]) > 10 * after["rnn"],
    )


def _next_words(results: CellResults) -> Claim:
    lstm = results.figure("keyboard", "lstm")
    equal = {"size": results.figure("keyboard", "rnn"), "count": results.figure("keyboard", "rnn", "count")}
    share = min(equal.values()) / lstm - 1
    return Claim(
        said="An LSTM predicts words better than a vanilla RNN",
        source="Sundermeyer et al. 2012",
        measured=f"perplexity of short sentences: LSTM {lstm:.1f}; vanilla RNN {equal['size']:.1f}, with as many "
        f"parameters {equal['count']:.1f}",
        same=share > ALIKE_PERPLEXITY,
    )


def _as_good(
    results: CellResults, kind: Kind, said: str, source: str, *, better_is_other: bool = False
) -> Claim:
    words = [results.figure("keyboard", each) for each in (kind, "lstm")]
    classes = [results.figure("topics", each) for each in (kind, "lstm")]
    # In units of what counts as alike; positive where the LSTM is better.
    losses = ((words[0] / words[1] - 1) / ALIKE_PERPLEXITY, (classes[1] - classes[0]) / ALIKE_ACCURACY)
    there = [(-loss if better_is_other else loss) <= 1 for loss in losses]
    return Claim(
        said=said,
        source=source,
        measured=f"{name_of(kind)} beside LSTM: perplexity {words[0]:.1f} beside {words[1]:.1f} "
        f"({_judged(losses[0])}), accuracy {classes[0]:.1%} beside {classes[1]:.1%} ({_judged(losses[1])})",
        same=all(there) if all(there) or not any(there) else None,
    )


def _judged(loss: float) -> str:
    if abs(loss) <= 1:
        return "alike"
    return "worse" if loss > 0 else "better"


def _both_directions(results: CellResults) -> Claim:
    lstm = results.figure("topics", "lstm")
    equal = {"size": results.figure("topics", "bilstm"), "count": results.figure("topics", "bilstm", "count")}
    better = [accuracy > lstm + ALIKE_ACCURACY for accuracy in equal.values()]
    return Claim(
        said="Whole sequences are better read in both directions",
        source="Graves and Schmidhuber 2005",
        measured=f"accuracy: bidirectional {equal['size']:.1%}, with as many parameters as one direction "
        f"{equal['count']:.1%}; LSTM {lstm:.1%}",
        same=all(better) if all(better) or not any(better) else None,
    )
