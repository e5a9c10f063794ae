"""A session's books on the client: what the next write must say, what is known of the last. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from gatehouse import decoding, failures, requests
from gatehouse.errors import GatehouseError, UnansweredWriteError
from gatehouse.results import SessionState, WriteResult
from gatehouse.v1 import online_pb2, session_pb2


class Ledger:
    """Incarnation, revision and position of one session, and its unanswered write if there is one.

    A write whose fate is unknown keeps the next one back: applied or not, the next would land on another tape
    than meant. It can be repeated, since the server knows it by its revision.
    """

    def __init__(self, session: session_pb2.Session) -> None:
        self.session_id = session.session_id
        self.model = session.model
        self.max_write_steps = session.max_write_steps
        self.max_tape_steps = session.max_tape_steps
        self.unanswered: online_pb2.SessionWrite | None = None
        self._state = decoding.session_state(session.state)

    @property
    def state(self) -> SessionState:
        """Where the session stood at the last answer."""
        return self._state

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
        write = online_pb2.SessionWrite(
            session_id=self.session_id,
            incarnation=self._state.incarnation,
            revision=self._state.revision + 1,
            at=self._state.position if at is None else at,
            tokens=None if tokens is None else online_pb2.TokenSequence(ids=tokens),
            features=None if features is None else requests.feature_sequence(features),
            outputs=outputs,
        )
        if text is not None:
            write.text = text
        self.unanswered = write
        return write

    def accept(self, result: online_pb2.WriteResult) -> WriteResult:
        """Takes the answer to the unanswered write."""
        answer = decoding.write_result(result)
        self._state = answer.state
        self.unanswered = None
        return answer

    def refuse(self, error: GatehouseError) -> None:
        """Takes the failure of the unanswered write: it stays unanswered when it may have been applied."""
        if not failures.leaves_doubt(error):
            self.unanswered = None

    def adopt(self, session: session_pb2.Session) -> SessionState:
        """Takes the server's word for where the session stands; what was unanswered is forgotten."""
        self._state = decoding.session_state(session.state)
        self.unanswered = None
        return self._state
