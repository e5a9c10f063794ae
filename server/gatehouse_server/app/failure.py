"""Why a server cannot start, for the person who started it."""

from __future__ import annotations

EXIT_CANNOT_START = 2
"""Exit code when the settings, a port, a folder or the device do not allow it."""


EXIT_SOMETHING_LOST = 1
"""Exit code when the server was asked to stop and did, and the state store did not take everything, or the engine had
failed.
"""


class CannotStartError(Exception):
    """One line: what is wrong, and what to type next."""
