"""Whole documents against the model that is to read them: encoded, checked, cut where asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.documents import SCORES, DocumentTask, DocumentWants, Wants
from gatehouse_server.errors import InvalidInput
from gatehouse_server.models.features import check_features
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.text import TextCodec
from gatehouse_server.models.token_ids import check_token_ids
from gatehouse_server.sessions.operations import Features, Tokens
from gatehouse_server.transport.message_size import MAX_RESULT_BYTES
from gatehouse_server.transport.parts import WholeDocument

# Texts shorter than this together are encoded at once: handing them to another thread would take longer.
_AT_ONCE_CHARACTERS = 2048

Spans = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedDocument:
    """A document as the engine takes it. `spans` (T, 2) tells where each token stands in the text, if that is wanted,
    `result_bytes` what the result will take in a message beside activations.
    """

    document_id: str
    task: DocumentTask
    truncated: bool
    spans: Spans | None = None
    result_bytes: int = 0

    @property
    def token_ids(self) -> Tokens | None:
        """The tokens; None where the document consists of features."""
        inputs = self.task.inputs
        return cast(Tokens, inputs) if inputs.dtype == np.int64 else None

    @property
    def most_bytes(self) -> int:
        """The most that the answer takes. Of activations only that is known before they are there."""
        wants = self.task.wants
        if isinstance(wants, DocumentWants) and wants.activations:
            return self.result_bytes + wants.most_activation_bytes
        return self.result_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """The token ids of a text, and where they stand in it."""

    ids: list[int]
    spans: list[tuple[int, int]] | None = None


class ResultForm(Protocol):
    """What results will have."""

    @property
    def wants(self) -> Wants: ...

    def result_bytes(self, steps: int) -> int:
        """The most that the result of a document of so many steps takes in a message, activations not counted."""


class DocumentEncoder:
    """Prepares documents for one model. Safe to use from several threads."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        max_document_steps: int,
        truncate: bool,
        form: ResultForm | None = None,
        max_output_bytes: int = MAX_RESULT_BYTES,
    ) -> None:
        """`form` is what results will have; documents whose results would take more than `max_output_bytes` are
        refused. Without one the whole output is wanted.
        """
        self._model = model
        self._max_steps = max_document_steps
        self._truncate = truncate
        self._form = form
        self._max_output_bytes = max_output_bytes
        self._wants = SCORES if form is None else form.wants
        self._tells_places = isinstance(self._wants, DocumentWants) and self._wants.every_step

    def encode(self, documents: Sequence[WholeDocument]) -> list[EncodedDocument | InvalidInput]:
        """Each document, or why it cannot be taken. Tokenizes all texts in one call."""
        texts = [document.content for document in documents if isinstance(document.content, str)]
        encoded = iter(self._encode_texts(texts))
        outcomes: list[EncodedDocument | InvalidInput] = []
        for document in documents:
            content = document.content
            try:
                inputs: Tokens | Features
                spans = None
                if isinstance(content, str):
                    inputs, spans = self._text_inputs(next(encoded))
                else:
                    inputs = self._checked(content)
                outcomes.append(self._within_limits(document, inputs, spans))
            except InvalidInput as error:
                outcomes.append(error)
        return outcomes

    async def encode_aside(
        self, documents: Sequence[WholeDocument], executor: Executor
    ) -> list[EncodedDocument | InvalidInput]:
        """As `encode`; long texts on a thread of the executor."""
        characters = sum(len(each.content) for each in documents if isinstance(each.content, str))
        if characters <= _AT_ONCE_CHARACTERS:
            return self.encode(documents)
        return await asyncio.get_running_loop().run_in_executor(executor, self.encode, documents)

    def _encode_texts(self, texts: list[str]) -> list[_Encoded | InvalidInput]:
        if not texts:
            return []
        if self._model.text is None:
            return [self._wrong_kind("text") for _ in texts]
        try:
            return list(self._encoded(self._model.text, texts))
        except InvalidInput:  # one of them: find out which
            outcomes: list[_Encoded | InvalidInput] = []
            for text in texts:
                try:
                    outcomes += self._encoded(self._model.text, [text])
                except InvalidInput as error:
                    outcomes.append(error)
            return outcomes

    def _encoded(self, codec: TextCodec, texts: list[str]) -> list[_Encoded]:
        if self._tells_places:
            return [_Encoded(ids=ids, spans=spans) for ids, spans in codec.encode_with_spans(texts)]
        return [_Encoded(ids=ids) for ids in codec.encode_many(texts)]

    def _text_inputs(self, encoded: _Encoded | InvalidInput) -> tuple[Tokens, Spans | None]:
        if isinstance(encoded, InvalidInput):
            raise encoded
        if not encoded.ids:
            raise InvalidInput.of_field("text", "expected at least one token, got none", reason="EMPTY_INPUT")
        spans = None if encoded.spans is None else np.array(encoded.spans, dtype=np.int32)
        return np.array(encoded.ids, dtype=np.int64), spans

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

    def _within_limits(
        self, document: WholeDocument, inputs: Tokens | Features, spans: Spans | None
    ) -> EncodedDocument:
        too_long = len(inputs) > self._max_steps
        if too_long and not self._truncate:
            raise InvalidInput.of_field(
                _field_of(document.content),
                f"expected at most {self._max_steps} steps, got {len(inputs)}. Set options.truncate to have it cut",
                reason="DOCUMENT_TOO_LONG",
                metadata={"max_document_steps": str(self._max_steps), "got_steps": str(len(inputs))},
            )
        if too_long:  # copies: a view would keep all that was cut off
            inputs = inputs[: self._max_steps].copy()
            spans = None if spans is None else spans[: self._max_steps].copy()
        return EncodedDocument(
            document_id=document.document_id,
            task=DocumentTask(model_key=self._model.content_key, inputs=inputs, wants=self._wants),
            truncated=document.truncated or too_long,
            spans=spans,
            result_bytes=self._result_bytes(document, len(inputs)),
        )

    def _result_bytes(self, document: WholeDocument, steps: int) -> int:
        """Raises InvalidInput when there are more than may be."""
        if self._form is None:
            return 0
        size, limit = self._form.result_bytes(steps), self._max_output_bytes
        if size > limit:
            raise InvalidInput.of_field(
                _field_of(document.content),
                f"the result of {steps} steps would take about {size} bytes, and at most {limit} are allowed. Send "
                "fewer steps in one document, or ask for less of each",
                reason="OUTPUTS_TOO_LARGE",
                metadata={"max_output_bytes": str(limit), "got_bytes": str(size)},
            )
        return size

    def _wrong_kind(self, field: str) -> InvalidInput:
        takes = "feature vectors" if self._model.config.input.kind == "features" else "token ids or text"
        return InvalidInput.of_field(field, f"{self._model.key} takes {takes}", reason="WRONG_INPUT_KIND")


def _field_of(content: str | Tokens | Features) -> str:
    if isinstance(content, str):
        return "text"
    return "tokens.ids" if content.dtype == np.int64 else "features.values"
