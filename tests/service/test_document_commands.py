"""`gatehouse tag`, `encode`, `score` and `predict` against a real server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatehouse import Client, Document

from tests.client.commands import json_lines, run
from tests.service.document_server import DocumentServer, document_server
from tests.tiny import LABELS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentServer]:
    """With a small limit on steps."""
    models = tmp_path_factory.mktemp("document-commands")
    with document_server(models, "--max-document-steps", "100") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in: errors.jsonl goes where one is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tag_writes_each_word_with_its_label(folder: Path, server: DocumentServer) -> None:
    """Word, place, label and score; with -k the scores of as many labels; whatever the file's format."""
    (folder / "a.jsonl").write_text('{"id": 7, "text": "a star, of  the Galaxy"}\n')
    (folder / "b.txt").write_text("gene\n\ncell protein\n")
    result = run("tag", "a.jsonl", "b.txt", "--model", "tagger", "--in-order", target=server.target)
    assert result.exit_code == 0, result.output
    first, second, third = json_lines(result.stdout)
    assert first["id"] == 7
    assert [(step["text"], step["start"], step["end"]) for step in first["steps"]] == [
        ("a", 0, 1),
        ("star", 2, 6),
        (",", 6, 7),
        ("of", 8, 10),
        ("the", 12, 15),
        ("Galaxy", 16, 22),
    ]
    assert all(step["label"] in LABELS and 1 / 3 <= step["score"] <= 1 for step in first["steps"])
    assert "scores" not in first["steps"][0]
    assert (second["id"], third["id"]) == ("b.txt:1", "b.txt:3")
    two = run("tag", "b.txt", "--model", "tagger", "-k", "2", target=server.target)
    assert [len(step["scores"]) for line in json_lines(two.stdout) for step in line["steps"]] == [2, 2, 2]


def test_encode_writes_vectors(folder: Path, server: DocumentServer) -> None:
    """Of documents, or of each step; of text and of feature vectors; the same as the client gets."""
    features = [[0.5, -1.0, 2.0], [0.25, 0.0, 1.0]]
    (folder / "f.jsonl").write_text(
        json.dumps({"id": "x", "features": features, "series": features[:1]}) + "\n"
    )
    pooled = run("encode", "f.jsonl", "--model", "summary", target=server.target)
    with Client(server.target) as client:
        (expected,) = client.encode([Document("x", features=features)], model="summary")
    assert expected.hidden is not None
    assert json_lines(pooled.stdout) == [
        {"id": "x", "vector": pytest.approx(list(expected.hidden), abs=1e-6)}
    ]
    every = run("encode", "f.jsonl", "--model", "motion", "--every-step", target=server.target)
    (line,) = json_lines(every.stdout)
    assert [len(step["vector"]) for step in line["steps"]] == [16, 16]
    chosen = run(
        "encode", "f.jsonl", "--model", "motion", "--every-step", "--features", "series", target=server.target
    )
    assert len(json_lines(chosen.stdout)[0]["steps"]) == 1
    text = run(
        "encode",
        "-",
        "--format",
        "txt",
        "--model",
        "tagger",
        "--every-step",
        stdin="a star\n",
        target=server.target,
    )
    assert [step["text"] for step in json_lines(text.stdout)[0]["steps"]] == ["a", "star"]


def test_score_writes_likelihoods(folder: Path, server: DocumentServer) -> None:
    """Of each document with its perplexity; with --every-step of each token, which add up to it."""
    (folder / "a.txt").write_text("how are you\nI'm going home.\n")
    plain = json_lines(run("score", "a.txt", "--in-order", target=server.target).stdout)
    every = json_lines(run("score", "a.txt", "--in-order", "--every-step", target=server.target).stdout)
    assert [line["tokens"] for line in plain] == [3, 4]
    for line, steps in zip(plain, every, strict=True):
        assert line["perplexity"] == pytest.approx(
            math.exp(-line["log_likelihood"] / line["tokens"]), rel=1e-5
        )
        assert sum(step["log_probability"] for step in steps["steps"]) == pytest.approx(
            line["log_likelihood"], abs=1e-4
        )
    assert [step["text"] for step in every[1]["steps"]] == ["I'm", "going", "home", "."]


def test_predict_writes_values(folder: Path, server: DocumentServer) -> None:
    """Of the last step, or of each."""
    (folder / "f.jsonl").write_text('{"id": "x", "features": [[1, 2, 3], [4, 5, 6]]}\n')
    last = json_lines(run("predict", "f.jsonl", "--model", "motion", target=server.target).stdout)
    every = json_lines(
        run("predict", "f.jsonl", "--model", "motion", "--every-step", target=server.target).stdout
    )
    assert len(every[0]["steps"]) == 2
    assert every[0]["steps"][-1]["values"] == last[0]["values"]
    assert len(last[0]["values"]) == 2


def test_bad_rows_and_documents_fail_alone(folder: Path, server: DocumentServer) -> None:
    """With file, line and reason in the errors file; the others have results; exit code 1."""
    rows = [
        {"id": 1, "features": [[1, 2, 3]]},
        {"id": 2, "features": [[1, 2], [3]]},
        {"id": 3, "features": "none"},
        {"id": 4, "text": "no features"},
        {"id": 5, "features": [[1, 2]]},
        {"id": 6, "features": []},
        {"id": 7, "features": [[1, 2, "x"]]},
        {"id": 8, "features": [[1, 2, 3]] * 101},
        {"id": 9, "features": [[1, 2, float("nan")]]},
    ]
    (folder / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("predict", "f.jsonl", "--model", "motion", target=server.target)
    assert result.exit_code == 1
    assert [line["id"] for line in json_lines(result.stdout)] == [1]
    failed = {line["line"]: line["reason"] for line in json_lines((folder / "errors.jsonl").read_text())}
    assert failed.pop(2).startswith("I")
    assert failed.pop(7).startswith("I")
    assert failed == {
        3: "BAD_ROW",
        4: "BAD_ROW",
        5: "WRONG_WIDTH",
        6: "WRONG_WIDTH",
        8: "DOCUMENT_TOO_LONG",
        9: "FEATURES_NOT_FINITE",
    }
    cut = run("predict", "f.jsonl", "--model", "motion", "--truncate", target=server.target)
    assert {line["id"]: line.get("truncated") for line in json_lines(cut.stdout)} == {1: None, 8: True}


@pytest.mark.parametrize(
    ("command", "model", "told"),
    [
        ("tag", "topics", "use `gatehouse classify`"),
        ("tag", "keyboard", "is a language model, not a classifier"),
        ("tag", "summary", "is an encoder, not a classifier"),
        ("score", "tagger", "is a classifier, not a language model"),
        ("predict", "tagger", "is a classifier, not a regressor"),
        ("encode --every-step", "topics", "pools whole documents (mean, max)"),
        ("classify", "motion", "is a regressor, not a classifier"),
        ("encode", "nobody", "no model"),
    ],
)
def test_a_model_that_cannot_do_it_is_told_in_one_line(
    folder: Path, server: DocumentServer, command: str, model: str, told: str
) -> None:
    """What it is and what to use instead; exit code 2, and nothing is written."""
    (folder / "a.txt").write_text("a star\n")
    result = run(*command.split(), "a.txt", "--model", model, "-o", "out", target=server.target)
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (folder / "out").exists()
