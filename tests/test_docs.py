"""What the documents say about the tree is true."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatehouse_server import errors
from gatehouse_server.errors import GatehouseError
from gatehouse_server.settings import Settings, flag_of

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SESSIONS = ROOT / "docs" / "sessions.md"
STORES = ROOT / "docs" / "operations.md"
NOT_OF_SESSIONS = (
    errors.GatehouseError,
    errors.InvalidInput,
    errors.ModelNotFound,
    errors.ModelFailed,
    errors.ModelFolderError,
    errors.ModelRequired,
    errors.StoreDefect,
    errors.Cancelled,
)
"""What is not about a session, or no client of one is told. Of bad input see INPUT_OF_SESSIONS."""
INPUT_OF_SESSIONS = {
    "POSITION_OUT_OF_RANGE",
    "STATE_NOT_FINITE",
    "OUTPUTS_TOO_LARGE",
    *(reason for reason in errors.InvalidInput.reasons if reason.startswith("EXPORT_")),
}
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def python_blocks(page: Path) -> list[str]:
    """The Python examples of a page, in order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    """Links between documents, and from them into the tree, are not broken."""
    missing = [
        link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()
    ]
    assert missing == []


def test_the_file_tree_in_the_readme_is_the_file_tree():
    """Every folder that the README describes exists, and no folder of the top level is left out."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.partition("## What is where")[2].split("```")[1]
    described, parents = [], []
    for line in tree.strip().splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        described.append("".join(parents))
    assert [path for path in described if not (ROOT / path).is_dir()] == []
    top = {path.split("/")[0] for path in described}
    here = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    assert here - top - {"build", "dist"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_example_is_python(page):
    """Examples can be compiled as they stand."""
    for number, block in enumerate(python_blocks(page)):
        compile(block, f"{page.name}, example {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_failure_of_a_session_is_explained():
    """The table of failures in sessions.md has a row for each reason that concerns sessions, and no other row."""
    kinds = [
        kind for kind in (GatehouseError, *descendants(GatehouseError)) if kind.__module__ == errors.__name__
    ]
    reasons = [reason for kind in kinds if kind not in NOT_OF_SESSIONS for reason in kind.reasons]
    table = section(SESSIONS, "What to do in each failure")
    told = re.findall(r"^\| `([A-Z_]+)` \|", table, flags=re.MULTILINE)
    assert sorted(told) == sorted([*reasons, *INPUT_OF_SESSIONS])


def test_what_the_pages_on_sessions_quote_is_there():
    """Flags, reasons and metrics that sessions.md and the section on state stores name are those of the code."""
    text = SESSIONS.read_text(encoding="utf-8") + section(STORES, "State stores")
    kinds = (GatehouseError, *descendants(GatehouseError))
    known = {reason for kind in kinds for reason in kind.reasons}
    flags = {flag_of(name) for name in Settings.model_fields} | {"--no-store-tokens"}
    assert set(re.findall(r"`(--[a-z-]+)", text)) - flags == set()
    endings = (
        "EXPIRED|DELETED|EVICTED|UNKNOWN|BEHIND|MOVED|CONFLICT|REFUSED|RETAINED|DAMAGED|LAGGING|UNAVAILABLE"
    )
    named = set(re.findall(rf"`([A-Z_]+_(?:{endings}))`", text))
    assert named
    assert named - known == set()
    metrics = set(
        re.findall(r"^\| `(gatehouse_\w+)` \|", STORES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert set(re.findall(r"`(gatehouse_\w+)", text)) - metrics == set()


def descendants(kind: type[GatehouseError]) -> Iterator[type[GatehouseError]]:
    """All classes below one."""
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def section(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    return page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
