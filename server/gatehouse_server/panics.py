"""Panics of libraries written in Rust. Python is told of them by an exception that is no `Exception`."""


def as_defect(failure: BaseException) -> Exception:
    """A failure as a defect of one call. Raises it again when it is meant to end more, as an interrupt or an exit."""
    if isinstance(failure, Exception):
        return failure
    if type(failure).__name__ != "PanicException":  # each library has a type of its own
        raise failure
    defect = RuntimeError(f"a library panicked: {failure}")
    defect.__cause__ = failure
    return defect
