"""What a source tree imports, read from its syntax: nothing is run."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

GENERATED = re.compile(r"_pb2(_grpc)?\.py$")
OURS = ("gatehouse", "gatehouse_server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Module `importer` imports `imported`, wherever in its source: inside functions too. Dotted names.

    `for_types`: below `if TYPE_CHECKING`, so read by type checkers and never run.
    """

    importer: str
    imported: str
    for_types: bool

    @property
    def package(self) -> str:
        """The top-level package that the import reaches."""
        return self.imported.partition(".")[0]

    @property
    def foreign(self) -> bool:
        """Whether that package is neither ours nor Python's own."""
        return self.package not in OURS and self.package not in sys.stdlib_module_names


def imports_under(source_root: Path) -> list[Import]:
    """Every import of every module below a source root, generated stubs left out."""
    modules = {
        path: _module_name(path.relative_to(source_root)) for path in sorted(source_root.rglob("*.py"))
    }
    known = set(modules.values())
    return [
        Import(importer=importer, imported=imported, for_types=for_types)
        for path, importer in modules.items()
        if not GENERATED.search(path.name)
        for imported, for_types in _imported(path, importer, known)
    ]


def foreign_packages(imports: Iterable[Import]) -> set[str]:
    """The packages of others among what is imported."""
    return {each.package for each in imports if each.foreign}


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, importer: str, known: set[str]) -> Iterator[tuple[str, bool]]:
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    unrun = {inner for node in ast.walk(tree) if _checks_types(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in unrun) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # `from package import name` may import a module or a name
                submodule = f"{origin}.{alias.name}"
                yield submodule if submodule in known else origin, node in unrun


def _checks_types(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        and not node.orelse
    )
