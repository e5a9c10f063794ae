"""How sessions come to be: in the initial state, for a suggestion, or as what another session was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from gatehouse_server.engine.observer import Happening, Observer
from gatehouse_server.errors import Overloaded, SessionExists
from gatehouse_server.sessions.hosted_model import HostedModel
from gatehouse_server.sessions.hosting import Hosts
from gatehouse_server.sessions.identifiers import Identifiers
from gatehouse_server.sessions.keeper import Keeper
from gatehouse_server.sessions.limits import SessionLimits
from gatehouse_server.sessions.lost import LostSessions
from gatehouse_server.sessions.operations import CreateSession
from gatehouse_server.sessions.reception import Reception
from gatehouse_server.sessions.record import Head, encode_head, pack
from gatehouse_server.sessions.residents import Residents
from gatehouse_server.sessions.results import SessionView
from gatehouse_server.sessions.session import INITIAL_STATE, Session
from gatehouse_server.sessions.steps import Running
from gatehouse_server.sessions.stored import Stored
from gatehouse_server.sessions.views import state_of_head, view
from gatehouse_server.stores.port import Summary


class Maker:
    """Used by the engine thread."""

    def __init__(
        self,
        *,
        hosts: Hosts,
        residents: Residents,
        keeper: Keeper,
        lost: LostSessions,
        reception: Reception,
        identifiers: Identifiers,
        new_incarnation: Callable[[], int],
        limits: SessionLimits,
        observer: Observer,
    ) -> None:
        self._hosts = hosts
        self._residents = residents
        self._keeper = keeper
        self._lost = lost
        self._reception = reception
        self._identifiers = identifiers
        self._new_incarnation = new_incarnation
        self._limits = limits
        self._observer = observer

    def create(self, operation: CreateSession, session_id: str) -> Running[SessionView]:
        """A session in the initial state."""
        model = self._hosts.get(operation.model)
        made = yield from self.take_in(
            _initial(model), {}, session_id, operation.request_id, model, asked_model=operation.model
        )
        self._observer.happened(Happening.SESSION_CREATED)
        return made

    def make_for_suggestion(self, model: HostedModel, session_id: str) -> Running[Session]:
        """A session in the initial state that the store hears of later: its text can make it again."""
        self._check_place()
        head = replace(
            _initial(model), session_id=session_id, incarnation=self._new_incarnation(), request_id=None
        )
        self._residents.keep(
            head, pack(encode_head(head), {}), stored=Stored() if self._keeper.keeps else None
        )
        self._lost.forget(session_id)
        self._observer.happened(Happening.SESSION_REBUILT)
        if self._keeper.keeps:
            self._keeper.note(session_id)
        return (yield from self._reception.present(session_id))

    def take_in(
        self,
        head: Head,
        parts: Mapping[str, bytes],
        session_id: str,
        request_id: str | None,
        model: HostedModel,
        *,
        asked_model: str | None = None,
    ) -> Running[SessionView]:
        """Takes in a new session on a model; a repeated request is answered with the one that it made.

        `asked_model` is the name by which the model was asked for, if not with its version.
        """
        with self._hosts.held(model):
            return (yield from self._take_in(head, parts, session_id, request_id, asked_model or model.key))

    def _take_in(
        self,
        head: Head,
        parts: Mapping[str, bytes],
        session_id: str,
        request_id: str | None,
        asked_model: str,
    ) -> Running[SessionView]:
        if session_id in self._residents:
            return (yield from self._made_before(session_id, request_id, asked_model))
        if (
            self._lost.find(session_id) is not None
            and request_id is not None
            and session_id == self._identifiers.new(None, request_id)
        ):
            there = (yield from self._keeper.look(session_id)) if self._keeper.shared else None
            if isinstance(there, Summary):  # it goes on in another server
                return (yield from self._made_before(session_id, request_id, asked_model))
            raise self._reception.lost(
                session_id, there
            )  # the request is an old one: its session came and went
        self._check_place()
        head = replace(
            head,
            session_id=session_id,
            incarnation=self._new_incarnation(),
            request_id=request_id,
            refused=False,
        )
        stored = None
        if self._keeper.keeps:
            stood_there = yield from self._keeper.create(head, parts)
            if isinstance(stood_there, Summary):
                return (yield from self._made_before(session_id, request_id, asked_model))
            stored = stood_there
        if session_id not in self._residents:  # or it was used already, while its creation was being stored
            self._residents.keep(head, pack(encode_head(head), parts), stored=stored)
        self._lost.forget(session_id)
        state = state_of_head(
            head,
            durable_revision=0 if stored is None else stored.revision,
            expires_in_seconds=self._limits.idle_seconds,
        )
        return view(session_id, head.model, state, self._limits, self._keeper.durability)

    def _made_before(self, session_id: str, request_id: str | None, asked_model: str) -> Running[SessionView]:
        """Looked at where it lies: waiting for a slot of its own, a source might hold the one that comes free."""
        if session_id not in self._residents:
            yield from self._reception.fetch(session_id)
        made_by, model = self._residents.origin(session_id)
        if request_id is None or made_by != request_id:
            raise SessionExists(
                f"there is a session {session_id} already; use it, or choose another identifier"
            )
        if asked_model not in (model, model.partition("@")[0]):
            raise SessionExists(
                f"a session on {model} was made under the request_id {request_id!r}, and this call wants one on "
                f"{asked_model}; use a request_id of its own"
            )
        return self._reception.view_in_memory(session_id)

    def _check_place(self) -> None:
        known = max(len(self._residents), self._keeper.known_sessions)
        if known >= self._limits.max_sessions:
            self._observer.happened(Happening.REFUSED_SESSIONS_FULL)
            due = self._residents.next_expiry_seconds()
            raise Overloaded(
                f"the server knows {known} sessions, as many as it may",
                reason="SESSIONS_FULL",
                retry_after_seconds=60.0 if due is None else min(60.0, max(1.0, due)),
            )


def _initial(model: HostedModel) -> Head:
    return Head(
        session_id="",
        model=model.key,
        fingerprint=model.fingerprint,
        incarnation=0,
        revision=0,
        position=0,
        begin=0,
        state_number=INITIAL_STATE,
        next_number=INITIAL_STATE + 1,
        writes=(),
        checkpoints=(),
        refused=False,
        request_id=None,
    )
