"""Joining the outputs of two directions into one of the same width."""

from torch import Tensor

from gatehouse_server.network.layer_spec import Merge


def merge_into(merge: Merge, forward: Tensor, reverse: Tensor) -> Tensor:
    """Merges `reverse` into `forward`, in place: their sum, average or product ("concat" is no merge in place)."""
    if merge == "multiply":
        return forward.mul_(reverse)
    forward.add_(reverse)
    return forward.mul_(0.5) if merge == "average" else forward
