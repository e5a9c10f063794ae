"""A session's books on the client: what the next write must say, what is known of the last. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gatehouse import decoding, failures, requests
from gatehouse.errors import GatehouseError, UnansweredWriteError
from gatehouse.history import History
from gatehouse.results import SessionState, WriteResult
from gatehouse.resumptions import Resumptions
from gatehouse.v1 import online_pb2, session_pb2

_DURABLE = (session_pb2.DURABILITY_ASYNC, session_pb2.DURABILITY_SYNC)


class Ledger:
    """Incarnation, revision and position of one session, its accepted writes that may still get lost, and its
    unanswered write if there is one.

    A write whose fate is unknown keeps the next one back: applied or not, the next would land on another tape
    than meant. It can be repeated, since the server knows it by its revision.
    """

    _state: SessionState
    _history: History

    def __init__(self, session: session_pb2.Session) -> None:
        self.session_id = session.session_id
        self.model = session.model
        self.max_write_steps = session.max_write_steps
        self.max_tape_steps = session.max_tape_steps
        self.outlives_server = session.durability in _DURABLE
        self.resumptions = Resumptions()
        self.unanswered: online_pb2.SessionWrite | None = None
        self._sent = False
        self._begin(decoding.session_state(session.state))

    @property
    def state(self) -> SessionState:
        """Where the session stood at the last answer."""
        return self._state

    @property
    def history(self) -> History:
        """The accepted writes that may have to be sent again."""
        return self._history

    def draft(
        self,
        *,
        at: int | None,
        text: str | None,
        tokens: Sequence[int] | None,
        features: requests.Features | None,
        outputs: online_pb2.OutputOptions | None,
        empty: bool = False,
    ) -> online_pb2.SessionWrite:
        """The next write, which counts as unanswered from now on.

        `empty` means that the write moves and puts nothing; otherwise exactly one kind of input must be
        given. UnansweredWriteError while an earlier write has no answer.
        """
        given = sum(entry is not None for entry in (text, tokens, features))
        if given != (0 if empty else 1):
            raise TypeError("give exactly one of text, tokens and features")
        if self.unanswered is not None:
            raise UnansweredWriteError(
                f"the write of revision {self.unanswered.revision} to session {self.session_id} has no "
                "answer yet; repeat() sends it again, refresh() looks where the session stands"
            )
        state = self._state
        # Filled in place: with submessages as arguments it takes twice as long.
        write = online_pb2.SessionWrite()
        write.session_id = self.session_id
        write.incarnation = state.incarnation
        write.revision = state.revision + 1
        write.at = state.position if at is None else at
        if text is not None:
            write.text = text
        elif tokens is not None:
            write.tokens.SetInParent()  # even without any token it is tokens that are put
            write.tokens.ids.extend(tokens)
        elif features is not None:
            write.features.CopyFrom(requests.feature_sequence(features))
        if outputs is not None:
            write.outputs.CopyFrom(outputs)
        self.unanswered = write
        self._sent = False
        return write

    def hand_out(self) -> tuple[online_pb2.SessionWrite, bool]:
        """The unanswered write, to be sent now, and whether it was sent before. RuntimeError when there is none."""
        if self.unanswered is None:
            raise RuntimeError(f"session {self.session_id} has no unanswered write to repeat")
        sent, self._sent = self._sent, True
        return self.unanswered, sent

    def accept(self, result: online_pb2.WriteResult) -> WriteResult:
        """Takes the answer to the unanswered write."""
        assert self.unanswered is not None, "nothing was asked"
        answer = decoding.write_result(result)
        self._history.add(self.unanswered, position=answer.state.position)
        self._note_durable(answer.state)
        self._state = answer.state
        self.unanswered = None
        return answer

    def relive(self, state: SessionState) -> None:
        """Takes the answer to an earlier write that was sent again. When it was the last one, the life of the
        session which answered has all of it, and is the one to go on with.
        """
        self._note_durable(state)
        if state.revision == self._state.revision:
            self._state = state

    def refuse(self, error: GatehouseError, *, doubted: bool) -> None:
        """Takes the failure of the unanswered write, which stays unanswered when it may have been applied: by the
        attempt that failed, or by an earlier one when that was `doubted`.
        """
        if not failures.leaves_doubt(error, doubted=doubted):
            self.unanswered = None

    def withdraw(self) -> None:
        """Takes the unanswered write back, of which nothing was sent."""
        self.unanswered = None

    def adopt(self, session: session_pb2.Session) -> SessionState:
        """Takes the server's word for where the session stands; what was unanswered is forgotten."""
        before, now = self._state, decoding.session_state(session.state)
        self.unanswered = None
        if (before.incarnation, before.revision, before.position) == (
            now.incarnation,
            now.revision,
            now.position,
        ):
            self._state = now
        else:
            self._begin(now)
        return now

    def count(self, *, interruptions: int = 0, resumed: int = 0, replayed_writes: int = 0) -> None:
        """Adds to `resumptions`."""
        so_far = self.resumptions
        self.resumptions = replace(
            so_far,
            interruptions=so_far.interruptions + interruptions,
            resumed=so_far.resumed + resumed,
            replayed_writes=so_far.replayed_writes + replayed_writes,
        )

    def _begin(self, state: SessionState) -> None:
        self._state = state
        self._history = History(
            revision=state.revision, position=state.position, keeps_many=self.outlives_server
        )
        self._note_durable(state)

    def _note_durable(self, state: SessionState) -> None:
        # What a repeated write answers may know of a durable revision beyond it, which may be another writer's.
        self._history.note_durable(min(state.durable_revision, state.revision))
