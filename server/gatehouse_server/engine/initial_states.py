"""States at position 0 that a vector sets, for models that have a layer for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from gatehouse_server.network.network import Network

Floats = npt.NDArray[np.float32]


class InitialStates:
    """Used by the engine thread, since it computes with the network. `size` is I, that of the vectors."""

    def __init__(self, network: Network) -> None:
        assert network.spec.initial is not None, "asked of networks that take a vector"
        self._network = network
        self.size = network.spec.initial.size

    @torch.inference_mode()
    def of(self, vectors: Floats) -> Floats:
        """vectors (B, I) -> states as the table has them, (B, S)."""
        state = self._network.state_from(torch.from_numpy(vectors).to(self._network.device))
        states: Floats = torch.cat(state, dim=1).cpu().numpy()
        return states


def initial_states(network: Network) -> InitialStates | None:
    """Of a network that takes a vector; None of one that does not."""
    return None if network.spec.initial is None else InitialStates(network)
