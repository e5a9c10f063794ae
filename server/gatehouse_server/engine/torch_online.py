"""The online backend on torch, CPU or GPU: one preallocated table of states, gathered and scattered by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import structlog
import torch

from gatehouse_server.engine.answer_builder import AnswerBuilder
from gatehouse_server.engine.graphed_programs import GraphedPrograms
from gatehouse_server.engine.graphs import CudaGraphs
from gatehouse_server.engine.online_backend import Flags, Floats, HeadAnswer, Ids, OnlineAnswer, OnlineBatch
from gatehouse_server.engine.programs import PlainPrograms, Programs, TickArithmetic, reading_of
from gatehouse_server.engine.recorded_programs import TILE_ROWS, RecordedPrograms
from gatehouse_server.engine.rows import INITIAL_ROW
from gatehouse_server.engine.state_places import places_in_table, reads_what_it_steps
from gatehouse_server.engine.tiles import TileWorkers
from gatehouse_server.network.network import Network
from gatehouse_server.network.recording import NotRecordableError
from gatehouse_server.network.state import StateLayout

_ROWS_OF_NOBODY = 2
"""The initial state's, the first one, and the last one, where graphs leave what they compute for nobody."""

_log = structlog.get_logger(__name__)


class TorchOnlineBackend:
    """Runs a unidirectional network over a table of `capacity` states.

    `start_token` is consumed once to make the initial state. `suppressed` ids are never among the best
    of rows that ask for it. Large ticks are cut into tiles, on a CPU for `threads` threads. `most_rows` is the largest
    tick that a GPU prepares for.
    """

    def __init__(
        self,
        network: Network,
        *,
        capacity: int,
        start_token: int | None = None,
        suppressed: Sequence[int] = (),
        threads: int = 1,
        most_rows: int = 256,
        programs_of: Callable[[TickArithmetic], Programs] | None = None,
    ) -> None:
        self._network = network
        self._device = network.device
        layout = network.layout
        self._output_part = layout.output_part
        self._bytes_per_row = layout.bytes_per_row
        self._table = _table(layout, capacity + _ROWS_OF_NOBODY, self._device)
        self._arithmetic = TickArithmetic(network, self._table, suppressed)
        make = programs_of or partial(_best_programs, most_rows=most_rows)
        workers = threads if self._device.type == "cpu" else 1
        self._tiles = TileWorkers([make(self._arithmetic) for _ in range(workers)])
        self._make_initial(start_token)

    @property
    def bytes_per_row(self) -> int:
        """Size of one state in bytes."""
        return self._bytes_per_row

    @torch.inference_mode()
    def run(self, batch: OnlineBatch) -> OnlineAnswer:
        """Computes a tick; see `OnlineBatch`."""
        if reads_what_it_steps(batch):
            finite, read = self._step_and_read(batch)
            # Single steps, so whatever may be asked for lies where they left it.
            return OnlineAnswer(finite=finite, head=read, hidden=self._hidden(batch, None))
        in_table = None if batch.head is None else places_in_table(batch, batch.head.rows)
        keep = (batch.head is not None and in_table is None) or (
            batch.hidden_rows is not None and places_in_table(batch, batch.hidden_rows) is None
        )
        states = None
        if len(batch.batch_sizes) <= 1 and not keep:
            finite = self._step(batch)
        else:
            finite, states = self._scan(batch, keep=keep)
        head: HeadAnswer | None = None
        if in_table is not None:
            head = self._read(batch, in_table)
        elif batch.head is not None:
            assert states is not None, "states that are not in the table are kept"
            head = self._read_hidden(batch, states)
        return OnlineAnswer(finite=finite, head=head, hidden=self._hidden(batch, states))

    @torch.inference_mode()
    def read_states(self, rows: np.ndarray) -> Floats:
        """See `OnlineBackend`."""
        index = self._send(rows)
        states: Floats = torch.cat([part.index_select(0, index) for part in self._table], dim=1).cpu().numpy()
        return states

    @torch.inference_mode()
    def write_states(self, rows: np.ndarray, states: Floats) -> None:
        """See `OnlineBackend`."""
        index = self._send(rows)
        new = torch.split(self._send(states), [part.shape[1] for part in self._table], dim=1)
        for part, values in zip(self._table, new, strict=True):
            part.index_copy_(0, index, values)

    def _step_and_read(self, batch: OnlineBatch) -> tuple[Flags, HeadAnswer]:
        """The common tick: one step of every session, each read at its end."""
        assert batch.head is not None, "this tick reads"
        answers = AnswerBuilder(batch.head, self._arithmetic)

        def tile(programs: Programs, begin: int, end: int) -> float:
            k, suppressed = answers.ranked_together(begin, end)
            total, reading = programs.step_and_read(
                batch.inputs[begin:end],
                batch.source_rows[begin:end],
                batch.target_rows[begin:end],
                k,
                suppressed,
            )
            answers.take(begin, end, reading)
            return total

        totals = self._tiles.map(len(batch.source_rows), tile)
        return self._finite(sum(totals), batch.target_rows), answers.result()

    def _step(self, batch: OnlineBatch) -> Flags:
        """One step of every session; whether each new state is finite, (B,)."""

        def tile(programs: Programs, begin: int, end: int) -> float:
            rows = slice(begin, end)
            return programs.step(batch.inputs[rows], batch.source_rows[rows], batch.target_rows[rows])

        rows = len(batch.source_rows)
        return self._finite(sum(self._tiles.map(rows, tile)) if rows else 0.0, batch.target_rows)

    def _read(self, batch: OnlineBatch, table_rows: Ids) -> HeadAnswer:
        """The head's answers for states that lie in the table."""
        assert batch.head is not None, "this tick reads"
        answers = AnswerBuilder(batch.head, self._arithmetic)

        def tile(programs: Programs, begin: int, end: int) -> None:
            k, suppressed = answers.ranked_together(begin, end)
            answers.take(begin, end, programs.read(table_rows[begin:end], k, suppressed))

        self._tiles.map(len(table_rows), tile)
        return answers.result()

    def _hidden(self, batch: OnlineBatch, states: torch.Tensor | None) -> Floats | None:
        """The top layer's outputs (C, R) that are wanted as they are, of all `states` of the tick or of the table."""
        rows = batch.hidden_rows
        if rows is None:
            return None
        if states is None:
            rows, states = places_in_table(batch, rows), self._table[self._output_part]
            assert rows is not None, "states that are not in the table are kept"
        hidden: Floats = states.index_select(0, self._send(rows)).cpu().numpy()
        return hidden

    def _scan(self, batch: OnlineBatch, *, keep: bool) -> tuple[Flags, torch.Tensor | None]:
        """Ragged chunks: whether each new state is finite, and with `keep` the states that head requests index."""
        index = self._send(batch.source_rows)
        state = tuple(part.index_select(0, index) for part in self._table)
        sources = state[self._output_part].clone() if keep else None
        outputs = self._network.scan(self._send(batch.inputs), batch.batch_sizes, state)
        total = float(sum(part.sum() for part in state))
        target = self._send(batch.target_rows)
        for part, new in zip(self._table, state, strict=True):
            part.index_copy_(0, target, new)
        finite = self._finite(total, batch.target_rows)
        if sources is None:
            return finite, None
        peeked = self._table[self._output_part].index_select(0, self._send(batch.peeked_rows))
        return finite, torch.cat([sources, peeked, outputs])

    def _read_hidden(self, batch: OnlineBatch, hidden: torch.Tensor) -> HeadAnswer:
        """The head's answers for any states of the tick."""
        assert batch.head is not None, "this tick reads"
        answers = AnswerBuilder(batch.head, self._arithmetic)
        states = hidden.index_select(0, self._send(batch.head.rows))
        for begin in range(0, len(states), TILE_ROWS):
            end = min(begin + TILE_ROWS, len(states))
            k, suppressed = answers.ranked_together(begin, end)
            flags = None if suppressed is None else self._send(suppressed)
            answers.take(begin, end, reading_of(self._arithmetic.rank(states[begin:end], k, flags)))
        return answers.result()

    def _finite(self, total: float, rows: Ids) -> Flags:
        """Whether each row's state is finite, (B,). Sums are cheap: first one of everything, then one of each row if
        need be; only a suspicious row is looked at whole."""
        finite = np.ones(len(rows), dtype=np.bool_)
        if math.isfinite(total):
            return finite
        index = self._send(rows)
        for table in self._table:
            part = table.index_select(0, index)
            sums = part.sum(dim=1).cpu().numpy()
            for row in np.flatnonzero(~np.isfinite(sums)):
                finite[row] &= bool(torch.isfinite(part[row]).all())
        return finite

    def _make_initial(self, start_token: int | None) -> None:
        with torch.inference_mode():
            state = self._network.initial_state(1)
            if start_token is not None:
                self._network.scan(torch.tensor([start_token], device=self._device), (1,), state)
            for part, new in zip(self._table, state, strict=True):
                part[INITIAL_ROW] = new[0]

    def _send(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _best_programs(arithmetic: TickArithmetic, most_rows: int) -> Programs:
    """Graphs on a GPU; on a CPU recordings where they hold what they promise."""
    device = arithmetic.network.device
    if device.type == "cuda":
        return GraphedPrograms(arithmetic, CudaGraphs(device), most_rows=most_rows)
    try:
        return RecordedPrograms(arithmetic)
    except NotRecordableError as failure:
        _log.warning("ticks run operator by operator, which is slower", problem=str(failure))
    return PlainPrograms(arithmetic, tile_rows=TILE_ROWS)


def _table(layout: StateLayout, rows: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Zero states, one tensor (rows, width) for each part.

    On a CPU they come from numpy, whose zeros are mapped on first touch: an unused row costs address space only.
    torch fills its own.
    """
    if device.type != "cpu":
        return layout.zeros(rows, device)
    return tuple(torch.from_numpy(np.zeros((rows, part.width), dtype=np.float32)) for part in layout.parts)
