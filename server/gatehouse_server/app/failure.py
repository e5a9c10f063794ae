"""Why a server cannot start, for the person who started it."""

from __future__ import annotations

EXIT_CANNOT_START = 2
"""Exit code when the settings, a port, a folder or the device do not allow it."""


class CannotStartError(Exception):
    """One line: what is wrong, and what to type next."""
