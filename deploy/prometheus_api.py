"""Asking a Prometheus server, as much as tests and the preview need."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

_SECONDS = 30.0


class QueryError(ValueError):
    """Prometheus refused an expression; `str` has its own words."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and (seconds, value) by time."""

    labels: dict[str, str]
    values: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The server at `url`, such as http://localhost:9090."""

    url: str

    def series(self, expression: str, *, begin: float, end: float, step: float) -> list[Series]:
        """What an expression is between two Unix times, every `step` seconds. Raises QueryError."""
        answer = self._ask("query_range", query=expression, start=begin, end=end, step=step)
        return [
            Series(found["metric"], [(float(at), float(value)) for at, value in found["values"]])
            for found in answer["result"]
        ]

    def now(self, expression: str) -> list[Series]:
        """What an expression is now. Raises QueryError."""
        answer = self._ask("query", query=expression)
        return [Series(found["metric"], [_point(found["value"])]) for found in answer["result"]]

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {
            found["labels"]["alertname"]
            for found in self._ask("alerts")["alerts"]
            if found["state"] == "firing"
        }

    def _ask(self, what: str, **parameters: object) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            with urlopen(f"{self.url}/api/v1/{what}{query}", timeout=_SECONDS) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise QueryError(json.load(error).get("error", str(error))) from error


def _point(value: Any) -> tuple[float, float]:
    at, number = value
    return float(at), float(number)
