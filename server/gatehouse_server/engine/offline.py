"""The offline lane: batches of whole documents, computed in slices between the ticks of the online models."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from gatehouse_server.engine.bucketing import OfflineBatching, WaitingDocuments
from gatehouse_server.engine.documents import DocumentTask
from gatehouse_server.engine.failure_log import FailureLog
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.observer import Happening, Observer, OfflineBatch
from gatehouse_server.engine.offline_backend import BatchAnswers, OfflineBackend
from gatehouse_server.engine.offline_models import OfflineModel, batching_for, refusal, torch_backend
from gatehouse_server.engine.running_batch import Kind, RunningBatch
from gatehouse_server.engine.ticket import Ticket
from gatehouse_server.errors import Cancelled, DeadlineExpired, Draining, GatehouseError, ModelNotFound
from gatehouse_server.models.model import key_of_content

DEFAULT_SLICE_SECONDS = 0.005

_VERY_LONG_SHARE = 8  # this part of the most steps of a batch


class OfflineLane:
    """Takes DocumentTasks and answers each with DocumentScores, with the Transduction of a transducer, or with an
    exception for that document alone.

    A batch is of the model whose document has waited longest; a slice of it ends when `slice_seconds` are over. One
    is computed at a time; beside one that takes long, a second one, slice by slice in turn, so that a document of a
    hundred thousand steps does not hold up short ones. Very long documents are batched by themselves, and two batches
    of them never run beside each other: the second place is for those that are soon done.

    A batch that fails is tried again document by document, so that only those are answered with the failure that fail
    by themselves.
    """

    def __init__(
        self,
        networks: Mapping[str, OfflineModel],
        batching: OfflineBatching,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
        backend_of: Callable[[OfflineModel], OfflineBackend[Any]] = torch_backend,
        slice_seconds: Callable[[], float] = lambda: DEFAULT_SLICE_SECONDS,
    ) -> None:
        """`networks` by the keys of their models' contents; one that is added later is served from then on, and
        one that is taken away is let go.
        """
        self._networks = networks
        self._batching = batching
        self._very_long_steps = batching.batch_tokens // _VERY_LONG_SHARE
        self._observer = observer
        self._clock = clock
        self._backend_of = backend_of
        self._slice_seconds = slice_seconds
        self._backends: dict[tuple[str, int], tuple[OfflineModel, OfflineBackend[Any]]] = {}
        self._waiting: dict[Kind, WaitingDocuments[Ticket]] = {}
        self._suspects: deque[Ticket] = deque()
        self._running: deque[RunningBatch] = deque()
        self._failures: dict[str, FailureLog] = {}
        self._arrivals = 0

    @property
    def unfinished_documents(self) -> int:
        """Documents that were accepted and not yet answered."""
        running = sum(len(batch.tickets) for batch in self._running)
        return running + len(self._suspects) + sum(len(waiting) for waiting in self._waiting.values())

    def accept(self, tickets: Sequence[Ticket], answers: Answers) -> None:
        """Queues documents; one for a model that is not there, or gives no scores, is answered at once."""
        for ticket in tickets:
            task: DocumentTask = ticket.operation
            network = self._networks.get(task.model_key)
            if network is None:
                answers.append((ticket, _not_served(task.model_key)))
            elif (refused := refusal(key_of_content(task.model_key), network, task.wants)) is not None:
                answers.append((ticket, refused))
            else:
                self._arrivals += 1
                self._waiting_of(self._kind_of(task), network).add(
                    ticket,
                    arrival=self._arrivals,
                    steps=len(task.inputs),
                    deadline_seconds=ticket.deadline_seconds,
                )

    def has_work(self) -> bool:
        """Whether a batch is running or a document waits."""
        return bool(self._running or self._suspects) or any(map(len, self._waiting.values()))

    def run(self, answers: Answers) -> None:
        """Computes one slice; a batch that it finishes is answered."""
        began = self._clock()
        self._drop_expired(began, answers)
        self._leave_unwanted(answers)
        if not self._running or (len(self._running) == 1 and self._running[0].is_long):
            formed = self._form(began, answers)
            if formed is not None:
                self._running.append(formed)  # last: the long one has a slice before each that is formed
        if self._running:
            batch = self._running.popleft()
            if self._advance(batch, answers):
                self._running.append(batch)

    def wakes_in_seconds(self) -> float | None:
        """Never: expired documents are dropped by `run`."""
        return None

    def housekeep(self, answers: Answers) -> None:
        """Lets go of what computed for models that are no longer served."""
        if any(key not in self._networks for key, _ in self._backends):
            self._backends = {key: entry for key, entry in self._backends.items() if key[0] in self._networks}
        if any(key not in self._networks for key in self._failures):
            self._failures = {key: log for key, log in self._failures.items() if key in self._networks}

    def abandon(self, answers: Answers) -> None:
        """Answers everything unfinished with Draining."""
        unfinished = list(self._suspects)
        self._suspects.clear()
        while self._running:
            batch = self._running.popleft()
            batch.computation.close()
            unfinished.extend(batch.tickets)
        for waiting in self._waiting.values():
            unfinished.extend(waiting.take_all())
        for ticket in unfinished:
            answers.append((ticket, Draining("the server stopped before the document was computed")))
        if unfinished:
            self._observer.happened(Happening.DROPPED_DRAINING, len(unfinished))

    def _kind_of(self, task: DocumentTask) -> Kind:
        return Kind(task.model_key, task.wants, len(task.inputs) > self._very_long_steps)

    def _waiting_of(self, kind: Kind, network: OfflineModel) -> WaitingDocuments[Ticket]:
        waiting = self._waiting.get(kind)
        if waiting is None:
            batching = batching_for(self._batching, network, kind.wants)
            waiting = self._waiting[kind] = WaitingDocuments(batching)
        return waiting

    def _drop_expired(self, now_seconds: float, answers: Answers) -> None:
        expired: list[Ticket] = []
        for waiting in self._waiting.values():
            expired.extend(waiting.take_expired(now_seconds))
        for ticket in list(self._suspects):
            if ticket.deadline_seconds is not None and ticket.deadline_seconds <= now_seconds:
                self._suspects.remove(ticket)
                expired.append(ticket)
        for ticket in expired:
            answers.append((ticket, DeadlineExpired("the deadline passed while the document was waiting")))
        if expired:
            self._observer.happened(Happening.DROPPED_DEADLINE, len(expired))

    def _leave_unwanted(self, answers: Answers) -> None:
        """Ends running batches that nobody waits for any more."""
        for batch in list(self._running):
            if not any(ticket.wanted() for ticket in batch.tickets):
                batch.computation.close()
                self._running.remove(batch)
                answers.extend((ticket, Cancelled()) for ticket in batch.tickets)

    def _form(self, began_seconds: float, answers: Answers) -> RunningBatch | None:
        tickets = []
        for ticket in self._take_next():  # asked once each: a caller may leave at any moment
            if ticket.wanted():
                tickets.append(ticket)
            else:
                answers.append((ticket, Cancelled()))
        if not tickets:
            return None
        kind = self._kind_of(tickets[0].operation)
        place = 1 - self._running[0].place if self._running else 0
        computation = self._score(kind, tickets, place)
        return RunningBatch(
            kind=kind,
            place=place,
            tickets=tickets,
            computation=computation,
            began_seconds=began_seconds,
            form_seconds=self._clock() - began_seconds,
        )

    def _take_next(self) -> list[Ticket]:
        """The documents whose turn it is. Those that are very long wait while others like them are computed."""
        one_runs = any(batch.kind.very_long for batch in self._running)
        for index, suspect in enumerate(self._suspects):
            if not (one_runs and self._kind_of(suspect.operation).very_long):
                del self._suspects[index]
                return [suspect]
        # What is wanted may be different each time, so kinds of which nothing waits are forgotten.
        self._waiting = {kind: waiting for kind, waiting in self._waiting.items() if len(waiting)}
        oldest = [
            (arrival, waiting)
            for kind, waiting in self._waiting.items()
            if (arrival := waiting.oldest_arrival) is not None and not (one_runs and kind.very_long)
        ]
        return min(oldest, key=lambda entry: entry[0])[1].take_batch() if oldest else []

    def _score(self, kind: Kind, tickets: list[Ticket], place: int) -> Generator[None, None, BatchAnswers]:
        """The batch's computation. What goes wrong, in making the backend too, surfaces when it is driven.

        A backend has scratch memory for one batch, so batches that run beside each other have one each, by place.
        """
        network = self._networks.get(kind.model_key)
        if network is None:
            raise _not_served(kind.model_key)
        known = self._backends.get((kind.model_key, place))
        if known is None or known[0] is not network:
            known = self._backends[kind.model_key, place] = (network, self._backend_of(network))
        return (yield from known[1].score([ticket.operation.inputs for ticket in tickets], kind.wants))

    def _advance(self, batch: RunningBatch, answers: Answers) -> bool:
        """Computes a slice; whether there is more to do."""
        clock = self._clock
        began = now = clock()
        end = began + self._slice_seconds()
        try:
            while now < end:
                next(batch.computation)
                now = clock()
        except StopIteration as finished:
            batch.compute_seconds += clock() - began
            result = finished.value
        except Exception as failure:
            self._fail(batch, failure, answers)
            return False
        else:
            batch.compute_seconds += now - began
            return True
        try:
            self._answer(batch, result, answers)
        except Exception as failure:
            self._fail(batch, failure, answers)
        return False

    def _answer(self, batch: RunningBatch, result: BatchAnswers, answers: Answers) -> None:
        failures = self._failures.get(batch.kind[0])
        if failures is not None:
            failures.worked()
        queue_seconds = [batch.began_seconds - ticket.received_seconds for ticket in batch.tickets]
        answered = [
            result.answer(
                row,
                step_count=len(ticket.operation.inputs),
                queue_seconds=queue_seconds[row],
                compute_seconds=batch.compute_seconds,
            )
            for row, ticket in enumerate(batch.tickets)
        ]
        answers.extend(zip(batch.tickets, answered, strict=True))
        self._observer.offline_batch(
            OfflineBatch(
                model=key_of_content(batch.kind[0]),
                documents=len(batch.tickets),
                steps=sum(len(ticket.operation.inputs) for ticket in batch.tickets),
                computed_steps=result.computed_steps,
                form_seconds=batch.form_seconds,
                compute_seconds=batch.compute_seconds,
                queue_seconds=queue_seconds,
            )
        )

    def _fail(self, batch: RunningBatch, failure: Exception, answers: Answers) -> None:
        if not isinstance(failure, GatehouseError):
            model_key = batch.kind[0]
            failures = self._failures.get(model_key)
            if failures is None:
                failures = FailureLog("documents", key_of_content(model_key), self._clock)
                self._failures[model_key] = failures
            failures.failed(failure, operations=len(batch.tickets))
        if len(batch.tickets) == 1:
            answers.append((batch.tickets[0], failure))
        else:
            self._suspects.extend(batch.tickets)


def _not_served(model_key: str) -> ModelNotFound:
    key = key_of_content(model_key)
    return ModelNotFound(f"no model {key} is served", metadata={"model": key})
