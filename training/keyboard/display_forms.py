"""How words are written: the true casing of a lower-cased vocabulary, read off the training text."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from training.keyboard.first_names import FEMALE, MALE
from training.keyboard.tokenization import cased_words

# After these a capital may only mark the beginning of a sentence.
_OPENS_SENTENCE = frozenset(".!?:;\"'()[]-\u2013\u2014")
_ENOUGH = 3  # occurrences within sentences for a corpus to decide alone
# Everyday words that some book of the second corpus makes a title or a character's name.
_EVERYDAY = frozenset(Path(__file__).with_name("everyday_words.txt").read_text(encoding="utf-8").split())

Forms = dict[str, Counter[str]]


def inner_forms(sentences: Iterable[str]) -> Forms:
    """{lower-case word: how often each of its forms stands inside a sentence}."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        previous = "."
        for word in cased_words(sentence):
            if previous not in _OPENS_SENTENCE:
                seen[word.lower()][word] += 1
            previous = word
    return seen


def display_forms(corpora: Sequence[Forms], vocabulary: Collection[str]) -> dict[str, str]:
    """{lower-case word: form} for the words that are mostly not written in lower case within sentences.

    The first corpus that knows a word well enough decides, otherwise all together: in everyday text a lion is
    no Lion, whatever a single book makes of it. First names are capitalised in any case.
    """
    forms = {}
    for word in sorted(set(vocabulary) - _EVERYDAY):
        counts: Counter[str] = Counter()
        for corpus in corpora:
            counts.update(corpus.get(word, Counter()))
            if counts.total() >= _ENOUGH:
                break
        if counts:
            form, count = counts.most_common(1)[0]
            if form != word and 2 * count > counts.total():
                forms[word] = form
    for name in (*MALE, *FEMALE, "Tom", "Mary"):
        for form in (name, f"{name}'s"):
            if form.lower() in vocabulary:
                forms[form.lower()] = form
    return forms
