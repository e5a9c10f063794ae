"""The words of a tokenizer as people see them: display forms, completions, and which are never suggested."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

Ids = npt.NDArray[np.int64]

_CONTROL_FORM = re.compile(r"<[^<>\s]+>|\[[A-Z]+\]")


def is_word_character(character: str) -> bool:
    """Letters, digits and the marks that combine with them."""
    return unicodedata.category(character)[0] in "LNM"


class Vocabulary:
    """All V words, their order, and those that are never suggested. Immutable after construction.

    `most_alike` is the largest number of tokens, of those that may be suggested, that one word can have.

    `display` maps a word (compared without case) to the form to show; `blocked` lists words never to suggest.
    Entries that the vocabulary lacks are ignored in both, so that one list can serve several models.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        display: Mapping[str, str],
        blocked: Iterable[str],
        control_ids: Iterable[int],
    ) -> None:
        self._normalise = _normalisation(tokenizer)
        self.size = tokenizer.get_vocab_size(with_added_tokens=True)
        self.words = tuple(_plain(tokenizer, number) for number in range(self.size))
        shown = {self.fold(word): form for word, form in display.items()}
        # Folding by normalising costs a microsecond a word, and only here.
        self._keys = tuple(self.fold(word) for word in self.words)
        self.surfaces = tuple(shown.get(key, word) for key, word in zip(self._keys, self.words, strict=True))
        control_ids = frozenset(control_ids)
        self.control_ids = control_ids | self._control_forms(tokenizer)
        refused = {self.fold(word) for word in blocked}
        blocked_ids = {n for n, key in enumerate(self._keys) if key in refused}
        self.suppressed_ids = self.control_ids | blocked_ids
        # A blank or a line break is no word to suggest, but running text has them.
        self.undrawable_ids = frozenset(blocked_ids | self._special(tokenizer) | control_ids)
        self.has_blanks = tokenizer.decoder is None and any(map(str.isspace, self.words))
        self.folds_case = self._normalise("A") == "a"
        self.punctuation_ids = frozenset(
            n
            for n, word in enumerate(self.words)
            if n not in self.control_ids and not any(map(is_word_character, word))
        )
        unsuggested = self.suppressed_ids | self.punctuation_ids
        # Tokens that differ in case or by a blank only ("the", "The", "Ġthe"), or that have one form to show.
        forms = {key: self.fold(form) for key, form in shown.items()}
        alike = Counter(forms.get(key, key) for n, key in enumerate(self._keys) if n not in unsuggested)
        self.most_alike = max(alike.values(), default=1)
        offered = sorted((key, n) for n, key in enumerate(self._keys) if n not in self.suppressed_ids)
        self._sorted_keys = [key for key, _ in offered]
        self._sorted_ids = np.array([n for _, n in offered], dtype=np.int64)
        self._every_id = np.sort(self._sorted_ids)

    def fold(self, word: str) -> str:
        """The form in which words are compared: normalised as the tokenizer does, without case or curly
        quotes.
        """
        return self._normalise(word).replace("’", "'").casefold()

    def key(self, token_id: int) -> str:
        """The folded form of a token."""
        return self._keys[token_id]

    def completions(self, prefix: str) -> Ids:
        """The ids, ascending, of the words that begin with `prefix`, itself included; suppressed ones left
        out.

        Found by bisection in O(log V + m log m) for m completions. An empty prefix gives every word.
        """
        if not prefix:
            return self._every_id.copy()
        low, high = self._completion_range(prefix)
        return np.sort(self._sorted_ids[low:high])

    def has_completions(self, prefix: str) -> bool:
        """Whether any word begins with `prefix`."""
        low, high = self._completion_range(prefix)
        return low < high

    def _completion_range(self, prefix: str) -> tuple[int, int]:
        folded = self.fold(prefix)
        low = bisect_left(self._sorted_keys, folded)
        # Comparing only as many characters as were typed makes every completion equal to the prefix.
        high = bisect_right(self._sorted_keys, folded, lo=low, key=lambda key: key[: len(folded)])
        return low, high

    def _control_forms(self, tokenizer: Tokenizer) -> frozenset[int]:
        blank = {n for n, word in enumerate(self.words) if not word.strip() or not word.isprintable()}
        return frozenset(self._special(tokenizer) | blank)

    def _special(self, tokenizer: Tokenizer) -> set[int]:
        """What stands for no text at all."""
        added = tokenizer.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        formed = {n for n, word in enumerate(self.words) if _CONTROL_FORM.fullmatch(word)}
        absent = {n for n in range(self.size) if tokenizer.id_to_token(n) is None}
        return special | formed | absent


def _normalisation(tokenizer: Tokenizer) -> Callable[[str], str]:
    normalizer = tokenizer.normalizer
    if normalizer is None:
        return lambda word: word

    # Some put a mark before every text, for a blank that its first word would have.
    mark = str(normalizer.normalize_str("a"))[:-1]

    def normalise(word: str) -> str:
        return str(normalizer.normalize_str(word)).removeprefix(mark)

    return normalise


def _plain(tokenizer: Tokenizer, number: int) -> str:
    """The token as text: without the marks that sub-word tokenizers put for spaces."""
    if tokenizer.decoder is None:
        return str(tokenizer.id_to_token(number) or "")
    return str(tokenizer.decode([number], skip_special_tokens=False)).strip()
