"""The documents that are measured are what the figures say they are."""

import pytest

from benchmarks.document_mix import abstracts, generated_texts, random_mix


def test_random_documents_have_the_lengths_of_the_mix():
    """Log-normal with mean 200, clipped to 10..1000; what is sent is what is computed in process."""
    mix = random_mix(2000, seed=0)
    lengths = [len(document) for document in mix.documents]
    assert min(lengths) >= 10
    assert max(lengths) <= 1000
    assert mix.mean_steps == pytest.approx(198, rel=0.05)
    assert mix.sent == [document.tolist() for document in mix.documents]


def test_generated_texts_are_as_long_as_abstracts():
    """154 words on average, and a sentence more at most."""
    texts = generated_texts(300)
    words = [len(text.split()) for text in texts]
    assert 150 < sum(words) / len(words) < 185
    assert len(set(texts)) == 300


def test_abstracts_come_from_the_columns_of_a_file(tmp_path):
    """Title and abstract, in the order of the file; too few of them are an error."""
    file = tmp_path / "abstracts.tsv"
    file.write_text('label\ttitle\tabstract\nx\tA "title\tFirst.\ny\tB\tSecond.\n', encoding="utf-8")
    assert abstracts(file, 2) == ['A "title. First.', "B. Second."]
    with pytest.raises(ValueError, match="2 abstracts"):
        abstracts(file, 3)
