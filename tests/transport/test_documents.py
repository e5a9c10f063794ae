"""Documents against their model: encoded as the model takes them, or refused with the field."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gatehouse_server.engine.documents import DocumentWants
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.registry import Registry
from gatehouse_server.transport.documents import DocumentEncoder, EncodedDocument
from gatehouse_server.transport.parts import WholeDocument

from tests.tiny import CLASSIFIER_WORDS, panicking_tokenizer, write_tiny_classifier


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


def test_text_that_the_tokenizer_fails_at_fails_alone(tmp_path: Path) -> None:
    """Whatever the library raises, be it a panic: the documents beside it are taken."""
    folder = write_tiny_classifier(tmp_path / "topics" / "1")
    panicking_tokenizer(CLASSIFIER_WORDS).save(str(folder / "tokenizer.json"))
    before, bad, after = encoded(Registry.load([tmp_path], embedded=None), "the star", "a £", "the galaxy")
    assert isinstance(before, EncodedDocument)
    assert isinstance(bad, InvalidInput)
    assert bad.reason == "TEXT_NOT_ENCODABLE"
    assert isinstance(after, EncodedDocument)


def test_the_limit_refuses_or_cuts(registry: Registry) -> None:
    """The limit itself is allowed."""
    at_limit, over = encoded(registry, "the star", "the star group", max_document_steps=2)
    assert isinstance(at_limit, EncodedDocument)
    assert isinstance(over, InvalidInput)
    assert (over.reason, over.metadata["max_document_steps"]) == ("DOCUMENT_TOO_LONG", "2")
    (cut,) = encoded(registry, "the star group", max_document_steps=2, truncate=True)
    assert isinstance(cut, EncodedDocument)
    assert (cut.task.inputs.tolist(), cut.truncated) == ([1, 5], True)


@dataclass(frozen=True)
class EveryStep:
    """Results that tell where each token stands."""

    wants: DocumentWants = field(default=DocumentWants(every_step=True))

    def result_bytes(self, steps: int) -> int:
        return steps


def test_what_is_cut_off_is_not_kept(registry: Registry) -> None:
    """Inputs and places have memory of their own, of the steps that are left."""
    cut = encoded(
        registry,
        "the star group " * 100,
        np.ones(300, np.int64),
        max_document_steps=2,
        truncate=True,
        form=EveryStep(),
    )
    for each in cut:
        assert isinstance(each, EncodedDocument)
        assert len(each.task.inputs) == 2
        assert each.task.inputs.base is None
    (spans,) = (each.spans for each in cut if isinstance(each, EncodedDocument) and each.spans is not None)
    assert len(spans) == 2
    assert spans.base is None
