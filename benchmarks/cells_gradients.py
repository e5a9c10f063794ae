"""How much of the loss's gradient reaches a state so many words back: why cells have gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.cells.network import CellNetwork, Shape
from training.cells.recurrences import Recurrence, State
from training.cells.topics import Labelled

Row = dict[str, Any]


def untrained(shape: Shape, seed: int) -> CellNetwork:
    """As it was before its first step."""
    torch.manual_seed(seed)
    return CellNetwork(shape)


def texts_of(documents: Labelled, steps: int, count: int) -> tuple[Tensor, Tensor]:
    """The first documents of enough words: their first ids (T, B), and labels (B,).

    Raises ValueError when there are too few.
    """
    places = [place for place, ids in enumerate(documents.sequences) if len(ids) >= steps][:count]
    if len(places) < count:
        raise ValueError(f"expected {count} documents of {steps} words or more, got {len(places)}")
    ids = torch.stack([torch.from_numpy(documents.sequences[place][:steps]).long() for place in places])
    return ids.t().contiguous(), documents.labels[places]


def norms(network: CellNetwork, ids: Tensor, labels: Tensor) -> dict[str, list[float]]:
    """For each number of words before the end, 0 first: the norm of the loss's derivative by the state there.

    `median` over the texts of what each has relative to its greatest norm, and `mean` of the norms, relative to the
    greatest mean: that is the gradient's size in training, and a few texts may make most of it.

    The loss is that of the class, read off at the end. The state is all that a step hands to the next: the output h,
    and of an LSTM the cell state c. Of a network with two directions it is the states of both that lie at that
    word. In float64, since they may be as small as float32 has no numbers for.
    """
    double = CellNetwork(network.shape).double()
    double.load_state_dict(network.state_dict())
    x = double.embedding(ids)
    carried = [_kept(double.ahead, x)]
    if double.back is not None:
        carried.append(_kept(double.back, x.flip(0)))
    ends = torch.cat([states[-1][0] for states in carried], dim=1)
    # A sum: the derivative by a text's state is that of its own loss.
    loss = functional.cross_entropy(double.head(ends), labels, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    at_word = [torch.stack([_squares(state) for state in states]) for states in carried]
    squares = at_word[0] if len(at_word) == 1 else at_word[0] + at_word[1].flip(0)
    found = squares.sqrt().flip(0)
    mean = found.mean(dim=1)
    shares = {"median": (found / found.amax(dim=0)).median(dim=1).values, "mean": mean / mean.max()}
    return {name: [float(f"{value:.3e}") for value in each.tolist()] for name, each in shares.items()}


def _kept(direction: Recurrence, x: Tensor) -> list[State]:
    states = list(direction.states(x, apart=True))
    for state in states:
        for part in state:
            part.retain_grad()
    return states


def _squares(state: State) -> Tensor:
    """The squared norm of the derivative by a state (B,)."""
    return sum((part.grad.square().sum(dim=1) for part in state if part.grad is not None), torch.zeros(()))
