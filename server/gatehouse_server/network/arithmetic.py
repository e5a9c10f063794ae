"""How numbers are multiplied: what answers depend on beside the weights."""

from dataclasses import dataclass
from typing import Final, Literal

Precision = Literal["float32", "int8", "bfloat16", "float16"]
"""Of the weights in matrix products, and of what they are multiplied by.

Sums, states, gates, biases and results are float32 in each.
"""

ON_CPU: Final[tuple[Precision, ...]] = ("float32", "int8")
"""The precisions that are worth having on a CPU. bfloat16 without instructions of its own takes twice as long as
float32 there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """`precision` of the matrix products; with `tf32` a GPU rounds the factors of float32 products to 10 bits.

    `reproducible` asks for answers that do not depend on the batch, to the bit, also where that is slower: where no
    fast kernel has proved it, rows are multiplied in tiles of one size.
    """

    precision: Precision = "float32"
    tf32: bool = False
    reproducible: bool = False

    def __post_init__(self) -> None:
        if self.tf32 and self.precision != "float32":
            raise ValueError(f"tf32: expected precision float32 with it, got {self.precision}")

    @property
    def name(self) -> str:
        """What states made with it have in common: `float32`, `tf32`, `int8`, ..."""
        return "tf32" if self.tf32 else self.precision


FLOAT32: Final = Arithmetic()
