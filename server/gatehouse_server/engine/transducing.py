"""How a batch of documents is transduced: read by the encoder, then written by the decoder, all of them at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatehouse_server.engine.beam_search import BeamSearch, Ids
from gatehouse_server.engine.packed_documents import PackedDocuments
from gatehouse_server.engine.transduction import Hypothesis, Transduction, TransductionWants
from gatehouse_server.errors import InvalidInput
from gatehouse_server.network.state import State
from gatehouse_server.network.transducer import Transducer

_MOST_ROWS = 1024  # hypotheses decoded together: more of them are no faster, and their states take memory
_PIECE_OPERATIONS = 5e7  # so many take about a millisecond
_LEAST_PIECE_ROWS = 16

Outputs = tuple[Hypothesis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTransductions:
    """The outputs of each document, best first, in the order of the documents; None where the decoder's values were
    not finite. `computed_steps` are the encoder's, padding included.
    """

    outputs: Sequence[Outputs | None]
    computed_steps: int

    def answer(
        self, row: int, *, step_count: int, queue_seconds: float, compute_seconds: float
    ) -> Transduction | InvalidInput:
        """See `BatchAnswers`."""
        outputs = self.outputs[row]
        if outputs is None:
            refusal = "what is written is not finite: the document's values are too large for the model"
            return InvalidInput(refusal, reason="STATE_NOT_FINITE")
        return Transduction(
            hypotheses=outputs,
            step_count=step_count,
            queue_seconds=queue_seconds,
            compute_seconds=compute_seconds,
        )


class TorchTransducingBackend:
    """Computes one batch at a time for one transducer. No result depends on the neighbours."""

    def __init__(self, transducer: Transducer) -> None:
        self._transducer = transducer
        self._decoder = transducer.decoder
        self._device = transducer.decoder.device
        self._reader = transducer.encoder.reader()
        self._suppressed = torch.tensor(transducer.suppressed_ids, dtype=torch.int64, device=self._device)
        operations = max(1, self._decoder.parameter_bytes // 2)  # two for each float32 weight
        self._piece_rows = max(_LEAST_PIECE_ROWS, int(_PIECE_OPERATIONS / operations))
        if self._device.type != "cpu":  # which is the faster the more rows there are
            self._piece_rows = _MOST_ROWS

    @torch.inference_mode()
    def score(
        self, documents: Sequence[npt.NDArray[np.int64] | npt.NDArray[np.float32]], wants: TransductionWants
    ) -> Generator[None, None, BatchTransductions]:
        """What is written for documents, longest first, each (T,) token ids or (T, N) features.

        Yields about every millisecond. Raises ValueError for documents without steps or not longest first.
        """
        packed = PackedDocuments(documents, self._transducer.encoder.spec.input, start_token=None)
        inputs = yield from packed.inputs(pinned=self._device.type == "cuda")
        summaries = yield from self._reader.summarize(
            inputs.to(self._device, non_blocking=True), packed.batch_sizes
        )
        together = max(1, _MOST_ROWS // wants.beam_size)
        outputs: list[Outputs | None] = []
        for first in range(0, len(documents), together):
            outputs.extend((yield from self._decode(summaries[first : first + together], wants)))
        return BatchTransductions(outputs=outputs, computed_steps=packed.rows)

    def _decode(
        self, summaries: Tensor, wants: TransductionWants
    ) -> Generator[None, None, list[Outputs | None]]:
        """The outputs for summaries (B, R times the poolings)."""
        decoder, said = self._decoder, self._transducer
        search = BeamSearch(len(summaries), wants, start_id=said.start_id, end_id=said.end_id)
        state = decoder.state_from(summaries)
        while len(search):
            parents = torch.from_numpy(search.parents).to(self._device)
            state = tuple(part.index_select(0, parents) for part in state)
            search.advance(*(yield from self._step(search.tokens, state, wants.beam_size)))
            yield
        return search.results()

    def _step(
        self, tokens: Ids, state: State, beam_size: int
    ) -> Generator[None, None, tuple[npt.NDArray[np.float32], Ids]]:
        """Advances `state` in place; the likeliest next tokens of each row with their log-probabilities."""
        head = self._decoder.head
        assert head is not None, "a transducer has looked at it"
        inputs = torch.from_numpy(tokens).to(self._device)
        values: list[npt.NDArray[np.float32]] = []
        ids: list[Ids] = []
        for start in range(0, len(tokens), self._piece_rows):
            if start:
                yield
            piece = slice(start, start + self._piece_rows)
            given = inputs[piece]
            hidden = self._decoder.scan(given, (len(given),), tuple(part[piece] for part in state))
            logits = head.logits(hidden)
            normalizers = head.log_normalizer(logits).unsqueeze(1)
            logits.index_fill_(1, self._suppressed, -torch.inf)
            best, likeliest = head.best(logits, min(beam_size, head.size))
            values.append((best - normalizers).cpu().numpy())
            ids.append(likeliest.cpu().numpy())
        return np.concatenate(values), np.concatenate(ids)
