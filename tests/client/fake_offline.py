"""The fake server's classifier: the label is in the text."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import grpc
from gatehouse.v1 import offline_pb2, offline_pb2_grpc

from tests.client.fake_status import abort, refusal

LABELS = ("animals", "plants", "stones")
TEXT_LIMIT = 3_000_000


class FakeOffline(offline_pb2_grpc.OfflineServiceServicer):
    """Documents whose first word is a label get that label; `fail` fails, `drain` is refused once, and `silence` is
    never answered.
    """

    def __init__(self, calls: Counter[str], waiting: threading.Semaphore) -> None:
        self.calls = calls
        self.waiting = waiting
        self.documents_seen = 0
        self.largest_part = 0
        self.break_after: int | None = None
        self.drains = 1
        self.calls_to_refuse = 0
        self.transduce_options: offline_pb2.TransduceOptions | None = None
        self.reverse = False
        self.began = threading.Event()
        self.stall = threading.Event()
        self.stall.set()

    def Classify(  # noqa: N802  # the name is the contract's
        self, request: offline_pb2.ClassifyRequest, context: grpc.ServicerContext
    ) -> offline_pb2.ClassifyResponse:
        self.calls["OfflineService.Classify"] += 1
        if self.calls_to_refuse:
            self.calls_to_refuse -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        results = [self._classify(document, document.text, request.options) for document in request.documents]
        return offline_pb2.ClassifyResponse(results=results)

    def ClassifyStream(  # noqa: N802
        self, request_iterator: Iterator[offline_pb2.ClassifyStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[offline_pb2.ClassifyStreamResponse]:
        self.calls["OfflineService.ClassifyStream"] += 1
        options: offline_pb2.ClassifyOptions | None = None
        text = ""
        for request in request_iterator:
            self.began.set()
            if not self.stall.is_set():
                self.waiting.release()
                self.stall.wait(10)
            if options is None:
                options = request.options
                if request.model.removesuffix("@1") != "topics":
                    error = refusal(grpc.StatusCode.NOT_FOUND, "no such model", reason="MODEL_NOT_FOUND")
                    abort(context, error)
            results = []
            for part in request.documents:
                self.largest_part = max(self.largest_part, part.ByteSize())
                text = text + part.text if part.part else part.text
                if not part.more:
                    self.documents_seen += 1
                    if text == "silence":
                        continue
                    results.append(self._classify(part, text, options))
            if self.reverse:
                results.reverse()
            if self.break_after is not None and self.documents_seen >= self.break_after:
                self.break_after = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            if results:
                yield offline_pb2.ClassifyStreamResponse(results=results)

    def Transduce(  # noqa: N802
        self, request_iterator: Iterator[offline_pb2.TransduceRequest], context: grpc.ServicerContext
    ) -> Iterator[offline_pb2.TransduceResponse]:
        self.calls["OfflineService.Transduce"] += 1
        options: offline_pb2.TransduceOptions | None = None
        for request in request_iterator:
            if options is None:
                options = self.transduce_options = request.options
                if request.model != "dates":
                    abort(
                        context,
                        refusal(grpc.StatusCode.INVALID_ARGUMENT, "no transducer", reason="WRONG_MODEL_KIND"),
                    )
            response = offline_pb2.TransduceResponse()
            for document in request.documents:
                self.documents_seen += 1
                if self.break_after is not None and self.documents_seen > self.break_after:
                    self.break_after = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
                self._transduce(response.results.add(), document, options)
            yield response

    def _transduce(
        self,
        result: offline_pb2.TransduceResult,
        document: offline_pb2.Document,
        options: offline_pb2.TransduceOptions,
    ) -> None:
        """The text backwards, then in capitals."""
        result.document_id = document.document_id
        if document.text == "fail":
            error = refusal(
                grpc.StatusCode.INVALID_ARGUMENT, "text: bad", reason="TEXT_NOT_ENCODABLE", field="text"
            )
            result.status.CopyFrom(error.status)
            return
        result.step_count = len(document.text)
        result.truncated = options.truncate
        outputs = [document.text[::-1], document.text.upper()]
        for place, text in enumerate(outputs[: options.alternatives]):
            result.hypotheses.add(
                text=text,
                token_ids=[place, 7],
                log_probability=-0.5 - place,
                score=-0.25 - place,
                ended=not place,
            )

    def _classify(
        self, document: offline_pb2.Document, text: str, options: offline_pb2.ClassifyOptions
    ) -> offline_pb2.DocumentResult:
        result = offline_pb2.DocumentResult(document_id=document.document_id, step_count=len(text))
        first = text.split(" ")[0]
        if first == "drain" and self.drains:
            self.drains -= 1
            result.status.CopyFrom(refusal(grpc.StatusCode.UNAVAILABLE, "draining", reason="DRAINING").status)
        elif first == "fail" or (len(text) > TEXT_LIMIT and not options.truncate):
            error = refusal(
                grpc.StatusCode.INVALID_ARGUMENT, "text: bad", reason="TEXT_NOT_ENCODABLE", field="text"
            )
            result.status.CopyFrom(error.status)
        else:
            result.truncated = len(text) > TEXT_LIMIT
            label = first if first in LABELS else LABELS[len(text) % 3]
            others = [name for name in LABELS if name != label]
            ranked = [(label, 0.75), (others[0], 0.2), (others[1], 0.05)]
            for name, score in ranked[: options.k if options.HasField("k") else None]:
                result.scores.add(label=name, score=score)
        return result
