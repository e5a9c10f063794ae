"""Documents, words, word vectors and the teacher of the topics recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.topics.documents import COLUMNS, class_names, read_documents
from training.topics.teacher import Teacher, held_out_probabilities, ngram_keys
from training.topics.vectors import pair_counts, word_vectors
from training.topics.words import UNKNOWN, UNKNOWN_ID, Ids, encode, train_tokenizer


def ids(*values: int) -> Ids:
    return np.asarray(values, dtype=np.int32)


def write_table(path: Path, *rows: tuple[str, ...]) -> Path:
    lines = ["\t".join(COLUMNS), *("\t".join(row) for row in rows)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_documents_are_read_whole_with_quotes_and_backslashes(tmp_path: Path) -> None:
    """A quotation mark or a LaTeX command in a field is text, not syntax."""
    path = write_table(
        tmp_path / "t.tsv", ("b", "1", "c.d", "2001-01-01", 'A "title', r"Schr\"odinger, $\alpha$")
    )
    (document,) = read_documents(path)
    assert (document.label, document.category) == ("b", "c.d")
    assert (document.title, document.abstract) == ('A "title', r"Schr\"odinger, $\alpha$")


def test_a_line_of_too_few_fields_is_named(tmp_path: Path) -> None:
    """A broken line stops the run with its number, rather than shifting columns."""
    path = write_table(tmp_path / "t.tsv", ("b", "1", "c.d", "2001-01-01", "t", "a"), ("b", "2"))
    with pytest.raises(ValueError, match=r"t\.tsv:3: expected 6 fields, got 2"):
        read_documents(path)


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    """A file of another layout is refused by its header."""
    path = tmp_path / "t.tsv"
    path.write_text("text\tlabel\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected the columns"):
        read_documents(path)


def test_labels_are_ordered_by_the_alphabet_not_by_the_file(tmp_path: Path) -> None:
    """The order of the outputs does not depend on the order of the rows."""
    rows = [(label, "1", "c", "2001-01-01", "t", "a") for label in ("z", "a", "m", "a")]
    assert class_names(read_documents(write_table(tmp_path / "t.tsv", *rows))) == ["a", "m", "z"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Robot, again!", ["the", "robot", "again"]),
        ("in 2.5-dimensional space of 1234", ["in", "0", "0", "dimensional", "space", "of", "0"]),
        (r"let $\alpha_{12}$ be", ["let", "$", r"\alpha", "0", "$", "be"]),
        ('Poincaré and Schr\\"odinger', ["poincare", "and", "schrodinger"]),
    ],
)
def test_text_becomes_lower_case_words(text: str, expected: list[str]) -> None:
    """Case, accents, punctuation and the digits of numbers are gone; LaTeX commands and `$` stay."""
    tokenizer = train_tokenizer([text], vocabulary_size=50)
    assert tokenizer.encode(text).tokens == expected


def test_only_the_most_frequent_words_are_known() -> None:
    """The vocabulary has the asked size, the unknown word included, and rare words become unknown."""
    tokenizer = train_tokenizer(["a a a b b c"], vocabulary_size=3)
    assert tokenizer.get_vocab_size() == 3
    assert tokenizer.token_to_id(UNKNOWN) == UNKNOWN_ID
    (encoded,) = encode(tokenizer, ["b c a"])
    assert encoded.tolist() == [2, UNKNOWN_ID, 1]


def test_pairs_are_counted_within_a_document_and_weighted_by_distance() -> None:
    """Pairs reach over `window` words, weigh 1/distance, and never join two documents or unknown words."""
    keys, weights = pair_counts([ids(1, 2, 3, 1), ids(2, 0, 2)], vocabulary_size=10, window=2)
    found = dict(zip(keys.tolist(), weights.tolist(), strict=True))
    assert found == {12: 1.0, 13: 0.5, 23: 1.0, 21: 0.5, 31: 1.0, 22: 0.5}


def test_words_of_the_same_company_get_like_vectors() -> None:
    """Words that share their contexts lie closer than words that do not; the unknown word is zero."""
    random = np.random.default_rng(0)
    documents = [
        random.permutation(np.arange(1, 11) + (0 if n % 2 else 10)).astype(np.int32) for n in range(200)
    ]
    vectors = word_vectors(documents, vocabulary_size=21, size=4)
    assert vectors.shape == (21, 4)
    assert not vectors[UNKNOWN_ID].any()
    similar = torch.nn.functional.cosine_similarity(vectors[1], vectors[2], dim=0)
    different = torch.nn.functional.cosine_similarity(vectors[1], vectors[12], dim=0)
    assert similar > different + 0.3


def test_pairs_never_collide_with_words() -> None:
    """The key of a word pair differs from that of any word and from the pair reversed."""
    assert ngram_keys(ids(0, 5)).tolist()[:2] == [0, 5]
    keys = {ngram_keys(ids(a, b)).tolist()[2] for a in range(4) for b in range(4)}
    assert len(keys) == 16
    assert not keys & set(range(24000))


def test_the_teacher_tells_word_order() -> None:
    """Documents of the same words in another order are told apart by their word pairs."""
    documents = [ids(1, 2, 1, 2), ids(2, 1, 1, 2, 2, 1)] * 10
    labels = torch.tensor([0, 1] * 10)
    teacher = Teacher(documents, labels, classes=2, penalty=1e-6)
    assert teacher.probabilities(documents).argmax(dim=1).tolist() == labels.tolist()


def test_held_out_opinions_do_not_know_the_documents_own_label() -> None:
    """A document with a false label still gets the class of its like: its own label was not seen."""
    documents = [ids(1, 2, 3), ids(4, 5, 6)] * 20
    labels = torch.tensor([0, 1] * 20)
    false = labels.clone()
    false[0] = 1
    opinions = held_out_probabilities(documents, false, classes=2, penalty=1e-6, folds=4, seed=0)
    assert torch.allclose(opinions.sum(dim=1), torch.ones(40), atol=1e-5)
    assert opinions.argmax(dim=1).tolist() == labels.tolist()
