"""A window of text finds its place on the tape."""

import pytest
from gatehouse_server.models.window import Alignment, align_window
from hypothesis import given, settings
from hypothesis import strategies as st

LONG = list(range(100, 140))


def tape_after(tape: list[int], window: list[int], alignment: Alignment) -> list[int]:
    return tape[: alignment.kept] + window[alignment.appended_from :]


@pytest.mark.parametrize(
    ("tape", "window", "mid_word", "kept", "appended_from"),
    [
        pytest.param([], [], False, 0, 0, id="nothing-yet"),
        pytest.param([], [1, 2], True, 0, 0, id="first-words"),
        pytest.param([1, 2], [1, 2, 3], True, 2, 2, id="one-more-word"),
        pytest.param([1, 2, 3], [1, 2, 3], True, 3, 3, id="the-same-again"),
        pytest.param([1, 2, 3], [1, 2], True, 2, 2, id="backspace"),
        pytest.param([1, 2, 3], [], False, 0, 0, id="all-erased"),
        pytest.param([1, 2, 3], [1, 9, 3], False, 1, 1, id="corrected-in-the-middle"),
        pytest.param([1, 2, 3], [7, 8], False, 0, 0, id="another-text"),
        pytest.param(LONG, LONG[5:], False, 40, 35, id="slid"),
        pytest.param(LONG, [*LONG[5:], 7], False, 40, 35, id="slid-and-typed"),
        pytest.param(LONG, [99, *LONG[5:], 7], True, 40, 36, id="slid-into-a-word"),
        pytest.param(LONG, LONG[36:], False, 40, 4, id="slid-to-the-least-overlap"),
        pytest.param(LONG, [*LONG[37:], 7, 8], False, 0, 0, id="overlap-too-short"),
        pytest.param(LONG, [99, *LONG[36:]], True, 40, 5, id="cut-word-and-least-overlap"),
        pytest.param(LONG, [*LONG[20:39], 7], False, 39, 19, id="slid-and-corrected-last-word"),
        pytest.param(LONG, LONG[20:38], False, 38, 18, id="slid-and-erased-two-words"),
        pytest.param(LONG, [99, *LONG[20:38]], True, 38, 19, id="slid-into-a-word-and-erased"),
        pytest.param(LONG, [*LONG[31:39], 7], False, 0, 0, id="eight-agreeing-tokens-are-too-few"),
        pytest.param(LONG, [*LONG[30:39], 7], False, 39, 9, id="nine-agreeing-tokens-suffice"),
        pytest.param(LONG, [*LONG[20:30], *range(20)], False, 0, 0, id="more-differs-than-agrees"),
        pytest.param(LONG, [99, *LONG[5:]], False, 0, 0, id="first-token-differs-but-is-whole"),
        pytest.param(LONG, [99, *LONG[1:]], True, 0, 0, id="first-word-corrected"),
        pytest.param([1, 2, 3, 4, 1, 2, 3, 5], [1, 2, 3, 5], False, 8, 4, id="longer-overlap-than-prefix"),
        pytest.param([1, 2, 3, 4, 9, 1, 2, 3, 4], [1, 2, 3, 4], False, 4, 4, id="prefix-goes-first"),
        pytest.param([*range(9), 0, 1, 2, 3], [*range(7), 9], False, 7, 7, id="longer-prefix-than-overlap"),
        pytest.param([5] * 10, [5] * 6, False, 6, 6, id="a-repeated-word-erased"),
        pytest.param([0] + [5] * 10, [5] * 12, False, 11, 10, id="a-repeated-word-slid"),
    ],
)
def test_each_case(tape: list[int], window: list[int], mid_word: bool, kept: int, appended_from: int) -> None:
    """The tape keeps what the window shows it can keep, and takes the rest from the window."""
    assert align_window(tape, window, mid_word) == Alignment(kept=kept, appended_from=appended_from)


def test_whole_window_counts_by_its_prefix_only() -> None:
    """A window known to begin where the tape must is never read as a later part of it."""
    assert align_window(LONG, LONG[5:], False, window_is_whole=True) == Alignment(kept=0, appended_from=0)


def test_cut_word_of_several_tokens_is_skipped_whole() -> None:
    """A cut word may be several tokens where the tape has one."""
    window = [98, 99, *LONG[5:], 7]
    assert align_window(LONG, window, True, cut_tokens=2) == Alignment(kept=40, appended_from=37)
    assert align_window(LONG, window, True, cut_tokens=1) == Alignment(kept=0, appended_from=0)


def test_cut_word_has_to_fit_the_tape() -> None:
    """Where the tape's word before the overlap can't end with the cut word, the window is another text."""
    window = [99, *LONG[5:]]
    asked: list[int] = []

    def refuse(length: int) -> bool:
        asked.append(length)
        return False

    assert align_window(LONG, window, True, continues=refuse) == Alignment(kept=0, appended_from=0)
    assert asked == [5]
    assert align_window(LONG, window, True, continues=lambda length: length == 5).kept == 40


def test_cut_in_the_first_word_of_the_tape_needs_to_be_confirmed() -> None:
    """A window cut inside the tape's first word continues it only when that word is known to end so."""
    window = [99, *LONG[1:]]
    assert align_window(LONG, window, True).kept == 0
    assert align_window(LONG, window, True, continues=lambda length: True).kept == 40


def test_window_is_found_at_the_end_of_a_long_tape() -> None:
    """The search reaches the end of a tape that is far longer than the window."""
    tape = list(range(20_000))
    assert align_window(tape, [*tape[-10:], 1], False) == Alignment(kept=20_000, appended_from=10)


def test_thousands_of_equal_tokens_are_compared_in_linear_time() -> None:
    """The worst repetition costs no more than a few comparisons for each token."""
    comparisons = 0

    class Counted(int):
        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return int.__eq__(self, other) is True

        def __ne__(self, other: object) -> bool:
            return not self == other

    tape = [Counted(0), *[Counted(5)] * 4000, Counted(1)]
    window = [Counted(5)] * 4000
    align_window(tape, window, True)
    assert 4000 < comparisons < 20 * len(tape)


small = st.lists(st.integers(0, 2), max_size=40)


@settings(deadline=None)  # a busy machine is no failure
@given(tape=small, window=small, mid_word=st.booleans(), cut=st.integers(0, 3), whole=st.booleans())
def test_new_tape_ends_with_the_window(
    tape: list[int], window: list[int], mid_word: bool, cut: int, whole: bool
) -> None:
    """Whatever came before, the new tape ends with the window, apart from a cut first word."""
    alignment = align_window(tape, window, mid_word, cut_tokens=cut, window_is_whole=whole)
    assert 0 <= alignment.kept <= len(tape)
    assert 0 <= alignment.appended_from <= len(window)
    result = tape_after(tape, window, alignment)
    certain = window[cut:] if mid_word and cut < len(window) else window
    assert result[len(result) - len(certain) :] == certain
    if whole:
        assert result == window


@settings(deadline=None)  # a busy machine is no failure
@given(tape=small, window=small, mid_word=st.booleans())
def test_asking_again_changes_nothing(tape: list[int], window: list[int], mid_word: bool) -> None:
    """The same window on the tape that it made keeps that tape as it is."""
    once = tape_after(tape, window, align_window(tape, window, mid_word))
    assert tape_after(once, window, align_window(once, window, mid_word)) == once


@settings(deadline=None)  # a busy machine is no failure
@given(
    text=st.lists(st.integers(0, 5), min_size=1, max_size=200),
    width=st.integers(12, 40),
    mid_word=st.booleans(),
)
def test_typing_behind_a_sliding_window_computes_each_word_once(
    text: list[int], width: int, mid_word: bool
) -> None:
    """Word by word behind a window of fixed width, the tape grows into the whole text."""
    # Ids that never repeat, so that the place of a window is never ambiguous.
    distinct = [10 * place + token for place, token in enumerate(text)]
    tape: list[int] = []
    for end in range(1, len(distinct) + 1):
        begin = max(0, end - width)
        cut = mid_word and begin > 0
        window = [-7, *distinct[begin + 1 : end]] if cut else distinct[begin:end]
        alignment = align_window(tape, window, cut)
        assert len(window) - alignment.appended_from == 1
        tape = tape_after(tape, window, alignment)
    assert tape == distinct
