"""What a client can ask of a session: plain objects, checked for form but not yet against a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gatehouse_server.engine.value import value
from gatehouse_server.errors import GatehouseError
from gatehouse_server.models.model import LoadedModel

if TYPE_CHECKING:
    from gatehouse_server.sessions.hosted_model import HostedModel

Tokens = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32]


class OutputRequest(NamedTuple):
    """What a write asks back; a tuple, since it is what models look up how they answer it.

    `k`: how many of the best entries, absent for none. `every_step`: at each step instead of the last.
    `scores`: log-probability of each consumed token. `vector`: the whole output. `hidden`: the top layer's, before the
    output layer. `activations`: what goes on inside at each step.
    """

    k: int | None = None
    every_step: bool = False
    scores: bool = False
    vector: bool = False
    hidden: bool = False
    activations: bool = False


@value
class Write:
    """Puts steps at a position.

    `inputs` is an int64 array (T,) of token ids, a text, a float32 array (T, N) of features, or absent for a
    write that only moves. `at` is absent for the end of the tape. `revision` needs `incarnation` and `at`.
    """

    session_id: str
    incarnation: int | None = None
    revision: int | None = None
    at: int | None = None
    inputs: Tokens | Features | str | None = None
    outputs: OutputRequest = OutputRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedWrite:
    """A write of a stream that is malformed: answered with `error`, in its session's order.

    It goes through the session like any other, so that writes sent after it under later revisions are refused too.
    """

    session_id: str
    revision: int | None
    error: GatehouseError
    incarnation: int | None = None


@value
class Suggest:
    """Asks for the `k` likeliest words after `text`. Makes the session when there is none of this `session_id`."""

    session_id: str | None
    model: str | None
    text: str
    k: int
    exclude: tuple[str, ...] = ()
    extra_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSession:
    """Starts a session of `model`; `request_id` makes a repeated call answer with the same session."""

    model: str
    session_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkSession:
    """Starts a session with the tape and the state that another one has at position `at` (absent: at its end).

    Takes its turn among the source's operations. `request_id` as in CreateSession.
    """

    session_id: str
    new_session_id: str | None = None
    at: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSession:
    """Asks for a session as bytes that another server can continue from. Takes its turn; changes nothing."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSession:
    """Starts a session from what ExportSession gave. `request_id` as in CreateSession."""

    blob: bytes
    session_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSequences:
    """Begins `count` sequences that nobody but their opener knows, each with the same beginning.

    They go on from a session, or begin on `model`, in the state that the vector `initial` (1, I) sets if it is given,
    and then consume `prompt`, as the inputs of a Write. At most `max_steps` steps will follow. With `advance` the
    session is to be moved along by a write at the end, under the revision that is given, if one is; sequences for a
    write that was accepted before begin where it began.
    """

    session_id: str | None
    model: str | None
    prompt: Tokens | Features | str | None
    initial: Features | None
    stop_ids: tuple[int, ...]
    count: int
    max_steps: int
    advance: bool = False
    incarnation: int | None = None
    revision: int | None = None


@value
class StepSequence:
    """Has a sequence consume steps: token ids (T,) or features (T, N)."""

    sequence_id: str
    inputs: Tokens | Features


@value
class CloseSequence:
    """Ends a sequence. Takes its turn behind a step under way."""

    sequence_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSession:
    """Asks where a session stands."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSession:
    """Ends a session. A repeat under the same `request_id` is answered as the first call was."""

    session_id: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictSession:
    """Ends a session by the operator's will; its user is told so."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListResidents:
    """Asks for the identifiers of all sessions in memory, in no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeResidents:
    """Asks for a line on each of these sessions; those that are not in memory (any more) are left out."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectSession:
    """Asks for a line on one session, wherever it is. Does not wake it."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListStored:
    """Asks for a line on each of the next `limit` sessions of the store, by identifier, beyond `after`."""

    after: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeModel:
    """Has new sessions run on a model, those of its key go on with what they have. See `Hosts.serve`."""

    model: LoadedModel
    hosted: HostedModel | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireModel:
    """Has no new session run on the model `name@version`; those that do go on."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSessions:
    """Asks how many sessions in memory run on each of some models."""

    models: tuple[LoadedModel, ...]


Operation = (
    Write
    | RefusedWrite
    | Suggest
    | CreateSession
    | ForkSession
    | ExportSession
    | ImportSession
    | OpenSequences
    | StepSequence
    | CloseSequence
    | GetSession
    | DeleteSession
    | EvictSession
    | ListResidents
    | DescribeResidents
    | InspectSession
    | ListStored
    | ServeModel
    | RetireModel
    | CountSessions
)
