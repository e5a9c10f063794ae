"""What lies around the recurrent modules of a torch state dict: the embedding, the head, and what is neither."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gatehouse_server.convert.port import ConversionError, not_servable
from gatehouse_server.convert.state_part import EMBEDDING_NAME, Part

NONE: Final = "none"
TIED: Final = "tied"
_MOST_POOLINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`head`: the dense layer at the end; of a tied one without a layer of its own, the bias, or None.

    `poolings`: how many vectors of the recurrent output the head reads beside each other.
    """

    embedding: Part | None
    has_head: bool
    head: Part | None
    tied: bool
    poolings: int
    left_out: tuple[Part, ...]


def find_embedding(parts: Sequence[Part], *, input_size: int, wanted: str | None) -> Part | None:
    """The embedding that a recurrent layer of `input_size` reads; None: it reads features.

    Raises ConversionError where it can't be told, or is not what was named.
    """
    if wanted == NONE:
        return None
    fitting = [
        part
        for part in parts
        if part.weight is not None and part.bias is None and part.weight.shape[1] == input_size
    ]
    if wanted is not None:
        part = _named(parts, wanted, "--embedding")
        if part not in fitting:
            raise ConversionError(
                f"--embedding {wanted}: expected a weight of {input_size} columns, as the recurrent layer reads, "
                f"without a bias, got {part.told()}",
                "name another one, or none for a model that takes features",
            )
        return part
    by_name = [part for part in fitting if part.has_name_of_embedding()] or [
        part for part in fitting if EMBEDDING_NAME.search(part.name) and not part.has_name_of_head()
    ]
    found = by_name or [part for part in fitting if not part.has_name_of_head()]
    if found and not all(part.repeats(found[0]) for part in found[1:]):
        raise _ambiguous(found)
    return found[0] if found else None


def find_head(
    parts: Sequence[Part],
    embedding: Part | None,
    *,
    output_size: int,
    wanted: str | None,
    poolings: int | None,
) -> Surroundings:
    """Everything but the embedding, told apart. `poolings`: how many there are, where that was told.

    Raises ConversionError where it can't be told, or is not what was named.
    """
    copies = [
        part for part in parts if embedding is not None and part is not embedding and part.repeats(embedding)
    ]
    rest = [part for part in parts if part is not embedding]
    if wanted == TIED:
        if embedding is None:
            raise ConversionError("--head tied: there is no embedding to share", "name it with --embedding")
        return _around(rest, embedding, copies, head=_lone_bias(rest, embedding), has_head=True, tied=True)
    counts = range(1, _MOST_POOLINGS + 1) if poolings is None else (max(1, poolings),)
    widths = {count * output_size: count for count in counts}
    fitting = [part for part in rest if part.weight is not None and part.weight.shape[1] in widths]
    if wanted is not None and wanted != NONE:
        head = _named(rest, wanted, "--head")
        if head not in fitting:
            told = " or ".join(map(str, widths))
            raise ConversionError(
                f"--head {wanted}: expected a dense layer of {told} columns, as the recurrent layers hand on, "
                f"got {head.told()}",
                "name another one, tied, or none",
            )
        fitting = [head]
    elif wanted == NONE:
        fitting = []
    else:
        # A copy of the embedding by a name like one is the embedding, as wrappers keep it twice.
        fitting = [
            part for part in fitting if part.bias is not None or part not in copies or part.has_name_of_head()
        ]
    if len(fitting) > 1:
        # Whichever is the last, the others lie between.
        raise not_servable(tuple(part.told() for part in rest if part not in copies))
    head_part = fitting[0] if fitting else None
    if head_part is None and wanted is None and embedding is not None:
        # Weights that are shared are saved once by some, and what is left of the head is its bias.
        bias = _lone_bias(rest, embedding)
        if bias is not None and embedding.tensors["weight"].shape[1] == output_size:
            return _around(rest, embedding, copies, head=bias, has_head=True, tied=True)
    if head_part is None:
        return _around(rest, embedding, copies, head=None, has_head=False, tied=False)
    assert head_part.weight is not None
    count = widths[head_part.weight.shape[1]]
    tied = head_part in copies and count == 1
    return _around(rest, embedding, copies, head=head_part, has_head=True, tied=tied, poolings=count)


def _around(
    rest: Sequence[Part],
    embedding: Part | None,
    copies: Sequence[Part],
    *,
    head: Part | None,
    has_head: bool,
    tied: bool,
    poolings: int = 1,
) -> Surroundings:
    left = tuple(part for part in rest if part is not head and part not in copies)
    return Surroundings(
        embedding=embedding, has_head=has_head, head=head, tied=tied, poolings=poolings, left_out=left
    )


def _lone_bias(parts: Sequence[Part], embedding: Part) -> Part | None:
    """The bias of a head whose weight was not saved, because it is the embedding's."""
    assert embedding.weight is not None
    size = embedding.weight.shape[0]
    found = [
        part for part in parts if set(part.tensors) == {"bias"} and part.tensors["bias"].shape == (size,)
    ]
    whole = [part for part in parts if part.repeats(embedding) and part.bias is not None]
    return next(iter(whole or found), None)


def _named(parts: Sequence[Part], name: str, option: str) -> Part:
    for part in parts:
        if part.name == name.removesuffix(".weight").rstrip("."):
            return part
    names = ", ".join(part.name for part in parts) or "none"
    raise ConversionError(
        f"{option} {name}: there is no module of that name", f"beside the recurrent ones are {names}"
    )


def _ambiguous(parts: Sequence[Part]) -> ConversionError:
    told = ", ".join(part.told() for part in parts)
    return ConversionError(
        f"can't tell which is the embedding: {told}", "say it with --embedding NAME, or --embedding none"
    )
