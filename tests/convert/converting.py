"""`gatehouse models convert` as tests call it: what it prints, or the one line that it refuses with."""

from pathlib import Path

from click.testing import CliRunner
from gatehouse_server.convert.command import convert as command
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.model import LoadedModel

WORDS = ("--vocab", "numbers", "--unknown-token", "0")
"""What a model of tokens needs at least."""


def convert(source: Path, destination: Path, *options: str) -> str:
    """What a conversion that works prints."""
    result = CliRunner().invoke(command, [str(source), str(destination), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def converted(source: Path, destination: Path, *options: str) -> LoadedModel:
    """The model that a conversion makes, loaded."""
    output = convert(source, destination, *options)
    (folder,) = (line.split(maxsplit=1)[1] for line in output.splitlines() if line.startswith("  folder "))
    return load_folder(Path(folder))


def refusal(source: Path, destination: Path, *options: str) -> str:
    """The one line of a conversion that is refused. Nothing is left of it."""
    before = everything_under(destination)
    existed = destination.exists()
    result = CliRunner().invoke(command, [str(source), str(destination), *options], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert everything_under(destination) == before
    assert destination.exists() == existed
    return lines[0].removeprefix("gatehouse models convert: ")


def everything_under(folder: Path) -> dict[str, bytes | None]:
    """All files of a folder with their contents, hidden ones and empty folders included."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
