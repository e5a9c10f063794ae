"""Finding a window of text on the tape it slides along.

Knows ids only: no tokenizer, no session. A keyboard hands over the last few hundred characters before the
cursor, so its window first grows with the tape, then slides along it, and its first word may be cut.
Rebuilding the tape from the window at each key would compute the whole window again and forget what left it;
so the window's place is looked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEAST_OVERLAP_TOKENS = 4
"""So many tokens up to the tape's end must agree for a window to continue the tape."""

LEAST_AGREEMENT_TOKENS = 8
"""More than this many must agree where the window leaves the tape before its end (a correction, a
backspace).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The tape that a window asks for: `tape[:kept] + window[appended_from:]`."""

    kept: int
    appended_from: int


def align_window(
    tape_ids: Sequence[int],
    window_ids: Sequence[int],
    window_starts_mid_word: bool,
    *,
    window_is_whole: bool = False,
    cut_tokens: int = 1,
    continues: Callable[[int], bool] | None = None,
) -> Alignment:
    """Where the window lies on the tape, in O(len(tape) + len(window)).

    The common prefix of both is kept. Where the window begins later than the tape, its overlap with the
    tape's end is kept instead, if that reuses more of the window. The new tape always ends with the window,
    apart from a cut first word, of which the tape may hold the whole.

    `window_starts_mid_word`: the window's first `cut_tokens` tokens may stand for the rest of a word.
    `window_is_whole`: the tape is known to begin where the window does, so nothing but the prefix counts.
    `continues(p)`: whether the tape's first p tokens may end with that cut word; without it they always may,
    except where that would leave the cut word nothing to have slid over (p <= cut_tokens).
    """
    prefix = _common_prefix(tape_ids, window_ids)
    best = Alignment(kept=prefix, appended_from=prefix)
    if window_is_whole or prefix in (len(tape_ids), len(window_ids)):
        return best
    starts = [0]
    if window_starts_mid_word and 0 < cut_tokens < len(window_ids):
        starts.append(cut_tokens)
    for skipped in starts:
        found = _slid(tape_ids, window_ids, skipped, continues)
        if found is not None and found.appended_from > best.appended_from:
            best = found
    return best


def _slid(
    tape_ids: Sequence[int],
    window_ids: Sequence[int],
    skipped: int,
    continues: Callable[[int], bool] | None,
) -> Alignment | None:
    """The longest acceptable agreement of `window_ids[skipped:]` with a part of the tape; ties to the
    latest.
    """
    wanted = list(window_ids[skipped:])
    # A window can only have slid a little since the last call; a long tape need not be searched from its
    # beginning.
    first = max(1, len(tape_ids) - 2 * len(window_ids) - 64)
    region = list(tape_ids[first:])
    best_length, best_place = 0, 0
    for offset, length in enumerate(_agreements(wanted, region)):
        place = first + offset
        if length < best_length or length < LEAST_OVERLAP_TOKENS:
            continue
        reaches_end = place + length == len(tape_ids)
        leaves_late = length > LEAST_AGREEMENT_TOKENS and len(wanted) - length <= length
        if not (reaches_end or leaves_late):
            continue
        if skipped and not (continues(place) if continues else place > skipped):
            continue
        best_length, best_place = length, place
    if not best_length:
        return None
    return Alignment(kept=best_place + best_length, appended_from=skipped + best_length)


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))


def _agreements(wanted: list[int], region: list[int]) -> list[int]:
    """For each place of `region`, how many tokens from there on agree with the beginning of `wanted`.

    The Z-function (Gusfield, "Algorithms on Strings, Trees, and Sequences", 1.4) of wanted + [None] + region:
    each token is compared successfully at most once, so the work is linear.
    """
    joined: list[int | None] = [*wanted, None, *region]
    lengths = [0] * len(joined)
    left = right = 0
    for index in range(1, len(joined)):
        length = min(right - index, lengths[index - left]) if index < right else 0
        while index + length < len(joined) and joined[length] == joined[index + length]:
            length += 1
        if index + length > right:
            left, right = index, index + length
        lengths[index] = length
    return lengths[len(wanted) + 1 :]
