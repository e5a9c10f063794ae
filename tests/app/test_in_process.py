"""Classification without a server: the same answers, in one process."""

from pathlib import Path

import pytest
from gatehouse_server import DocumentClassifier
from gatehouse_server.engine.loop import Answers
from gatehouse_server.engine.offline import OfflineLane
from gatehouse_server.errors import InvalidInput, ModelFolderError

from tests.tiny import LABELS, write_tiny_classifier, write_tiny_keyboard


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> DocumentClassifier:
    """A tiny classifier."""
    return DocumentClassifier(write_tiny_classifier(tmp_path_factory.mktemp("m") / "topics" / "1"))


def test_results_come_in_order_with_all_scores(classifier: DocumentClassifier) -> None:
    """Long and short mixed; best first; probabilities of all labels; the same alone and together."""
    texts = ["we study the star", "proof", "cell gene protein " * 50, "of the galaxy"]
    together = classifier.classify(texts)
    assert [result.step_count for result in together] == [4, 1, 150, 3]
    for text, result in zip(texts, together, strict=True):
        assert set(dict(result.scores)) == set(LABELS)
        scores = [score for _, score in result.scores]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-5)
        assert result.label == result.scores[0][0]
        (alone,) = classifier.classify([text])
        assert dict(alone.scores) == pytest.approx(dict(result.scores), abs=1e-6)


def test_a_bad_text_has_an_error_and_disturbs_no_other(classifier: DocumentClassifier) -> None:
    """As in the service."""
    good, empty, broken = classifier.classify(["star", " ", "\ud800"])
    assert good.error is None
    assert good.label in LABELS
    assert isinstance(empty.error, InvalidInput)
    assert (empty.error.reason, empty.label) == ("EMPTY_INPUT", None)
    assert isinstance(broken.error, InvalidInput)
    assert classifier.classify([]) == []


def test_a_call_that_was_interrupted_leaves_nothing_to_the_next(
    classifier: DocumentClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had not computed is forgotten, and the next call answers its own texts alone."""
    alone = classifier.classify(["star", "cell gene"])

    def interrupted(lane: OfflineLane, answers: Answers) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(OfflineLane, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            classifier.classify(["proof", "galaxy", "proof"])
    assert classifier.classify(["star", "cell gene"]) == alone


def test_long_documents_are_refused_or_cut(tmp_path: Path) -> None:
    """By the limit that is given."""
    folder = write_tiny_classifier(tmp_path / "topics" / "1")
    (refused,) = DocumentClassifier(folder, max_document_steps=2).classify(["the star group"])
    assert refused.error is not None
    (cut,) = DocumentClassifier(folder, max_document_steps=2, truncate=True).classify(["the star group"])
    assert (cut.step_count, cut.truncated) == (2, True)


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    """A language model, and a folder that is none."""
    with pytest.raises(InvalidInput, match="language model"):
        DocumentClassifier(write_tiny_keyboard(tmp_path / "keyboard" / "1"))
    with pytest.raises(ModelFolderError):
        DocumentClassifier(tmp_path / "nowhere" / "1")
