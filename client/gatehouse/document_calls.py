"""The calls that read whole documents (the twin of `gatehouse.aio.document_calls`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gatehouse import calls, decoding, documents, requests
from gatehouse.classification import ClassificationStream
from gatehouse.conversation import READING, TRANSDUCING
from gatehouse.documents import Document
from gatehouse.flight import Flight
from gatehouse.patience import allowed_seconds
from gatehouse.results import DocumentResult
from gatehouse.transductions import Transduction
from gatehouse.v1 import offline_pb2

if TYPE_CHECKING:
    from gatehouse.v1 import offline_pb2_grpc


class DocumentCalls:
    """Documents in, results out as they finish. Part of `Client`.

    A document that fails has its `error` in its result, and the others go on. Memory stays bounded: at most
    `max_in_flight` documents are between the iterable and the loop over the results, which also bounds the wait for a
    slow one `in_order`. The iterable is read in another thread. When the connection
    drops, what has no result is sent again.

    `truncate` cuts documents at the server's limit instead of refusing them. `timeout_seconds` is the longest wait for
    the next result while documents are under way (for the first one at most the client's own timeout when the server
    cannot be reached); then UnavailableError or DeadlineExceededError is raised. DuplicateDocumentError when two
    documents in flight have the same id; InvalidInputError when the model cannot do what is asked.
    """

    _offline: offline_pb2_grpc.OfflineServiceStub
    _timeout_seconds: float

    def classify(
        self,
        documents: Iterable[Document | tuple[str, str]],
        *,
        model: str,
        k: int | None = None,
        every_step: bool = False,
        vector: bool = False,
        hidden: bool = False,
        activations: bool = False,
        truncate: bool = False,
        in_order: bool = False,
        max_in_flight: int = 512,
        timeout_seconds: float = 60.0,
    ) -> Iterator[DocumentResult]:
        """Classifies any number of documents, (id, text) pairs or `Document`s; results come as they finish.

        Also what regressions say: `vector`. `k` limits the labels in a result. With `every_step` there is an entry for
        each step in `steps` instead, of models that do not pool their steps. `vector` asks for the whole output,
        `hidden` for what the recurrent layers hand on, `activations` for what goes on inside.
        """
        options = requests.document_options(
            k=k,
            truncate=truncate,
            every_step=every_step,
            vector=vector,
            hidden=hidden,
            activations=activations,
        )
        return self._read(documents, model, options, in_order, max_in_flight, timeout_seconds)

    def tag(
        self,
        documents: Iterable[Document | tuple[str, str]],
        *,
        model: str,
        k: int | None = 1,
        truncate: bool = False,
        in_order: bool = False,
        max_in_flight: int = 512,
        timeout_seconds: float = 60.0,
    ) -> Iterator[DocumentResult]:
        """Labels each step of documents, by a classifier that does not pool its steps: `steps` with the `k` best labels
        (None: all), and where each token stands in its text.
        """
        options = requests.document_options(k=k, truncate=truncate, every_step=True)
        return self._read(documents, model, options, in_order, max_in_flight, timeout_seconds)

    def encode(
        self,
        documents: Iterable[Document | tuple[str, str]],
        *,
        model: str,
        every_step: bool = False,
        truncate: bool = False,
        in_order: bool = False,
        max_in_flight: int = 512,
        timeout_seconds: float = 60.0,
    ) -> Iterator[DocumentResult]:
        """Vectors of documents: what the recurrent layers of any model hand on, in `hidden`, pooled as the model pools
        it; or with `every_step` in each of `steps`, of models that do not pool their steps.
        """
        options = requests.document_options(hidden=True, truncate=truncate, every_step=every_step)
        return self._read(documents, model, options, in_order, max_in_flight, timeout_seconds)

    def score(
        self,
        documents: Iterable[Document | tuple[str, str]],
        *,
        model: str,
        every_step: bool = False,
        truncate: bool = False,
        in_order: bool = False,
        max_in_flight: int = 512,
        timeout_seconds: float = 60.0,
    ) -> Iterator[DocumentResult]:
        """How likely documents are under a language model: `log_likelihood`, the sum of the natural log-probabilities
        of all tokens, each given those before it; with `every_step` also of each of `steps`. The end of a document is
        not counted, unless its tokens have one.
        """
        options = requests.document_options(log_likelihood=True, truncate=truncate, every_step=every_step)
        return self._read(documents, model, options, in_order, max_in_flight, timeout_seconds)

    def transduce(
        self,
        documents: Iterable[Document | tuple[str, str]],
        *,
        model: str,
        beam_size: int = 1,
        length_penalty: float = 0.0,
        alternatives: int = 1,
        max_output_steps: int | None = None,
        truncate: bool = False,
        in_order: bool = False,
        max_in_flight: int = 512,
        timeout_seconds: float = 60.0,
    ) -> Iterator[Transduction]:
        """Makes other sequences of documents, by a model that has an encoder and a decoder.

        A beam of one takes the likeliest token each time; a larger one follows so many hypotheses and answers the best
        `alternatives`, by log-probability divided by ((5 + length) / 6) ** `length_penalty` (Wu et al. 2016).
        `max_output_steps` bounds the tokens of an output, the one that ends it included; None: the server's limit.
        """
        options = requests.transduce_options(
            beam_size=beam_size,
            length_penalty=length_penalty,
            alternatives=alternatives,
            max_output_steps=max_output_steps,
            truncate=truncate,
        )
        flight = Flight(
            TRANSDUCING, model=model, options=options, in_order=in_order, max_in_flight=max_in_flight
        )
        stream = ClassificationStream(
            self._offline.Transduce,
            flight,
            connect_seconds=self._timeout_seconds,
            silence_seconds=allowed_seconds(timeout_seconds),
        )
        return stream.results(documents)

    def classify_batch(
        self,
        batch: Iterable[Document | tuple[str, str]],
        *,
        model: str,
        k: int | None = None,
        every_step: bool = False,
        vector: bool = False,
        hidden: bool = False,
        log_likelihood: bool = False,
        activations: bool = False,
        truncate: bool = False,
        timeout_seconds: float | None = None,
    ) -> tuple[DocumentResult, ...]:
        """Reads a few documents in one call, which must fit into one message; results in the same order.

        What a result has is asked for as in `classify` and `score`. InvalidInputError when a document cannot be put on
        the wire; other documents that fail have their `error`.
        """
        request = offline_pb2.ClassifyRequest(
            model=model,
            documents=[documents.whole(documents.of(entry)) for entry in batch],
            options=requests.document_options(
                k=k,
                truncate=truncate,
                every_step=every_step,
                vector=vector,
                hidden=hidden,
                log_likelihood=log_likelihood,
                activations=activations,
            ),
        )
        seconds = self._timeout_seconds if timeout_seconds is None else allowed_seconds(timeout_seconds)
        response = calls.call(self._offline.Classify, request, seconds)
        return tuple(decoding.document_result(result) for result in response.results)

    def _read(
        self,
        source: Iterable[Document | tuple[str, str]],
        model: str,
        options: offline_pb2.ClassifyOptions,
        in_order: bool,
        max_in_flight: int,
        timeout_seconds: float,
    ) -> Iterator[DocumentResult]:
        flight = Flight(READING, model=model, options=options, in_order=in_order, max_in_flight=max_in_flight)
        stream = ClassificationStream(
            self._offline.ClassifyStream,
            flight,
            connect_seconds=self._timeout_seconds,
            silence_seconds=allowed_seconds(timeout_seconds),
        )
        return stream.results(source)
