"""A whole network: input, recurrent stack, pooling, head, with the state outside.

`scan` and `step` serve sequences that grow (one direction); `encode` and `summarize` take whole sequences in
either direction. A row's results do not depend on the batch size, its place, its neighbours or the chunks it
came in, to the bit, wherever `reproducible` is true and torch computes with one intra-op thread.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.fused_layers import FusedLayers, are_layers_fused
from gatehouse_server.network.fused_reading import FusedReader
from gatehouse_server.network.head import Head
from gatehouse_server.network.initial_layer import InitialLayer
from gatehouse_server.network.looking import LayerLook, look
from gatehouse_server.network.packing import check_batch_sizes
from gatehouse_server.network.parameters import check_parameters
from gatehouse_server.network.pooling import last_of, maximum_of, mean_of
from gatehouse_server.network.reading import Reader
from gatehouse_server.network.spec import NetworkSpec, TokenInputSpec, parameter_shapes
from gatehouse_server.network.stack import Stack
from gatehouse_server.network.state import State, StateLayout
from gatehouse_server.network.stepped_reading import SteppedReader
from gatehouse_server.network.workspace import Workspace

DEFAULT_FOLD_LIMIT_BYTES = 192 * 2**20
"""How much memory a table of precomputed input products may take."""


class Network:
    """Built once from parameters, then used by one thread at a time: scratch memory is part of it."""

    def __init__(
        self,
        *,
        spec: NetworkSpec,
        stack: Stack | None,
        fused: FusedLayers | None,
        head: Head | None,
        initial: InitialLayer | None,
        device: torch.device,
        arithmetic: Arithmetic,
    ) -> None:
        """Use `build`."""
        self.spec = spec
        self.arithmetic = arithmetic
        self.head = head
        self.device = device
        self._fused = fused
        self._made_stack = stack
        self._initial = initial

    @classmethod
    def build(
        cls,
        spec: NetworkSpec,
        parameters: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
        fold_limit_bytes: int = DEFAULT_FOLD_LIMIT_BYTES,
        arithmetic: Arithmetic = FLOAT32,
    ) -> "Network":
        """Build from float32 or float16 `parameters`, named and shaped as `parameter_shapes(spec)` says.

        Token input is folded into the first layer (one table row for each token) if that takes at most
        `fold_limit_bytes`. `arithmetic` is how matrix products are computed. Raises ValueError
        ("expected ... got ...") for wrong names, shapes or values.
        """
        check_parameters(parameters, parameter_shapes(spec))
        device = torch.device(device)
        with torch.inference_mode():
            placed = {name: tensor.to(device, torch.float32) for name, tensor in parameters.items()}
            workspace = Workspace(device)
            head = fused = stack = initial = None
            if spec.head is not None:
                weight = placed["embedding.weight" if spec.head.tied else "head.weight"]
                head = Head(spec.head, weight, placed.get("head.bias"), workspace, arithmetic)
            if are_layers_fused(spec, device, arithmetic):
                fused = FusedLayers(spec, placed, device)
            if spec.initial is not None:
                initial = InitialLayer(spec, placed, reproducible=arithmetic.reproducible)
            if fused is None or not _reads_whole(spec):
                stack = Stack(spec, placed, workspace, fold_limit_bytes, arithmetic)
            return cls(
                spec=spec,
                stack=stack,
                fused=fused,
                head=head,
                initial=initial,
                device=device,
                arithmetic=arithmetic,
            )

    @property
    def _stack(self) -> Stack:
        if self._made_stack is None:
            # A network for whole sequences with fused layers does without its weights in a second layout until asked.
            assert self._fused is not None
            with torch.inference_mode():
                weights, workspace = self._fused.parameters, Workspace(self.device)
                self._made_stack = Stack(self.spec, weights, workspace, 0, self.arithmetic)
        return self._made_stack

    @property
    def layout(self) -> StateLayout:
        """The layout of the state. Raises ValueError for a bidirectional network, which has none."""
        return self._stack.layout

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the weights in use, padding included, the folded tables not; in two layouts, if both are in use."""
        stack = 0 if self._made_stack is None else self._made_stack.parameter_bytes
        fused = 0 if self._fused is None else self._fused.bytes
        others = (self.head, self._initial)
        return stack + fused + sum(other.dense.bytes for other in others if other is not None)

    @property
    def folded_bytes(self) -> int:
        """Bytes of the folded input tables; 0 if the input is not folded."""
        return 0 if self._made_stack is None else self._made_stack.folded_bytes

    @property
    def reproducible(self) -> bool:
        """Whether every matrix product proved that rows are independent of each other to the bit."""
        if self._fused is not None:
            return False
        others = (self.head, self._initial)
        return self._stack.reproducible and all(
            other.dense.reproducible for other in others if other is not None
        )

    @torch.inference_mode()
    def initial_state(self, rows: int) -> State:
        """The state before the first step, for `rows` sequences. Raises ValueError for a bidirectional network."""
        if not self.spec.recurrent.causal:
            raise ValueError("a bidirectional network has no state between steps: it reads whole sequences")
        return self._stack.initial(rows)

    @torch.inference_mode()
    def state_from(self, vectors: Tensor) -> State:
        """vectors (B, size) -> the state that they set at position 0.

        Raises ValueError for a network that has no `initial` layer, and for vectors of another width.
        """
        if self._initial is None:
            raise ValueError("the network has no layer that makes a state of a vector")
        return self._initial.state(vectors)

    @torch.inference_mode()
    def scan(self, inputs: Tensor, batch_sizes: Sequence[int], state: State) -> Tensor:
        """Consume packed inputs, token ids (N,) int64 or features (N, F), and update `state` in place.

        Rows of `state` are sorted like the sequences, longest first; rows beyond `batch_sizes[0]` stay as
        they are. Returns the top layer's output of every step, packed (N, R): a view of the state (one step)
        or of scratch memory (several), valid until the next call and not to be written to. Raises ValueError
        for a bidirectional network and for inputs or states of the wrong shape.
        """
        self._check(inputs, batch_sizes)
        self.layout.check(state, batch_sizes[0])
        return self._stack.scan(inputs, batch_sizes, state)

    @torch.inference_mode()
    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """One step without side effects: inputs (B,) or (B, F) -> output (B, R) and the new state."""
        new_state = tuple(part.clone() for part in state)
        outputs = self.scan(inputs, (inputs.shape[0],), new_state)
        return outputs.clone(), new_state

    def record(self) -> None:
        """Makes `scan` and readers quicker, with the same bits: see `recording`. Does nothing off the CPU.

        Raises NotRecordableError, and leaves what it did not come to as it was, where that cannot be done.
        """
        if self.device.type == "cpu":
            self._stack.record()

    def step_in_place(self, inputs: Tensor, state: State) -> Tensor:
        """One step of every row of `state`; returns the top layer's output, a view of it.

        Unchecked, and the same way for any number of rows, so that it may be recorded.
        """
        return self._stack.step(inputs, state)

    def scratch_apart(self, most_rows: int) -> AbstractContextManager[Mapping[str, Tensor]]:
        """See `Workspace.apart`: for recordings of at most so many rows."""
        return self._stack.workspace.apart(most_rows)

    @torch.inference_mode()
    def encode(self, inputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        """Whole sequences from the initial state, in one or both directions: outputs packed (N, R).

        A view of scratch memory, valid until the next call.
        """
        self._check(inputs, batch_sizes)
        outputs, _ = self._stack.encode(inputs, batch_sizes)
        return outputs

    @torch.inference_mode()
    def summarize(self, inputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        """Whole sequences from the initial state, pooled as the specification says: (B, R * poolings).

        `encode` and `pool` in one, for every merge. Raises ValueError if the specification names no pooling.
        """
        self._check(inputs, batch_sizes)
        outputs, last = self._stack.encode(inputs, batch_sizes)
        return self._pool(outputs, batch_sizes, last)

    @torch.inference_mode()
    def pool(self, outputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        """Packed outputs of `encode` (N, R) -> (B, R * poolings), poolings joined in their order.

        Raises ValueError if the specification names no pooling, or "last" for a bidirectional network whose
        merge is not "concat": its directions end at different steps, which merged outputs no longer tell (use
        `summarize`).
        """
        check_batch_sizes(batch_sizes, outputs.shape[0])
        last = None
        if "last" in self.spec.pooling:
            last = self._last_of(outputs, batch_sizes)
        return self._pool(outputs, batch_sizes, last)

    def reader(self) -> Reader:
        """`summarize` in small pieces, between which the network may be used. No pooling means "last"."""
        poolings = self.spec.pooling or ("last",)
        if self._fused is not None:
            return FusedReader(self._fused, poolings)
        return SteppedReader(self._stack, poolings)

    @torch.inference_mode()
    def look(
        self, inputs: Tensor, state: State | None = None
    ) -> Generator[None, None, tuple[LayerLook, ...]]:
        """What goes on inside at each step of one sequence, token ids (T,) or features (T, F): see `looking`.

        From `state` (one row, left as it is), or from the beginning. Yields after every few steps; the network may then
        be used for something else. Raises ValueError for inputs or states of the wrong shape, and for a state of a
        bidirectional network.
        """
        self._check(inputs, (1,) * len(inputs))
        if state is not None:
            self.layout.check(state, 1)
        return (yield from look(self._stack, inputs, state))

    def _last_of(self, outputs: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        top = self.spec.recurrent.layers[-1]
        if top.direction == "forward":
            return last_of(outputs, batch_sizes)
        first = outputs[: batch_sizes[0]]
        if top.direction == "reverse":
            return first
        if top.merge != "concat":
            raise ValueError(f'pooling "last" with merge "{top.merge}" needs summarize, not pool')
        width = top.step_size
        return torch.cat([last_of(outputs[:, :width], batch_sizes), first[:, width:]], dim=1)

    def _pool(self, outputs: Tensor, batch_sizes: Sequence[int], last: Tensor | None) -> Tensor:
        if not self.spec.pooling:
            raise ValueError("pooling: expected at least one kind in the specification, got none")
        pooled: list[Tensor] = []
        for kind in self.spec.pooling:
            if kind == "mean":
                pooled.append(mean_of(outputs, batch_sizes))
            elif kind == "max":
                pooled.append(maximum_of(outputs, batch_sizes))
            else:
                assert last is not None
                pooled.append(last)
        return torch.cat(pooled, dim=1)

    def _check(self, inputs: Tensor, batch_sizes: Sequence[int]) -> None:
        check_batch_sizes(batch_sizes, inputs.shape[0])
        if isinstance(self.spec.input, TokenInputSpec):
            if inputs.dim() != 1 or inputs.dtype != torch.int64:
                raise ValueError(f"inputs: expected int64 ids (N,), got {inputs.dtype} {tuple(inputs.shape)}")
        elif inputs.dim() != 2 or inputs.shape[1] != self.spec.input.size or inputs.dtype != torch.float32:
            raise ValueError(
                f"inputs: expected float32 (N, {self.spec.input.size}), "
                f"got {inputs.dtype} {tuple(inputs.shape)}"
            )


def _reads_whole(spec: NetworkSpec) -> bool:
    """Whether it is for whole sequences only."""
    return not spec.recurrent.causal or bool(spec.pooling)
