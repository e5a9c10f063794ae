"""How answers are put into words: the port between a flow of documents and what a call asks of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from gatehouse.v1 import offline_pb2

from gatehouse_server.transport.documents import EncodedDocument

Result = offline_pb2.DocumentResult | offline_pb2.TransduceResult
ResultT = TypeVar("ResultT", bound=Result)
AnswerT = TypeVar("AnswerT")


class ResultTeller(ABC, Generic[ResultT, AnswerT]):
    """Puts what the engine answers, values of `answer_type`, into results of one call."""

    answer_type: type[AnswerT]

    @property
    @abstractmethod
    def least_bytes(self) -> int:
        """About what a result takes that tells of a failure."""

    @abstractmethod
    def answer_bytes(self, answer: AnswerT) -> int:
        """The most that the result of an answer takes in a message."""

    @abstractmethod
    def fill(self, result: ResultT, document: EncodedDocument, answer: AnswerT) -> None:
        """All of a result but its steps."""

    def fill_steps(self, result: ResultT, document: EncodedDocument, answer: AnswerT, part: slice) -> None:
        """Some of the steps, in their order, where results have steps."""

    def step_count(self, answer: AnswerT) -> int:
        """How many steps of an answer are to be told, one by one."""
        return 0
