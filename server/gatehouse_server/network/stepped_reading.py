"""Reading step by step with the network's own scan: on a CPU faster than torch's modules, and the same to the bit in
any company. On a GPU each step is many small launches.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence

from torch import Tensor

from gatehouse_server.network.batch import Batch
from gatehouse_server.network.layer_spec import Direction
from gatehouse_server.network.reading import Reader, Visit
from gatehouse_server.network.scan import Scan
from gatehouse_server.network.stack import Stack

_PIECE_ROWS = 32  # a piece is a few whole steps: of many rows one, of a single row not so many that they ...
_PIECE_STEPS = 4  # ... take long where the weights do not fit a cache
_PRODUCT_OPERATIONS = 2e8  # input products are computed for as many rows at once as take about a millisecond
_MOST_PRODUCT_ROWS = 512

Steps = list[tuple[int, int]]
"""First packed row and number of rows of consecutive steps, in the order they are read."""


class SteppedReader(Reader):
    """Reads with the scans of a stack."""

    def __init__(self, stack: Stack, poolings: Sequence[str]) -> None:
        """`poolings` as in `NetworkSpec`, at least one."""
        self._layers = stack.layers
        super().__init__(stack.spec, poolings, stack.device)

    def _read(
        self, number: int, inputs: Tensor, batch: Batch, visit: Visit, direction: Direction
    ) -> Generator[None, None, Tensor]:
        scan = self._layers[number][direction]
        parts = scan.initial(batch.sizes[0])
        active = parts
        for block in _split(batch.steps(direction), rows=_product_rows(scan)):
            covered = _rows_of(block)
            # A folded product is a copy: made piece by piece, it is still in the cache when it is used. It
            # lies in memory that belongs to the network, so it must not outlive a piece.
            product = None if scan.folded else scan.product(inputs[covered])
            if product is not None:
                yield
            for piece in _split(block, rows=_PIECE_ROWS, steps=_PIECE_STEPS):
                if scan.folded:
                    covered = _rows_of(piece)
                    product = scan.product(inputs[covered])
                assert product is not None
                for start, rows in piece:
                    if active[0].shape[0] != rows:
                        active = tuple(part[:rows] for part in parts)
                    first = start - covered.start
                    scan.advance(product[first : first + rows], active)
                    visit(slice(start, start + rows), active[0], (rows,))
                self._wait()
                yield
        return parts[0]


def _product_rows(scan: Scan) -> int:
    operations = 2.0 * scan.cell.size.input_size * scan.cell.product_width
    return int(min(max(_PRODUCT_OPERATIONS / operations, _PIECE_ROWS), _MOST_PRODUCT_ROWS))


def _rows_of(steps: Steps) -> slice:
    first, last = min(steps[0], steps[-1]), max(steps[0], steps[-1])
    return slice(first[0], sum(last))


def _split(whole: Iterable[tuple[int, int]], *, rows: int, steps: int | None = None) -> Iterator[Steps]:
    """Consecutive steps in groups that end as soon as they have `rows` rows or `steps` steps."""
    group: Steps = []
    found = 0
    for start, count in whole:
        group.append((start, count))
        found += count
        if found >= rows or len(group) == steps:
            yield group
            group, found = [], 0
    if group:
        yield group
