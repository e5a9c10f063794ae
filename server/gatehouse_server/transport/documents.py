"""Whole documents against the model that is to classify them: encoded, checked, cut where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatehouse_server.engine.documents import DocumentTask
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.features import check_features
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.token_ids import check_token_ids
from gatehouse_server.sessions.operations import Features, Tokens
from gatehouse_server.transport.parts import WholeDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedDocument:
    """A document as the engine takes it."""

    document_id: str
    task: DocumentTask
    truncated: bool


class DocumentEncoder:
    """Prepares documents for one model. Safe to use from several threads.

    Raises InvalidInput when the model is no classifier.
    """

    def __init__(self, model: LoadedModel, *, max_document_steps: int, truncate: bool) -> None:
        if model.config.task != "classifier":
            kind = model.config.task.replace("_", " ")
            raise InvalidInput.of_field(
                "model", f"expected a classifier, and {model.key} is a {kind}", reason="WRONG_MODEL_KIND"
            )
        self._model = model
        self._max_steps = max_document_steps
        self._truncate = truncate

    def encode(self, documents: Sequence[WholeDocument]) -> list[EncodedDocument | InvalidInput]:
        """Each document, or why it cannot be taken. Tokenizes all texts in one call."""
        texts = [document.content for document in documents if isinstance(document.content, str)]
        encoded = iter(self._encode_texts(texts))
        outcomes: list[EncodedDocument | InvalidInput] = []
        for document in documents:
            content = document.content
            try:
                inputs: Tokens | Features = (
                    self._text_inputs(next(encoded)) if isinstance(content, str) else self._checked(content)
                )
                outcomes.append(self._within_limit(document, inputs))
            except InvalidInput as error:
                outcomes.append(error)
        return outcomes

    def _encode_texts(self, texts: list[str]) -> list[list[int] | InvalidInput]:
        codec = self._model.text
        if codec is None:
            return [self._wrong_kind("text") for _ in texts]
        try:
            return list(codec.encode_many(texts)) if texts else []
        except InvalidInput:  # one of them: find out which
            outcomes: list[list[int] | InvalidInput] = []
            for text in texts:
                try:
                    outcomes.append(codec.encode(text))
                except InvalidInput as error:
                    outcomes.append(error)
            return outcomes

    def _text_inputs(self, encoded: list[int] | InvalidInput) -> Tokens:
        if isinstance(encoded, InvalidInput):
            raise encoded
        if not encoded:
            raise InvalidInput.of_field("text", "expected at least one token, got none", reason="EMPTY_INPUT")
        return np.array(encoded, dtype=np.int64)

    def _checked(self, content: Tokens | Features) -> Tokens | Features:
        taken = self._model.config.input
        if content.dtype == np.int64:
            if taken.kind != "tokens":
                raise self._wrong_kind("tokens")
            if content.min() < 0 or content.max() >= taken.vocabulary_size:
                check_token_ids(content.tolist(), vocabulary_size=taken.vocabulary_size)
            return content
        if taken.kind != "features":
            raise self._wrong_kind("features")
        return check_features(content, expected_width=taken.size, field="features.values")

    def _within_limit(self, document: WholeDocument, inputs: Tokens | Features) -> EncodedDocument:
        too_long = len(inputs) > self._max_steps
        if too_long and not self._truncate:
            raise InvalidInput.of_field(
                _field_of(document.content),
                f"expected at most {self._max_steps} steps, got {len(inputs)}. Set options.truncate to have it cut",
                reason="DOCUMENT_TOO_LONG",
                metadata={"max_document_steps": str(self._max_steps), "got_steps": str(len(inputs))},
            )
        return EncodedDocument(
            document_id=document.document_id,
            task=DocumentTask(model_key=self._model.key, inputs=inputs[: self._max_steps]),
            truncated=document.truncated or too_long,
        )

    def _wrong_kind(self, field: str) -> InvalidInput:
        takes = "feature vectors" if self._model.config.input.kind == "features" else "token ids or text"
        return InvalidInput.of_field(field, f"{self._model.key} takes {takes}", reason="WRONG_INPUT_KIND")


def _field_of(content: str | Tokens | Features) -> str:
    if isinstance(content, str):
        return "text"
    return "tokens.ids" if content.dtype == np.int64 else "features.values"
