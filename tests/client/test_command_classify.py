"""`gatehouse classify`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.client.commands import json_lines, run
from tests.client.fake_server import FakeServer

_RECORDS = [("1", "animals a"), ("2", 'plants "b, c'), ("3", "stones d\u2028e")]


def _labels(output: str) -> list[tuple[object, str]]:
    return [(line["id"], line["label"]) for line in json_lines(output)]


def _jsonl(records: list[tuple[str, str]]) -> str:
    return "".join(
        json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n" for name, text in records
    )


def _table(separator: str) -> str:
    def field(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if separator == "," else text

    rows = ["id" + separator + "text", *(name + separator + field(text) for name, text in _RECORDS)]
    return "\n".join(rows) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in: errors.jsonl goes where one is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".jsonl", _jsonl(_RECORDS)),
        (".tsv", _table("\t")),
        (".csv", _table(",")),
        (".tab", "\ufeff" + _table("\t")),
    ],
)
def test_every_format_gives_the_same_results(
    folder: Path, server: FakeServer, suffix: str, content: str, packed: bool
) -> None:
    """.jsonl, .tsv and .csv, plain or gzip, with or without a byte order mark: same ids, same labels."""
    file = folder / f"documents{suffix}{'.gz' if packed else ''}"
    data = content.encode()
    file.write_bytes(gzip.compress(data) if packed else data)
    result = run("classify", file, "--in-order", target=server.target)
    assert result.exit_code == 0, result.output
    assert _labels(result.stdout) == [
        ("1", "animals"),
        ("2", "plants"),
        ("3", "stones"),
    ]
    assert not (folder / "errors.jsonl").exists()


def test_a_result_has_label_score_and_scores(folder: Path, server: FakeServer) -> None:
    """A line has id, label, score, and the scores by label, best first; ids keep their JSON type."""
    (folder / "a.jsonl").write_text('{"id": 7, "text": "plants"}\n')
    result = run("classify", "a.jsonl", target=server.target)
    assert json_lines(result.stdout) == [
        {
            "id": 7,
            "label": "plants",
            "score": 0.75,
            "scores": {"plants": 0.75, "animals": 0.2, "stones": 0.05},
        }
    ]
    one = run("classify", "a.jsonl", "-k", "1", target=server.target)
    assert json_lines(one.stdout)[0]["scores"] == {"plants": 0.75}


def test_lines_of_text_are_documents(folder: Path, server: FakeServer) -> None:
    """In .txt each line that is not empty is a document, its line number the id; of several files the name
    too.
    """
    (folder / "a.txt").write_text("plants\n\nstones\n")
    one = run("classify", "a.txt", "--in-order", target=server.target)
    assert _labels(one.stdout) == [(1, "plants"), (3, "stones")]
    both = run("classify", "a.txt", "a.txt", "--in-order", target=server.target)
    assert [line["id"] for line in json_lines(both.stdout)] == ["a.txt:1", "a.txt:3", "a.txt:1", "a.txt:3"]


def test_columns_are_chosen_or_found(folder: Path, server: FakeServer) -> None:
    """`--id` and `--text` choose columns; a text column called abstract is found."""
    (folder / "a.tsv").write_text("key\tabstract\ttitle\nk1\tplants\tstones\n")
    chosen = run("classify", "a.tsv", "--id", "key", "--text", "title", target=server.target)
    assert _labels(chosen.stdout) == [("k1", "stones")]
    found = run("classify", "a.tsv", target=server.target)
    assert _labels(found.stdout) == [(2, "plants")]


def test_standard_input(folder: Path, server: FakeServer) -> None:
    """`-` reads JSON lines from standard input, packed ones too, or what --format says."""
    for data in (_jsonl(_RECORDS).encode(), gzip.compress(_jsonl(_RECORDS).encode())):
        result = run("classify", "-", stdin=data, target=server.target)
        assert len(json_lines(result.stdout)) == 3
    result = run("classify", "-", "--format", "txt", stdin="plants\n", target=server.target)
    assert json_lines(result.stdout)[0]["label"] == "plants"


def test_quotation_marks_in_tsv_are_text(folder: Path, server: FakeServer) -> None:
    """A field of a .tsv that begins with a quotation mark ends at the tab, not at another mark."""
    (folder / "a.tsv").write_text('id\ttext\n1\t"plants\n2\tstones\n')
    result = run("classify", "a.tsv", target=server.target)
    assert sorted(line["id"] for line in json_lines(result.stdout)) == ["1", "2"]


def test_failed_documents_go_to_the_errors_file(folder: Path, server: FakeServer) -> None:
    """Bad rows and documents that fail are kept with file, line and reason; the others have results; exit
    code 1.
    """
    content = '{"id": "a", "text": "plants"}\nnot json\n{"id": "b", "text": "fail"}\n{"id": "c"}\n["list"]\n'
    (folder / "a.jsonl").write_text(content + '{"id": "d", "text": "\\ud800"}\n{"id": [1], "text": "x"}\n')
    result = run("classify", "a.jsonl", "-o", "out.jsonl", target=server.target)
    assert result.exit_code == 1
    assert [line["id"] for line in json_lines((folder / "out.jsonl").read_text())] == ["a"]
    failed = json_lines((folder / "out.jsonl.errors.jsonl").read_text())
    assert sorted((line["line"], line["reason"]) for line in failed) == [
        (2, "BAD_ROW"),
        (3, "TEXT_NOT_ENCODABLE"),
        (4, "BAD_ROW"),
        (5, "BAD_ROW"),
        (6, "BAD_ROW"),
        (7, "BAD_ROW"),
    ]
    assert all(line["file"] == "a.jsonl" and line["message"] for line in failed)
    assert "6 failed, see out.jsonl.errors.jsonl" in result.stderr


def test_errors_says_where_failures_go(folder: Path, server: FakeServer) -> None:
    """`--errors` names the file; without -o it would be errors.jsonl."""
    (folder / "a.txt").write_text("fail\n")
    run("classify", "a.txt", "--errors", "bad.jsonl", target=server.target)
    assert len(json_lines((folder / "bad.jsonl").read_text())) == 1
    run("classify", "a.txt", target=server.target)
    assert len(json_lines((folder / "errors.jsonl").read_text())) == 1


def test_rows_of_the_wrong_width_fail_alone(folder: Path, server: FakeServer) -> None:
    """A table row with too few columns is a failed document with its line, not the end of the run."""
    (folder / "a.csv").write_text("id,text\n1,plants\n2\n3,stones\n")
    result = run("classify", "a.csv", target=server.target)
    assert result.exit_code == 1
    assert sorted(line["id"] for line in json_lines(result.stdout)) == ["1", "3"]
    (failed,) = json_lines((folder / "errors.jsonl").read_text())
    assert (failed["line"], failed["message"]) == (3, "a.csv, line 3: 1 columns where the first line has 2")


def test_text_that_is_not_utf_8_fails_alone(folder: Path, server: FakeServer) -> None:
    """Bytes that are no UTF-8 make their row fail, and the rows around it do not."""
    (folder / "a.txt").write_bytes(b"plants\nstones \xff\nanimals\n")
    result = run("classify", "a.txt", target=server.target)
    assert sorted(line["id"] for line in json_lines(result.stdout)) == [1, 3]
    (failed,) = json_lines((folder / "errors.jsonl").read_text())
    assert (failed["line"], failed["message"]) == (2, "a.txt, line 2: not valid UTF-8")


def test_ids_need_not_be_unique(folder: Path, server: FakeServer) -> None:
    """A file may use an id twice; both documents have a result."""
    (folder / "a.jsonl").write_text(_jsonl([("same", "plants"), ("same", "stones")]))
    result = run("classify", "a.jsonl", "--in-order", target=server.target)
    assert _labels(result.stdout) == [("same", "plants"), ("same", "stones")]


def test_max_failures_stops_the_run(folder: Path, server: FakeServer) -> None:
    """One failure more than allowed ends the run with exit code 3; as many as allowed do not."""
    (folder / "a.txt").write_text("fail\nfail\nplants\n")
    stopped = run("classify", "a.txt", "--max-failures", "1", target=server.target)
    assert stopped.exit_code == 3
    assert "more than 1 documents failed; see errors.jsonl" in stopped.stderr
    assert run("classify", "a.txt", "--max-failures", "2", target=server.target).exit_code == 1


def test_truncate(folder: Path, server: FakeServer) -> None:
    """`--truncate` cuts a document over the limit and marks its line."""
    (folder / "a.txt").write_text("plants " + "x" * 3_100_000 + "\n")
    assert run("classify", "a.txt", target=server.target).exit_code == 1
    result = run("classify", "a.txt", "--truncate", target=server.target)
    assert json_lines(result.stdout)[0]["truncated"] is True


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.jsonl", None, "missing.jsonl: no such file"),
        ("a.pdf", b"", "a.pdf: cannot tell its format from its name; pass --format jsonl|tsv|csv|txt"),
        (
            "a.tsv",
            b"id\tbody\n1\tx\n",
            "a.tsv: has no column 'text' or 'abstract', but id, body; choose with --text",
        ),
        (
            "a.txt.gz",
            gzip.compress(b"plants\n" * 100, mtime=0)[:-9],
            "a.txt.gz, line 101: cannot be read: Compressed file ended",
        ),
    ],
)
def test_files_that_cannot_be_used_are_told_in_one_line(
    folder: Path, server: FakeServer, name: str, content: bytes | None, told: str
) -> None:
    """What is wrong with a file stands in one line that names it; exit code 2."""
    if content is not None:
        (folder / name).write_bytes(content)
    result = run("classify", name, target=server.target)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {told}")
    assert result.stderr.count("\n") == 1


def test_a_column_is_checked_before_anything_is_sent(folder: Path, server: FakeServer) -> None:
    """A wrong --id in the second file ends the command before the first one is classified."""
    (folder / "a.tsv").write_text("id\ttext\n1\tplants\n")
    (folder / "b.tsv").write_text("key\ttext\n1\tplants\n")
    result = run("classify", "a.tsv", "b.tsv", "--id", "id", target=server.target)
    assert result.exit_code == 2
    assert "b.tsv: has no column 'id', but key, text; choose with --id" in result.stderr
    assert server.offline.documents_seen == 0


def test_an_output_that_is_an_input_is_refused(folder: Path, server: FakeServer) -> None:
    """Writing over an input file is refused before it is emptied."""
    (folder / "a.jsonl").write_text(_jsonl(_RECORDS))
    result = run("classify", "a.jsonl", "-o", "a.jsonl", target=server.target)
    assert result.exit_code == 2
    assert (folder / "a.jsonl").read_text() == _jsonl(_RECORDS)


def test_another_kind_of_model_is_told(folder: Path, server: FakeServer) -> None:
    """Classifying with a language model is refused by name."""
    (folder / "a.txt").write_text("plants\n")
    result = run("classify", "a.txt", "--model", "keyboard", target=server.target)
    assert result.exit_code == 2
    assert "keyboard is a language model, not a classifier" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--errors", "a.jsonl"], "a.jsonl: is an input file too; choose another with --errors"),
        (["-o", "a.jsonl"], "a.jsonl: is an input file too; choose another with -o"),
        (
            ["-o", "b.jsonl", "--errors", "./b.jsonl"],
            "b.jsonl: results and failed documents need a file each",
        ),
    ],
)
def test_no_file_is_written_while_it_is_read(
    folder: Path, server: FakeServer, options: list[str], told: str
) -> None:
    """Results and failed documents go to files of their own; a clash is told before anything is written."""
    content = _jsonl([("1", "plants"), ("2", "fail")])
    (folder / "a.jsonl").write_text(content)
    result = run("classify", "a.jsonl", *options, target=server.target)
    assert result.exit_code == 2
    assert told in result.stderr
    assert (folder / "a.jsonl").read_text() == content


def test_an_errors_file_that_cannot_be_written_is_named_with_its_option(
    folder: Path, server: FakeServer
) -> None:
    """The message says which option to change."""
    (folder / "a.txt").write_text("fail\n")
    result = run("classify", "a.txt", "--errors", "missing/errors.jsonl", target=server.target)
    assert result.exit_code == 2
    assert "missing/errors.jsonl: cannot be written" in result.stderr
    assert "--errors" in result.stderr
