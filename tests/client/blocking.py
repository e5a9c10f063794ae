"""The asynchronous client behind blocking calls, so that one test can speak to both twins."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

from gatehouse import aio
from gatehouse.aio.generation import Generation

_WRAPPED = (aio.Client, aio.Session, aio.Stream, Generation)


class Blocking:
    """An object of `gatehouse.aio` whose calls block."""

    def __init__(self, runner: asyncio.Runner, inner: object) -> None:
        self._runner = runner
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        return self._blocking(value) if callable(value) else value

    def __enter__(self) -> Blocking:
        return self

    def __iter__(self) -> Iterator[Any]:
        assert isinstance(self.inner, Generation), "of all wrapped objects only this one is iterated over"
        return self._each(aiter(self.inner))

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _blocking(self, method: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            # Some constructors need the running loop, so even plain methods are called inside it.
            async def inside() -> Any:
                result = method(*arguments, **options)
                return await result if inspect.isawaitable(result) else result

            result = self._runner.run(inside())
            if isinstance(result, _WRAPPED):
                return Blocking(self._runner, result)
            return self._each(result) if isinstance(result, AsyncIterator) else result

        return call

    def _each(self, results: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(results, None)

        async def close() -> None:
            await results.aclose()  # type: ignore[attr-defined]  # an asynchronous generator, here

        try:
            while (result := self._runner.run(following())) is not None:
                yield result
        finally:
            self._runner.run(close())
