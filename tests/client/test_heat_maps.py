"""The page that `gatehouse inspect` draws."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from gatehouse.activations import Activation, LayerActivations
from gatehouse.command.heat_maps import drawn, page
from gatehouse.command.inside import Inside
from matplotlib.axes import Axes
from matplotlib.figure import Figure

LSTM = ("input", "forget", "output", "candidate", "hidden", "cell")
GRU = ("reset", "update", "candidate", "hidden")


def layer(
    names: Sequence[str],
    steps: int,
    units: int = 6,
    number: int = 0,
    *,
    reverse: bool = False,
    scale: float = 1.0,
) -> LayerActivations:
    """Values between -scale and scale, drawn."""
    generator = np.random.default_rng(steps + number)
    return LayerActivations(
        layer=number,
        reverse=reverse,
        activations=tuple(
            Activation(
                name=name,
                values=memoryview(
                    (scale * generator.uniform(-1, 1, (steps, units))).astype(np.float32).tobytes()
                ).cast("f", (steps, units)),
            )
            for name in names
        ),
    )


def inside(layers: Sequence[LayerActivations], words: Sequence[str]) -> Inside:
    """A model's."""
    return Inside(model="keyboard@1", tokens=tuple(words), layers=tuple(layers))


def maps(figure: Figure) -> list[Axes]:
    """The axes with heat maps; the others are colour bars."""
    return [axes for axes in figure.axes if axes.images]


def test_a_short_text_has_a_row_for_each_layer() -> None:
    """Gates in the order in which a cell is explained, each named once, and the words below the lowest row."""
    figure = page(inside([layer(LSTM, 3), layer(LSTM, 3, number=1)], ["how", "are", "you"]), 64)
    drawn_maps = maps(figure)
    assert len(drawn_maps) == 10
    assert [axes.get_title() for axes in drawn_maps] == [
        "forget gate",
        "input gate",
        "output gate",
        "candidate",
        "cell state",
        *[""] * 5,
    ]
    assert [axes.get_ylabel() for axes in drawn_maps[::5]] == [
        "layer 0\n6 units by activity",
        "layer 1\n6 units by activity",
    ]
    for axes in drawn_maps[5:]:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["how", "are", "you"]


def test_a_long_text_has_a_column_for_each_direction() -> None:
    """So that every word can be read; the reverse direction says which way it reads."""
    words = [f"word{number}" for number in range(40)]
    figure = page(inside([layer(LSTM, 40, 200), layer(LSTM, 40, 200, reverse=True)], words), 64)
    first, second = maps(figure)[:2]
    assert first.get_title() == "layer 0\nthe 64 most active of 200 units"
    assert second.get_title().startswith("layer 0, from right to left\n")
    assert [label.get_text() for label in maps(figure)[-1].get_xticklabels()] == words


def test_words_that_would_cover_each_other_are_left_out_evenly() -> None:
    """Of a very long text every so many words are written."""
    words = [str(number) for number in range(400)]
    (axes,) = maps(page(inside([layer(["hidden"], 400)], words), 64))
    written = [label.get_text() for label in axes.get_xticklabels()]
    assert written == words[:: len(words) // (len(written) - 1)]
    assert 40 < len(written) < 200


def test_units_stand_in_the_order_of_their_activity_in_all_maps() -> None:
    """The most active unit by its cell state is on top, and the same unit is at the same height everywhere."""
    seen = layer(LSTM, 5, 9)
    cells = np.asarray(seen["cell"])
    order = np.argsort(-np.abs(cells).sum(axis=0))[:4]
    figure = page(inside([seen], list("abcde")), 4)
    for axes, name in zip(maps(figure), ("forget", "input", "output", "candidate", "cell"), strict=True):
        np.testing.assert_array_equal(
            axes.images[0].get_array(), np.asarray(seen[name])[:, order].T, err_msg=name
        )


def test_maps_of_a_kind_share_their_colours() -> None:
    """Gates go from 0 to 1; what has a sign has white in the middle, and one limit for all layers."""
    figure = page(inside([layer(GRU, 3), layer(GRU, 3, number=1, scale=2.0)], ["a", "b", "c"]), 64)
    limits = [(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in maps(figure)]
    assert limits[:2] == limits[4:6] == [(0.0, 1.0)] * 2
    assert set(limits[2:4] + limits[6:]) == {limits[2]}
    low, high = limits[2]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low == -high
    assert 1.0 < high <= 2.0
    assert [axes.get_ylabel() for axes in figure.axes if not axes.images] == [
        "candidate, hidden state",
        "gates",
    ]


def test_the_hidden_state_of_a_simple_cell_and_what_an_unknown_cell_tells_are_drawn() -> None:
    """Names that nobody knows stand behind those that are known; layers of different cells fit on one page."""
    figure = page(inside([layer(["gain", "hidden"], 2), layer(["hidden"], 2, number=1)], ["a", "b"]), 64)
    assert [axes.get_title() for axes in maps(figure)] == ["hidden state", "gain", ""]


@pytest.mark.parametrize("token", ["$x$", "$\\frac{$", "\n", " ", "日本", "a" * 200, "\x00"])
def test_any_token_can_be_written(token: str) -> None:
    """Formulas, blanks, control characters, long words and letters that the font lacks make a picture all the same."""
    png = drawn(inside([layer(GRU, 2)], [token, "b"]), 64)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">2I", png[16:24])
    assert (width, height) == (1540, 990)
    assert len(png) < 300_000
