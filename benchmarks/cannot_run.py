"""Why a benchmark could not be run."""


class CannotRunError(RuntimeError):
    """What a run needs is missing or did not start. `str` says what to do."""
