"""The tree of errors."""

from pathlib import Path

import pytest
from gatehouse_server import errors
from gatehouse_server.errors import FieldViolation, GatehouseError, InvalidInput, ModelFolderError, Overloaded


def kinds() -> list[type[GatehouseError]]:
    return [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatehouseError)
    ]


def test_tree_in_the_documentation_is_the_tree() -> None:
    """Each error is drawn once in the module's docstring."""
    drawn = [
        line.split()[1] for line in (errors.__doc__ or "").splitlines() if line.strip().startswith(("├", "└"))
    ]
    assert sorted(drawn) == sorted(kind.__name__ for kind in kinds() if kind is not GatehouseError)


def test_no_two_errors_share_a_reason() -> None:
    """A reason tells its class."""
    reasons = [reason for kind in kinds() for reason in kind.reasons]
    assert len(reasons) == len(set(reasons))
    assert all(reason == reason.upper() and " " not in reason for reason in reasons)


def test_undeclared_reason_is_a_bug() -> None:
    """A reason that the class does not declare is stopped where it is made."""
    with pytest.raises(AssertionError, match="TYPO"):
        InvalidInput("no", reason="TYPO")


def test_field_error() -> None:
    """An error of one field says so in its message and in its violation."""
    error = InvalidInput.of_field("k", "expected 1 to 9, got 0", reason="K_OUT_OF_RANGE", metadata={"k": "0"})
    assert str(error) == error.message == "k: expected 1 to 9, got 0"
    assert error.violations == (FieldViolation(field="k", description="expected 1 to 9, got 0"),)
    assert (error.reason, error.metadata) == ("K_OUT_OF_RANGE", {"k": "0"})


def test_overload_says_when_to_come_back() -> None:
    """An overload carries seconds."""
    assert Overloaded("full", retry_after_seconds=0.5, reason="QUEUE_FULL").retry_after_seconds == 0.5


def test_folder_error_is_one_line() -> None:
    """Whatever a library put into its message, a folder's defect is told in one line."""
    error = ModelFolderError(Path("m/1"), "broken\n  because", "mend\nit")
    assert str(error) == "m/1: broken because; mend it"
