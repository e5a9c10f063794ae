"""What is told of a process is what Linux says of it."""

import os
import sys
import time

import pytest

from benchmarks.server_process import cpu_seconds, resident_bytes_of, running


def test_processor_time_is_that_of_the_process():
    """As Python counts it for itself, to a few clock ticks."""
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        pass
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)


def test_resident_memory_is_in_bytes():
    """A Python process takes megabytes."""
    assert 10**6 < resident_bytes_of(os.getpid()) < 10**11


def test_a_server_that_cannot_start_says_why():
    """What it wrote is in the failure, instead of a wait for ever."""
    command = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(RuntimeError, match="no such model"), running(command, "127.0.0.1:1"):
        pass
