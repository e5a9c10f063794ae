"""Small networks of each cell, trained alike, for comparing cells: `python -m benchmarks.cells` runs them."""
