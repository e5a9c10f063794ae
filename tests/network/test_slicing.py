"""Slices of steps that take about a millisecond, whatever the device."""

import pytest
from gatehouse_server.network.slicing import Slicing


class Device:
    """Takes so long for a call, for each step and for each row."""

    def __init__(self, *, call_seconds: float, step_seconds: float, row_seconds: float) -> None:
        self._call_seconds = call_seconds
        self._step_seconds = step_seconds
        self._row_seconds = row_seconds
        self.now_seconds = 0.0
        self.slicing = Slicing(lambda: self.now_seconds)

    def read(self, sizes: list[int]) -> list[tuple[int, float]]:
        """A whole batch: the steps of each slice, and the seconds that it took."""
        slices = []
        first = 0
        while first < len(sizes):
            steps = self.slicing.begin(sizes, first)
            rows = sum(sizes[first : first + steps])
            seconds = self._call_seconds + steps * self._step_seconds + rows * self._row_seconds
            self.now_seconds += seconds
            self.slicing.end()
            slices.append((steps, seconds))
            first += steps
        assert sum(steps for steps, _ in slices) == len(sizes)
        return slices


@pytest.mark.parametrize("step_seconds", [2e-7, 2e-6, 2e-5, 2e-4])
@pytest.mark.parametrize("rows", [1, 200, 3000])
def test_slices_come_to_take_a_millisecond(step_seconds: float, rows: int) -> None:
    """After the first ones, on fast and slow devices, in narrow and in wide batches: within a step of it."""
    device = Device(call_seconds=1e-4, step_seconds=step_seconds, row_seconds=2e-8)
    slices = device.read([rows] * 60_000)[20:-1]
    a_step = step_seconds + 2e-8 * rows
    assert all(0.0005 - a_step < seconds < 0.0013 + a_step for _, seconds in slices)


def test_the_narrow_end_of_a_batch_is_cut_by_steps() -> None:
    """A step of a single row takes as long as one of a hundred: there are not more of them in a slice."""
    device = Device(call_seconds=1e-4, step_seconds=1e-5, row_seconds=1e-8)
    slices = device.read([128] * 3000 + [1] * 3000)
    assert all(seconds < 0.0013 for _, seconds in slices)
    assert len(slices) < 100


def test_a_step_that_takes_too_long_is_a_slice_by_itself() -> None:
    """There is always one, so that a batch comes to its end; faster ones are soon taken together again."""
    device = Device(call_seconds=1e-4, step_seconds=0.0, row_seconds=1e-6)
    wide = [steps for steps, _ in device.read([5000] * 40)]
    assert wide == [1] * 40
    assert device.read([20] * 400)[-2][0] > 10


def test_short_batches_do_not_make_slices_short() -> None:
    """A slice that ends for want of steps takes mostly what a call takes, which says nothing of its steps."""
    device = Device(call_seconds=5e-4, step_seconds=1e-6, row_seconds=0.0)
    device.read([1] * 20_000)
    before = device.slicing.begin([1] * 20_000, 0)
    for _ in range(50):
        device.read([1, 1, 1])
    assert device.slicing.begin([1] * 20_000, 0) == before > 100


def test_a_slice_that_was_held_up_is_forgotten_soon() -> None:
    """The next one is half as long, not a thousandth."""
    device = Device(call_seconds=0.0, step_seconds=1e-6, row_seconds=0.0)
    device.read([1] * 20_000)
    before = device.slicing.begin([1] * 20_000, 0)
    device.now_seconds += 5.0
    device.slicing.end()
    assert device.slicing.begin([1] * 20_000, 0) == pytest.approx(before / 2, rel=0.1)
