"""How many sessions in memory run on which model."""

from __future__ import annotations

from collections import Counter

from gatehouse_server.sessions.hosted_model import HostedModel


class Census:
    """Counts by key and fingerprint: of one key, a model may be leaving beside the one that replaced it. Counted by the
    engine thread, and read from any.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, key: str, fingerprint: str) -> None:
        """One more."""
        self._counts[key, fingerprint] += 1

    def remove(self, key: str, fingerprint: str) -> None:
        """One less."""
        self._counts[key, fingerprint] -= 1

    def on(self, model: HostedModel) -> int:
        """How many run on a model."""
        return self._counts[model.key, model.fingerprint]

    def forget(self, model: HostedModel) -> None:
        """None run on a model, and none will."""
        del self._counts[model.key, model.fingerprint]

    def counts(self) -> dict[tuple[str, str], int]:
        """How many there are, by key and fingerprint."""
        return dict(self._counts)

    def by_key(self) -> dict[str, int]:
        """How many there are, by key."""
        amounts: dict[str, int] = {}
        for (key, _), amount in self._counts.items():
            amounts[key] = amounts.get(key, 0) + amount
        return amounts
