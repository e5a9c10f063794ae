"""Which axes a reshaped tensor has, told by sizes; and which of those that go together were joined."""

import math
from collections.abc import Sequence

from gatehouse_server.convert.onnx_values import DIRECTIONS, Axis

Sized = tuple[Axis, int | None]


def regroup(axes: Sequence[Sized], target: Sequence[int | Axis]) -> list[list[Axis]] | None:
    """The axes that make up each dimension of `target`, as ONNX's Reshape reads it: 0 as it was, -1 what is left.

    Axes of size 1 may vanish. None where it can't be told, or an axis would be divided.
    """
    wanted = [
        axes[place][0] if item == 0 and place < len(axes) else item for place, item in enumerate(target)
    ]
    apart = [
        part for axis, size in axes for part in ([(each, each.size) for each in axis.of] or [(axis, size)])
    ]
    if len(wanted) < len(apart):
        # A direction that stands alone goes before anything else of size 1 does.
        apart = [(axis, size) for axis, size in apart if (axis, size) != (DIRECTIONS, 1)]
    free = [place for place, item in enumerate(wanted) if item == -1]
    if len(free) > 1:
        return None
    end = free[0] if free else len(wanted)
    before = _match(apart, wanted[:end])
    if before is None:
        return None
    groups, rest = before
    if not free:
        return groups if all(size == 1 for _, size in rest) else None
    after = _match(rest[::-1], wanted[end + 1 :][::-1])
    if after is None:
        return None
    behind, middle = after
    return [*groups, [axis for axis, _ in middle[::-1]], *(group[::-1] for group in behind[::-1])]


def _match(
    axes: Sequence[Sized], wanted: Sequence[int | Axis]
) -> tuple[list[list[Axis]], list[Sized]] | None:
    """Groups for the items from the left, and the axes that are left over."""
    rest, groups = list(axes), list[list[Axis]]()
    for item in wanted:
        group: list[Axis] = []
        if isinstance(item, Axis):
            for part in item.of or (item,):
                while rest and rest[0][0] != part and rest[0][1] == 1:
                    rest.pop(0)
                if not rest or rest[0][0] != part:
                    return None
                group.append(rest.pop(0)[0])
        elif item == 1:
            if rest and rest[0][1] == 1:
                group.append(rest.pop(0)[0])
        else:
            sizes = [1]
            while math.prod(sizes) != item:
                if not rest or rest[0][1] is None or math.prod(sizes) > item or item < 1:
                    return None
                axis, size = rest.pop(0)
                assert size is not None
                group.append(axis)
                sizes.append(size)
        groups.append(group)
    return groups, rest
