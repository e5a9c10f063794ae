"""The connection to one Redis: commands and scripts out, replies in, and every failure as StoreFailure."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, parse_url
from redis.retry import Retry

from gatehouse_server.stores.port import StoreFailure
from gatehouse_server.stores.redis_scripts import CLOSE_FENCE, EMPTIED

_FENCE_SECONDS = 3_600

Argument = str | bytes | int | float
"""What a command takes."""


class RedisLink:
    """One client of one Redis. It connects when first used, and again by itself after a failure.

    Each exchange waits `timeout_seconds` for Redis to take what is sent and as long for each reply; one that did not
    come in that time is not asked for again. Nothing is repeated by redis-py: whether it may be is for the caller to
    say, who knows what was asked.

    What had no answer may still be on its way: a Redis that hung reads it when it goes on, perhaps after what was
    asked later on another connection. So each script names a fence, and before the next one is asked, Redis is told
    to let nothing through that fence any more.
    """

    def __init__(self, url: str, *, prefix: str, timeout_seconds: float) -> None:
        """The keys of fences begin with `prefix`. Raises ValueError or TypeError for a url that cannot be used."""
        self.place = _place(url)
        self._closed = False
        self._fence_prefix = f"{prefix}:fence:{secrets.token_hex(8)}"
        self._fences = 0
        self._in_doubt = False
        self._timeout_seconds = timeout_seconds
        # Whatever a url says in its query, replies are bytes, in RESP 2, in time, and asked for once.
        ours: dict[str, Any] = {
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "protocol": 2,
            "decode_responses": False,
        }
        parse: Any = parse_url
        arguments: dict[str, Any] = {**parse(url), **ours}
        self._pool = ConnectionPool(**arguments)
        self._pool.make_connection()  # an option in the url that redis-py does not know is found here
        self._client: Any = redis.Redis(connection_pool=self._pool)

    def call(self, *command: Argument) -> Any:
        """The reply to one command. Raises StoreFailure."""
        self._check_open()
        try:
            return self._client.execute_command(*command)
        except (redis.RedisError, OSError) as error:
            raise self._failure(error) from error

    def run(
        self, script: str, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]], *, repeatable: bool
    ) -> list[Any]:
        """Runs a script once for each call, its keys (after that of the fence) and its arguments, all in one
        exchange; the replies in order.

        With `repeatable` all is asked once more when the connection broke, since running the script twice does no
        harm. Raises StoreFailure; what ran before it is not undone.
        """
        self._check_open()
        try:
            try:
                replies = self._exchange(script, calls)
            except redis.ConnectionError:
                if not repeatable:
                    raise
                replies = self._exchange(script, calls)
        except (redis.RedisError, OSError) as error:
            raise self._failure(error) from error
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._failure(reply) from reply
        return replies

    def close(self) -> None:
        """Disconnects for good. Never raises."""
        self._closed = True
        with contextlib.suppress(redis.RedisError, OSError):
            self._client.close()
            self._pool.disconnect()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailure(f"the connection to Redis at {self.place} was closed")

    def _close_fence(self) -> None:
        """What was asked up to now happens before this or never."""
        fence = f"{self._fence_prefix}:{self._fences}"
        self._client.execute_command("EVAL", CLOSE_FENCE, 1, fence, _FENCE_SECONDS)
        self._fences += 1
        self._in_doubt = False

    def _exchange(self, script: str, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]) -> list[Any]:
        """Replies and errors, in order."""
        if self._in_doubt:
            self._close_fence()
        fence = f"{self._fence_prefix}:{self._fences}"
        sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        with self._client.pipeline(transaction=False) as pipeline:
            # The first call brings the script, so that Redis knows it for the others, newly started or not. Teaching
            # it after a refusal would do what came later in the batch before what came earlier.
            command, name = "EVAL", script
            for keys, arguments in calls:
                pipeline.execute_command(command, name, 1 + len(keys), fence, *keys, *arguments)
                command, name = "EVALSHA", sha
            # An answer to all, and only that, leaves no doubt.
            self._in_doubt = True
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            self._in_doubt = False
            return replies

    def _failure(self, error: Exception) -> StoreFailure:
        """One line that says what is the matter."""
        where = f"Redis at {self.place}"
        said = " ".join(str(error).split())
        match error:
            case redis.TimeoutError():
                return StoreFailure(f"{where} did not answer within {self._timeout_seconds:g} s")
            case redis.AuthenticationError() | redis.exceptions.AuthorizationError():
                return StoreFailure(f"{where} refused user or password: {said}")
            case redis.BusyLoadingError():
                return StoreFailure(f"{where} is still loading its data")
            case redis.exceptions.OutOfMemoryError():
                return StoreFailure(f"{where} is full: {said}")
            case redis.ResponseError() if EMPTIED in said:
                return StoreFailure(
                    f"{where} no longer holds this store: it was emptied or replaced. Restore its data, or restart "
                    "every server on it to begin with none"
                )
            case redis.ResponseError():
                return StoreFailure(f"{where} refused: {said}")
        return StoreFailure(f"{where} cannot be reached: {said}")


def _place(url: str) -> str:
    """Where that Redis is, for messages: without the password. Raises ValueError, without it too, for what redis-py
    would only find when it connects, or would overlook.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    database = parts.path.strip("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("the database must be a number (and a / in a password written %2F)")
    host = parts.hostname or "localhost"
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError("there can be no host of that name") from None
    try:
        return f"{host}:{parts.port or 6379}"
    except ValueError:
        raise ValueError(
            "the port must be a number up to 65535 (and a /, # or ? in a password encoded)"
        ) from None


def not_allowed(failure: StoreFailure) -> bool:
    """Whether the user of this connection may not run the command, or nobody may: services that manage Redis for
    their customers rename commands away.
    """
    cause = failure.__cause__
    return isinstance(cause, redis.exceptions.NoPermissionError) or "unknown command" in str(cause)
