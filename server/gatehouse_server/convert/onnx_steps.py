"""One vector of all steps: the last one, their mean or their maximum."""

import dataclasses

from gatehouse_server.convert.onnx_values import DIRECTIONS, Axis, Flow, Hidden, Scored


def time_of(flow: Flow) -> Axis | None:
    """The axis of time in what recurrent layers or a dense layer on them made."""
    origin = flow.origin.hidden.origin if isinstance(flow.origin, Scored) else flow.origin
    return origin.parts[0].time if isinstance(origin, Hidden) and origin.pooling is None else None


def at_step(tensor: str, flow: Flow, axis: Axis, place: int, keep: Axis | None = None) -> Flow | None:
    """The step at which every direction ends; None for any other. `keep`: the axis that stands for the one step.

    The last step of a reverse direction is where it begins, so it is not what pooling "last" takes.
    """
    if axis != time_of(flow):
        return None
    hidden = flow.origin.hidden if isinstance(flow.origin, Scored) else flow
    assert isinstance(hidden.origin, Hidden)
    last = place == -1 or (axis.size is not None and place == axis.size - 1)
    ends = {"forward": last, "reverse": place == 0}
    if not all(ends[part.direction] for part in hidden.origin.parts):
        return None
    axes = tuple(
        other for other in (keep if each == axis else each for each in flow.axes) if other is not None
    )
    pooled = pool(hidden, "last")
    if isinstance(flow.origin, Scored):
        return Flow(tensor, axes, dataclasses.replace(flow.origin, hidden=pooled))
    return Flow(tensor, axes, pooled.origin)


def pool(flow: Flow, pooling: str) -> Flow:
    """The same without its time."""
    assert isinstance(flow.origin, Hidden)
    time = flow.origin.parts[0].time
    return Flow(
        flow.tensor,
        tuple(axis for axis in flow.axes if axis != time),
        dataclasses.replace(flow.origin, pooling=pooling),
    )


def is_vector(flow: Flow) -> bool:
    """Whether directions are joined, so that a dense layer may read it."""
    return isinstance(flow.origin, Hidden) and DIRECTIONS not in flow.axes and not flow.origin.cell
