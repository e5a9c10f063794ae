"""Documents against their model: encoded as the model takes them, or refused with the field."""

from typing import Any

import numpy as np
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.documents import DocumentEncoder, EncodedDocument
from gatehouse_server.transport.parts import WholeDocument


def encoded(registry: Registry, *contents: Any, **options: Any) -> list[EncodedDocument | InvalidInput]:
    """What becomes of these contents."""
    settings: dict[str, Any] = {"max_document_steps": 100, "truncate": False, **options}
    encoder = DocumentEncoder(registry.get("topics"), **settings)
    return encoder.encode(
        [WholeDocument(document_id=str(number), content=content) for number, content in enumerate(contents)]
    )


def test_text_and_tokens_become_the_same_task(registry: Registry) -> None:
    """Token ids that the tokenizer would give are worth the text."""
    text, tokens = encoded(registry, "the star", np.array([1, 5]))
    assert isinstance(text, EncodedDocument)
    assert isinstance(tokens, EncodedDocument)
    assert text.task.inputs.tolist() == tokens.task.inputs.tolist() == [1, 5]
    assert text.task.inputs.dtype == np.int64
    assert text.task.model_key == registry.get("topics").content_key


def test_each_bad_document_has_its_own_error(registry: Registry) -> None:
    """Good ones among them come through."""
    outcomes = encoded(registry, "the", " ", np.array([99]), np.zeros((1, 3), dtype=np.float32), "star")
    reasons = [each.reason if isinstance(each, InvalidInput) else None for each in outcomes]
    assert reasons == [None, "EMPTY_INPUT", "TOKEN_OUT_OF_RANGE", "WRONG_INPUT_KIND", None]


def test_text_that_is_not_unicode_fails_alone(registry: Registry) -> None:
    """A lone surrogate cannot come over the wire, but from the same process it can."""
    outcomes = encoded(registry, "the", "\ud800")
    assert isinstance(outcomes[0], EncodedDocument)
    assert isinstance(outcomes[1], InvalidInput)
    assert outcomes[1].reason == "TEXT_NOT_ENCODABLE"


def test_the_limit_refuses_or_cuts(registry: Registry) -> None:
    """The limit itself is allowed."""
    at_limit, over = encoded(registry, "the star", "the star group", max_document_steps=2)
    assert isinstance(at_limit, EncodedDocument)
    assert isinstance(over, InvalidInput)
    assert (over.reason, over.metadata["max_document_steps"]) == ("DOCUMENT_TOO_LONG", "2")
    (cut,) = encoded(registry, "the star group", max_document_steps=2, truncate=True)
    assert isinstance(cut, EncodedDocument)
    assert (cut.task.inputs.tolist(), cut.truncated) == ([1, 5], True)
