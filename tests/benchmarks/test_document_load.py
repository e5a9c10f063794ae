"""The rate of documents is that of whole batches."""

from benchmarks.document_load import Burst, counted


def burst(moment, documents):
    """A batch that was answered."""
    return Burst(first=moment, last=moment + 0.01, documents=documents, steps=10 * documents)


def test_a_rate_is_of_the_batches_between_the_first_answer_and_the_last():
    """Three batches of 100, a second apart: 100 a second, wherever the measured time began."""
    told = counted([burst(0.4, 100), burst(1.4, 100), burst(2.4, 100)], seconds=2.5)
    assert told["documents"] / told["seconds"] == 100
    assert told["steps"] / told["documents"] == 10


def test_with_a_single_batch_all_of_the_time_counts():
    """There is no time between two batches then."""
    assert counted([burst(0.4, 50)], seconds=2.0) == {"documents": 50, "steps": 500, "seconds": 2.0}
    assert counted([], seconds=2.0)["documents"] == 0
