"""`gatehouse evaluate`: the figures against figures worked out here, by other means."""

from __future__ import annotations

import gzip
import json
import math
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from gatehouse.command.classifier_evaluation import figures_of
from gatehouse.v1 import online_pb2

from tests.client import fake_model
from tests.client.commands import run
from tests.client.fake_server import FakeServer
from tests.client.fake_status import abort, refusal

_SENTENCES = [
    "how are you doing today",
    "are you done",
    "xx are xx you",
    "i am done today i am doing today how are you doing today i am done i am",
    *["how are you"] * 80,
]


def _expected(sentences: list[str]) -> dict[str, float]:
    """The definition, word for word: every token and the end of each sentence are targets."""
    losses, first, third = [], 0, 0
    for sentence in sentences:
        targets = [*fake_model.encode(sentence), fake_model.END_ID]
        for place, target in enumerate(targets):
            tape = targets[:place]
            losses.append(-fake_model.log_probabilities(tape)[target])
            ranked = [token for token, _ in fake_model.best(tape, 10) if token not in (0, 1)]
            first += ranked[0] == target
            third += target in ranked[:3]
    return {
        "perplexity": math.exp(math.fsum(losses) / len(losses)),
        "top_1": first / len(losses),
        "top_3": third / len(losses),
    }


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_a_language_model_is_measured_as_defined(tmp_path: Path, server: FakeServer, packed: bool) -> None:
    """Perplexity and hit rates through the server equal the model's own, long sentences included."""
    text = "\n\n".join(_SENTENCES).encode() + b"\n"
    file = tmp_path / ("sentences.txt.gz" if packed else "sentences.txt")
    file.write_bytes(gzip.compress(text) if packed else text)
    result = run("evaluate", "keyboard", file, "--json", target=server.target)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    for name, value in _expected(_SENTENCES).items():
        assert figures[name] == pytest.approx(value, abs=1e-5), name
    assert figures["sentences"] == len(_SENTENCES)
    assert figures["tokens"] == sum(len(sentence.split()) + 1 for sentence in _SENTENCES)
    assert (figures["unknown_tokens"], figures["failed"]) == (2, 0)
    assert server.online.sessions == {}


def test_sentences_that_cannot_be_read_are_counted(tmp_path: Path, server: FakeServer) -> None:
    """A line that is not UTF-8 is told with its number and left out; exit code 1."""
    file = tmp_path / "sentences.txt"
    file.write_bytes(b"how are you\nhow \xff\n")
    result = run("evaluate", "keyboard", file, "--json", target=server.target)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["sentences"] == 1
    assert result.stderr == f"{file}, line 2: not valid UTF-8\n"


def test_a_server_that_goes_away_ends_the_evaluation(tmp_path: Path, server: FakeServer) -> None:
    """An evaluation whose sessions are lost ends in one line and exit code 2."""
    file = tmp_path / "sentences.txt"
    file.write_text("how are you\n")
    server.online.lose_sessions = True
    result = run("evaluate", "keyboard", file, target=server.target)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no session")
    assert result.stderr.count("\n") == 1


def test_sentences_are_read_as_they_come(tmp_path: Path, server: FakeServer) -> None:
    """Whoever writes a pipe waits until its first sentence was read by the server, and writes the next: both count."""
    pipe = tmp_path / "sentences.txt"
    os.mkfifo(pipe)
    arrived = threading.Event()

    def look(write: online_pb2.SessionWrite) -> None:
        if write.text == "are you done":
            arrived.set()

    def feed() -> bool:
        with pipe.open("w") as sentences:
            print("are you done", file=sentences, flush=True)
            in_time = arrived.wait(5)
            print("how are you", file=sentences)
        return in_time

    server.online.on_write = look
    with ThreadPoolExecutor(1) as pool:
        fed = pool.submit(feed)
        result = run("evaluate", "keyboard", pipe, "--json", target=server.target)
        assert fed.result(10)
    assert json.loads(result.stdout)["sentences"] == 2


def test_sessions_that_could_be_made_are_deleted_when_others_could_not(
    tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with room for 20 sessions is as empty afterwards as before."""
    begin = server.online._begin

    def begin_while_there_is_room(method: str, context: grpc.ServicerContext) -> None:
        if method == "CreateSession" and len(server.online.sessions) == 20:
            abort(context, refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", reason="SESSIONS_FULL"))
        begin(method, context)

    monkeypatch.setattr(server.online, "_begin", begin_while_there_is_room)
    file = tmp_path / "sentences.txt"
    file.write_text("how are you\n")
    result = run("evaluate", "keyboard", file, target=server.target)
    assert result.exit_code == 2
    assert (len(server.online.deleted), server.online.sessions) == (20, {})


def test_a_classifier_is_measured_on_labelled_rows(tmp_path: Path, server: FakeServer) -> None:
    """Accuracy and macro F1 of answers that are known, on columns that are found by themselves."""
    rows = ["label\tabstract", "animals\tanimals", "animals\tplants", "plants\tplants", "stones\tstones"]
    file = tmp_path / "labelled.tsv"
    file.write_text("\n".join(rows) + "\n")
    figures = json.loads(run("evaluate", "topics", file, "--json", target=server.target).stdout)
    assert figures["accuracy"] == 0.75
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert figures["labels"]["animals"] == {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "documents": 2}
    assert figures["documents"] == 4


def test_macro_f1_counts_labels_that_only_occur_as_answers() -> None:
    """A label never true but answered has F1 0 and lowers the mean."""
    figures = figures_of(Counter({("a", "a"): 2, ("a", "b"): 1}))
    assert figures.by_label["b"].f1 == 0
    assert figures.macro_f1 == pytest.approx(0.8 / 2)
    assert figures.accuracy == pytest.approx(2 / 3)


def test_rows_of_json_and_chosen_columns(tmp_path: Path, server: FakeServer) -> None:
    """`--label` and `--text` choose columns; documents that fail are told and left out; exit code 1."""
    file = tmp_path / "labelled.jsonl"
    records = [{"kind": "plants", "body": "plants"}, {"kind": "stones", "body": "fail"}, {"body": "x"}]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = run(
        "evaluate", "topics", file, "--label", "kind", "--text", "body", "--json", target=server.target
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["accuracy"] == 1.0
    assert sorted(result.stderr.splitlines()) == [
        f"{file}, line 2: text: bad",
        f"{file}, line 3: no field 'kind', but body; choose with --label",
    ]


def test_a_strange_label_is_pointed_out(tmp_path: Path, server: FakeServer) -> None:
    """A label that the model does not have is told once; its documents count as wrong."""
    file = tmp_path / "labelled.csv"
    file.write_text("label,text\ncars,plants\ncars,plants\nplants,plants\n")
    result = run("evaluate", "topics", file, "--json", target=server.target)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["accuracy"] == pytest.approx(1 / 3)
    assert result.stderr.count("'cars' is not a label of topics@1") == 1


def test_people_get_a_table(tmp_path: Path, server: FakeServer) -> None:
    """Without --json the figures are laid out for reading."""
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("label,text\nplants,plants\n")
    assert "accuracy  1.0000" in run("evaluate", "topics", labelled, target=server.target).stdout
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("how are you\n")
    assert "perplexity  " in run("evaluate", "keyboard", sentences, target=server.target).stdout


def test_a_file_without_labels_is_told(tmp_path: Path, server: FakeServer) -> None:
    """A classifier cannot be measured without a label column; the line names those there are."""
    file = tmp_path / "labelled.tsv"
    file.write_text("topic\ttext\nplants\tplants\n")
    result = run("evaluate", "topics", file, target=server.target)
    assert result.exit_code == 2
    assert "has no column 'label', but topic, text; choose with --label" in result.stderr


def test_an_empty_file_is_told(tmp_path: Path, server: FakeServer) -> None:
    """Nothing to measure is not a figure."""
    for name, model in (("a.txt", "keyboard"), ("a.jsonl", "topics")):
        (tmp_path / name).write_text("")
        result = run("evaluate", model, tmp_path / name, target=server.target)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
