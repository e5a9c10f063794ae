"""Prometheus' own tool for rules and their tests."""

import shutil
import subprocess

import pytest


def promtool(*arguments: str) -> str:
    """What promtool says. It comes with Debian's `prometheus`."""
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("promtool is missing: apt-get install prometheus")
    outcome = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout
