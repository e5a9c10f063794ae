"""Documents as the rows of one packed batch, each behind the token that comes before all of them, if there is one."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from gatehouse_server.engine.documents import Floats, Ids
from gatehouse_server.network.packing import running_of
from gatehouse_server.network.spec import FeatureInputSpec, TokenInputSpec

_PIECE_NUMBERS = 2**16  # are copied in much less than a millisecond


class PackedDocuments:
    """B documents, longest first, in N rows: all first steps, all second steps, and so on."""

    def __init__(
        self,
        documents: Sequence[Ids | Floats],
        spec: TokenInputSpec | FeatureInputSpec,
        *,
        start_token: int | None,
    ) -> None:
        """Raises ValueError for documents without steps or not longest first."""
        if any(not len(document) for document in documents):
            raise ValueError("lengths: expected documents of at least one step")
        self._documents = documents
        self._spec = spec
        self._start_token = start_token
        self._before = 0 if start_token is None else 1
        lengths = [self._before + len(document) for document in documents]
        sizes: Ids = running_of(lengths).numpy()
        self.batch_sizes: tuple[int, ...] = tuple(sizes.tolist())
        self.rows = sum(lengths)
        self._first_rows: Ids = sizes.cumsum() - sizes

    def __len__(self) -> int:
        return len(self._documents)

    def inputs(self, *, pinned: bool) -> Generator[None, None, Tensor]:
        """Token ids (N,) or features (N, F). Yields after each document, and within one of many features.

        `pinned` is memory that a GPU copies from by itself. torch keeps it for the next batch, once it has been copied.
        """
        if isinstance(self._spec, TokenInputSpec):
            packed = torch.empty(self.rows, dtype=torch.int64, pin_memory=pinned)
        else:
            packed = torch.empty(self.rows, self._spec.size, dtype=torch.float32, pin_memory=pinned)
        values = packed.numpy()
        if self._start_token is not None:
            values[: len(self)] = self._start_token
        piece = max(1, _PIECE_NUMBERS // values[0].size)
        for number, document in enumerate(self._documents):
            places = self.places(number)
            for first in range(0, len(places), piece):
                values[places[first : first + piece]] = document[first : first + piece]
                yield
        return packed

    def following(self) -> Generator[None, None, Tensor]:
        """For each row the token that comes after it (N,) int64; at the end of a document any."""
        packed = torch.zeros(self.rows, dtype=torch.int64)
        values = packed.numpy()
        for number, document in enumerate(self._documents):
            before = self.places_before(number)
            values[before] = document[len(document) - len(before) :]
            yield
        return packed

    def places(self, number: int) -> Ids:
        """The rows of a document's steps (T,)."""
        return self._first_rows[self._before : self._before + len(self._documents[number])] + number

    def places_before(self, number: int) -> Ids:
        """The rows after which a document's steps come: (T,), or (T - 1,) where nothing comes before the first."""
        return self._first_rows[: self._before + len(self._documents[number]) - 1] + number
