"""What holds for every test."""

import pytest
import torch


def pytest_configure() -> None:
    """One compute thread, as the server runs: more would let tests disturb each other."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first: one that is begun last keeps one process busy while the other has nothing left to do.
    They are those that may take longer than others. The rest stay in order.

    Tests marked `gpu` are skipped, and counted as skipped, where no CUDA device is.
    """
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    if torch.cuda.is_available():
        return
    absent = pytest.mark.skip(reason="torch finds no CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(absent)
