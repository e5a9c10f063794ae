"""The inside of a model as one page of heat maps: words from left to right, units from top to bottom.

Each layer and direction is a row of maps, one for each gate and state; where there are too many words for that to be
read, it is a column, whose maps are wider. A unit is at the same height in all maps of its layer.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from gatehouse.activations import Activation, LayerActivations
from gatehouse.command.inside import Inside

_TITLES = MappingProxyType(
    {
        "forget": "forget gate",
        "input": "input gate",
        "output": "output gate",
        "reset": "reset gate",
        "update": "update gate",
        "candidate": "candidate",
        "cell": "cell state",
        "hidden": "hidden state",
    }
)
_GATES = frozenset(("forget", "input", "output", "reset", "update"))

_PAGE_INCHES = (14.0, 9.0)
_DOTS_PER_INCH = 110
_MARGINS_INCHES = 3.2  # units on the left, colour bars on the right
_LEAST_WORD_INCHES = 0.09
_CHARACTER_INCHES = 0.085
_FONT_SIZE = 9.0
_POINTS_PER_INCH = 60.0  # of the room of a word: 72 less the blank between two lines
_LONGEST_WORD = 16
_LONGEST_TITLE = 110
_WITHIN_COLOURS = 0.97  # of the values of cells: a few are far larger than all others


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """What colours mean, the same in all maps that share it."""

    title: str
    colours: str
    norm: Normalize
    is_cut: bool = False
    """Whether some values lie beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerMaps:
    """One direction of one layer: by name the heat maps, with a list for each unit that is drawn."""

    title: str
    maps: dict[str, list[list[float]]]


def drawn(inside: Inside, most_units: int) -> bytes:
    """A PNG of the page, with at most so many units of each layer."""
    canvas = FigureCanvasAgg(page(inside, most_units))
    png = io.BytesIO()
    with warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes; the page is good for the others.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas.print_png(png)  # type: ignore[no-untyped-call]  # matplotlib: no types
    return png.getvalue()


def page(inside: Inside, most_units: int) -> Figure:
    """The page, to be drawn by whatever draws figures."""
    layers = [_maps_of(layer, most_units) for layer in inside.layers]
    names = sorted({name for layer in layers for name in layer.maps}, key=_place)
    words = [_word(token) for token in inside.tokens]
    in_columns = _word_inches(len(names), words) < _LEAST_WORD_INCHES and len(layers) < len(names)
    rows, columns = (len(names), len(layers)) if in_columns else (len(layers), len(names))

    figure = Figure(figsize=_PAGE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    grid: list[list[Axes]] = figure.subplots(rows, columns, squeeze=False).tolist()
    by_layer = [list(line) for line in zip(*grid, strict=True)] if in_columns else grid
    bars = _draw(by_layer, layers, names)
    for line, layer in zip(by_layer, layers, strict=True):
        _head(line[0], layer.title, above=in_columns)
    for axes, name in zip(by_layer[0], names, strict=True):
        _head(axes, _TITLES.get(name, name), above=not in_columns)
    for axes in grid[-1]:
        _write_words(axes, words, _word_inches(columns, words))
    for scale, image in reversed(bars):  # the first one to the outside
        bar = figure.colorbar(
            image,
            ax=[axes for line in grid for axes in line],
            aspect=40,
            pad=0.01,
            extend="both" if scale.is_cut else "neither",
        )
        bar.set_label(scale.title, fontsize=_FONT_SIZE)
        bar.ax.tick_params(labelsize=_FONT_SIZE - 1)
    figure.suptitle(_title(inside), fontsize=_FONT_SIZE + 3, parse_math=False)
    return figure


def _draw(
    by_layer: Sequence[Sequence[Axes]], layers: Sequence[_LayerMaps], names: Sequence[str]
) -> list[tuple[_Scale, AxesImage]]:
    """All maps. Each scale that they use, with one of them."""
    scales = _scales(layers, names)
    used: dict[str, tuple[_Scale, AxesImage]] = {}
    for line, layer in zip(by_layer, layers, strict=True):
        for axes, name in zip(line, names, strict=True):
            axes.set_xticks([])
            axes.set_yticks([])
            if name not in layer.maps:
                axes.set_frame_on(False)
                continue
            scale = scales[name]
            image = axes.imshow(
                layer.maps[name],
                aspect="auto",
                interpolation="nearest",
                cmap=scale.colours,
                norm=scale.norm,
            )
            used[scale.title] = scale, image
    return list(used.values())


def _maps_of(layer: LayerActivations, most_units: int) -> _LayerMaps:
    values = {each.name: _rows(each) for each in layer.activations}
    if "cell" in values:
        values.pop("hidden", None)  # the cell state and the output gate tell it
    measured = values.get("cell") or values.get("hidden") or next(iter(values.values()))
    whole = len(measured[0])
    activity = [sum(abs(row[unit]) for row in measured) for unit in range(whole)]
    units = sorted(range(whole), key=lambda unit: -activity[unit])[:most_units]
    told = f"{whole} units by activity"
    if len(units) < whole:
        told = f"the {len(units)} most active of {whole} units"
    return _LayerMaps(
        title=f"layer {layer.layer}{', from right to left' if layer.reverse else ''}\n{told}",
        maps={name: [[row[unit] for row in rows] for unit in units] for name, rows in values.items()},
    )


def _rows(activation: Activation) -> list[list[float]]:
    return cast("list[list[float]]", activation.values.tolist())  # whose type knows of one dimension alone


def _scales(layers: Sequence[_LayerMaps], names: Sequence[str]) -> dict[str, _Scale]:
    """By name. Gates go from 0 to 1; candidates and the like from -1 to 1, unless they are larger."""
    gates = _Scale(title="gates", colours="viridis", norm=Normalize(0.0, 1.0))
    others = [name for name in names if name not in _GATES and name != "cell"]
    most = max([1.0, *(max(_magnitudes(layers, name)) for name in others)])
    signed = _Scale(
        title=", ".join(_TITLES.get(name, name) for name in others),
        colours="RdBu_r",
        norm=Normalize(-most, most),
    )
    scales = {name: gates if name in _GATES else signed for name in names}
    if "cell" in scales:
        magnitudes = sorted(_magnitudes(layers, "cell"))
        limit = magnitudes[int(_WITHIN_COLOURS * (len(magnitudes) - 1))] or 1.0
        scales["cell"] = _Scale(
            title=_TITLES["cell"], colours="RdBu_r", norm=Normalize(-limit, limit), is_cut=True
        )
    return scales


def _magnitudes(layers: Sequence[_LayerMaps], name: str) -> list[float]:
    return [abs(value) for layer in layers for row in layer.maps.get(name, ()) for value in row]


def _head(axes: Axes, text: str, *, above: bool) -> None:
    if above:
        axes.set_title(text, fontsize=_FONT_SIZE + 2)
    else:
        axes.set_ylabel(text, fontsize=_FONT_SIZE + 1)


def _write_words(axes: Axes, words: Sequence[str], inches: float) -> None:
    """Along the bottom, upright where they are longer than wide, and not more of them than can be read."""
    every = max(1, -int(-_LEAST_WORD_INCHES // inches))
    lies = max(map(len, words), default=0) * _CHARACTER_INCHES <= inches
    axes.set_xticks(
        range(0, len(words), every),
        words[::every],
        fontsize=min(_FONT_SIZE, _POINTS_PER_INCH * every * inches),
        rotation=0 if lies else 90,
    )
    for label in axes.get_xticklabels():
        label.set_parse_math(False)


def _word_inches(columns: int, words: Sequence[str]) -> float:
    return (_PAGE_INCHES[0] - _MARGINS_INCHES) / columns / max(len(words), 1)


def _place(name: str) -> tuple[int, str]:
    names = list(_TITLES)
    return (names.index(name) if name in names else len(names), name)


def _word(token: str) -> str:
    text = token if token.isprintable() and token.strip() else repr(token)
    return text if len(text) <= _LONGEST_WORD else text[: _LONGEST_WORD - 1] + "…"


def _title(inside: Inside) -> str:
    text = " ".join(map(_word, inside.tokens))
    return f"{inside.model}: " + (text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1] + "…")
