"""What a state store has of a session: kept beside the session, so that only what changed is written."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Stored:
    """`exists` tells whether there is a record at all. `revision` is what the store confirmed, `attempted` are those
    that it may have too, because an answer was lost. `states` are the numbers of the states that it surely has,
    `perhaps` of those that it may have. Inputs before position `clean_steps` are those of the tape; when the tape ends
    there, there are none behind. `chunks` are the numbers of chunks that it may have, first and last + 1.
    `expires_unix_seconds` is what it knows, `outlived` tells that the session was used since and has to be kept for
    longer.

    While a change is under way, `under_way_steps` becomes what `clean_steps` will be, unless the tape is cut meanwhile.
    """

    exists: bool = False
    revision: int = 0
    attempted: tuple[int, ...] = ()
    states: set[int] = field(default_factory=set)
    perhaps: set[int] = field(default_factory=set)
    clean_steps: int = 0
    under_way_steps: int = 0
    chunks: tuple[int, int] = (0, 0)
    expires_unix_seconds: float = 0.0
    outlived: bool = False

    def cut(self, at: int) -> None:
        """The tape was changed from position `at` on.

        One step less is clean then: should the tape end at `at` now, the chunk of its last step may be longer in the
        store.
        """
        if at <= self.clean_steps:
            self.clean_steps = max(0, at - 1)
        if at <= self.under_way_steps:
            self.under_way_steps = max(0, at - 1)

    def has_all_of(self, revision: int) -> bool:
        """Whether the store surely has the session as it is at `revision`, and nothing else of it."""
        return self.exists and self.revision == revision and not self.perhaps and not self.outlived
