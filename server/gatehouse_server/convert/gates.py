"""Orders of gates: which rows of a matrix belong to which gate, there and here."""

from collections.abc import Mapping
from typing import Final

from gatehouse_server.convert.port import ConversionError

_SYNONYMS: Final[Mapping[str, Mapping[str, str]]] = {
    "lstm": {"i": "i", "f": "f", "g": "g", "j": "g", "c": "g", "o": "o"},
    "gru": {"r": "r", "z": "z", "u": "z", "n": "n", "h": "n", "c": "n"},
}
_LETTERS: Final = {"lstm": "i, f, g (or j, c), o", "gru": "r, z (or u), n (or h, c)"}


def gates_of(cell: str, *, coupled: bool, peepholes: bool) -> str:
    """Our order of a cell's gates, or of its peepholes: "ifgo". Empty where a matrix has no parts."""
    if cell == "lstm":
        gates = "igo" if coupled else "ifgo"
        return gates.replace("g", "") if peepholes else gates
    return "rzn" if cell == "gru" else ""


def canonical(order: str, cell: str, ours: str, name: str) -> str:
    """An order of gates in our letters. Raises ConversionError unless it names each of our gates once."""
    synonyms = _SYNONYMS.get(cell)
    if synonyms is None or not ours:
        raise ConversionError(
            f"{name}: gates {order!r}, but cell {cell} has no gates with an order", "leave it out"
        )
    told = "".join(synonyms.get(letter, "?") for letter in order.lower())
    if sorted(told) != sorted(ours):
        raise ConversionError(
            f"{name}: gates: expected each of {', '.join(ours)} once in some order, got {order!r}",
            f"letters of {cell} are {_LETTERS[cell]}",
        )
    return told
