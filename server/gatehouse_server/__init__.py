"""Gatehouse's server. Also usable without one:

from gatehouse_server import DocumentClassifier
DocumentClassifier("models/topics/1").classify(["We study ..."])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatehouse_server.app.in_process import Classification, DocumentClassifier

__all__ = ["Classification", "DocumentClassifier"]


def __getattr__(name: str) -> Any:
    """Imports the classifier when it is asked for: it brings torch, which the lower layers may not need."""
    if name in __all__:
        from gatehouse_server.app import in_process

        return getattr(in_process, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
