"""What is said on a stream of documents: requests of one kind, and results of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from gatehouse import decoding, transductions
from gatehouse.results import DocumentResult
from gatehouse.transductions import Transduction
from gatehouse.v1 import offline_pb2

Request = offline_pb2.ClassifyStreamRequest | offline_pb2.TransduceRequest
Response = offline_pb2.ClassifyStreamResponse | offline_pb2.TransduceResponse
Options = offline_pb2.ClassifyOptions | offline_pb2.TransduceOptions
ResultT = TypeVar("ResultT", bound=DocumentResult | Transduction)


@dataclass(frozen=True, slots=True)
class Conversation(Generic[ResultT]):
    """The kind of requests, how results are decoded, and what a document that was never sent gets."""

    request: Callable[..., Request]
    decode: Callable[[Any], ResultT]
    result: Callable[..., ResultT]


READING: Final = Conversation(offline_pb2.ClassifyStreamRequest, decoding.document_result, DocumentResult)
"""What OfflineService.ClassifyStream is about."""

TRANSDUCING: Final = Conversation(offline_pb2.TransduceRequest, transductions.transduction, Transduction)
"""What OfflineService.Transduce is about."""
