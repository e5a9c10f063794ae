"""How many rows a product has: few numbers, for a library that compiles a program for each.

oneDNN takes about a millisecond and a third of a megabyte for each number of rows that a product meets, and keeps a
thousand programs. A server whose ticks and batches have any number would wait and grow again and again in its first
hours.
"""

from __future__ import annotations


def computed_rows(rows: int) -> int:
    """How many rows to compute for so many that are wanted: 6 % more for 17 to 32 rows on average, less for others.

    36 numbers up to 128 rows, which is the largest tile; beyond it one for each 32 rows. Recordings have it compiled
    (`with_its_loops`), so it is written in the compiler's words.
    """
    if rows <= 16:
        return rows
    step = 4 if rows <= 64 else 8 if rows <= 128 else 32
    return rows + -rows % step
