"""The layers hold: what may import what, read from the source of both packages."""

import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.imports import Import, foreign_packages, imports_under

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "client"
SERVER = ROOT / "server"

# From the bottom up. A module may import from its own row and from those before it.
LAYERS = (
    {"errors", "panics", "settings", "setting_types"},
    {"network"},
    {"models", "cells"},
    {"engine", "stores"},
    {"sessions"},
    {"telemetry"},
    {"transport"},
    {"app", "convert"},
)
WIRE = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google"}


def layer(module: str) -> str | None:
    """The layer's folder or file for a server module; None for the package itself and for the client's."""
    parts = module.split(".")
    return parts[1] if parts[0] == "gatehouse_server" and len(parts) > 1 else None


def rank(module: str) -> int:
    """How high a server module stands. Raises `LookupError` for one that belongs to no layer."""
    for height, names in enumerate(LAYERS):
        if layer(module) in names:
            return height
    raise LookupError(f"{module} belongs to no layer: move it into one, or give it a place in LAYERS")


def upward(source_root: Path) -> list[Import]:
    """Imports from a lower into a higher layer of the server."""
    return [
        each
        for each in imports_under(source_root)
        if layer(each.imported) and layer(each.importer) and rank(each.importer) < rank(each.imported)
    ]


@functools.cache
def imports_of(source_root: Path) -> list[Import]:
    """The imports of one of our source roots, read once."""
    return imports_under(source_root)


def of_layer(*names: str) -> list[Import]:
    """What the modules of these server layers import."""
    return [each for each in imports_of(SERVER) if layer(each.importer) in names]


def test_imports_of_the_server_point_down() -> None:
    """No module of the server imports from a layer above its own."""
    assert upward(SERVER) == []


@pytest.mark.parametrize(
    "statement",
    [
        "import gatehouse_server.sessions.tape",
        "from gatehouse_server.sessions.tape import Tape",
        "from gatehouse_server.sessions import tape",
        "from gatehouse_server import sessions",
        "from ..sessions import tape",
        "def late():\n    from gatehouse_server.sessions.tape import Tape",
    ],
)
def test_an_upward_import_is_found_in_every_form(tmp_path: Path, statement: str) -> None:
    """The check above sees absolute, relative and late imports, of packages, modules and names."""
    package = tmp_path / "gatehouse_server"
    for name in ("__init__.py", "sessions/__init__.py", "sessions/tape.py", "network/__init__.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    (package / "network" / "cell.py").write_text(statement, encoding="utf-8")
    assert {each.importer for each in upward(tmp_path)} == {"gatehouse_server.network.cell"}


def test_every_module_of_the_server_has_a_layer() -> None:
    """A module outside the layers fails here, so that its place is decided and not found later."""
    package = SERVER / "gatehouse_server"
    names = {path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")}
    assert names - {"__init__"} <= set().union(*LAYERS)


def test_the_client_knows_neither_server_nor_torch() -> None:
    """The library imports gRPC and protobuf alone; its command line adds the terminal's packages. The trace that the
    application is in is asked of OpenTelemetry, where that is imported already.
    """
    imports = [each for each in imports_of(CLIENT) if each.importer != "gatehouse.trace_context"]
    command = [each for each in imports if each.importer.startswith("gatehouse.command")]
    library = [each for each in imports if each not in command]
    wire = {"grpc", "grpc_status", "google", "typing_extensions"}
    assert foreign_packages(library) <= wire
    assert foreign_packages(command) <= wire | {"click", "matplotlib", "prompt_toolkit", "rich"}
    assert "gatehouse_server" not in {each.package for each in imports}


@pytest.mark.parametrize(
    "statement",
    [
        "from gatehouse import Client",
        "from gatehouse.aio import Client",
        "from gatehouse.command import classify, evaluate, main, models, suggest",
    ],
)
def test_importing_the_client_loads_neither_server_nor_torch(statement: str) -> None:
    """Nor does anything that the client imports bring them along."""
    script = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = set(result.stdout.split())
    assert "gatehouse" in loaded
    assert not loaded & {"torch", "numpy", "pydantic", "gatehouse_server"}


def test_errors_and_settings_stand_on_pydantic_alone() -> None:
    """The bottom layer imports the standard library and pydantic."""
    assert foreign_packages(of_layer("errors")) == set()
    assert foreign_packages(of_layer("settings")) <= {"pydantic", "pydantic_settings"}


def test_the_network_is_torch_alone() -> None:
    """The network layer imports torch and nothing else: no text, no sessions, no requests."""
    assert foreign_packages(of_layer("network")) == {"torch"}


@pytest.mark.parametrize("name", ["models", "engine", "sessions"])
def test_nothing_below_telemetry_knows_the_wire(name: str) -> None:
    """Models, engine and sessions import neither gRPC nor protobuf nor our stubs nor Prometheus."""
    imports = of_layer(name)
    assert not foreign_packages(imports) & (WIRE | {"prometheus_client"})
    assert "gatehouse" not in {each.package for each in imports}


def test_conversion_stands_on_models_and_networks() -> None:
    """What is converted is a folder: neither server nor sessions come along."""
    layers = {layer(each.imported) for each in of_layer("convert")} - {None}
    assert layers <= {"convert", "models", "network", "errors"}


def test_sessions_know_no_torch() -> None:
    """Sessions hold rows of the state table by number; only the engine's backend touches tensors."""
    assert "torch" not in foreign_packages(of_layer("sessions"))


def test_the_tick_policy_is_plain_python() -> None:
    """Who goes into the next tick is decided without torch, numpy or a clock of its own."""
    policy = [each for each in of_layer("engine") if each.importer == "gatehouse_server.engine.policy"]
    assert policy
    assert not {each.package for each in policy} & {"torch", "numpy", "time", "asyncio", "threading"}


def test_only_telemetry_knows_prometheus() -> None:
    """Metrics are made in one layer."""
    importers = [each.importer for each in imports_of(SERVER) if each.package == "prometheus_client"]
    assert {layer(importer) for importer in importers} == {"telemetry"}


def test_only_telemetry_knows_opentelemetry() -> None:
    """Traces are made in one layer, by modules that nothing imports before traces are asked for."""
    importers = [each.importer for each in imports_of(SERVER) if each.package == "opentelemetry"]
    assert {layer(importer) for importer in importers} == {"telemetry"}
    users = {each.importer for each in imports_of(SERVER) if each.imported in importers}
    assert users == {"gatehouse_server.app.tracing"}


def test_the_event_loop_never_sees_a_tensor() -> None:
    """Transport imports no torch: what it hands to the engine and gets back are plain objects."""
    assert "torch" not in foreign_packages(of_layer("transport"))


def test_imports_by_name_stay_in_the_client() -> None:
    """Imports made from strings escape the checks above: the client has them, for their own."""
    calls = re.compile(r"(?<![.\w])(__import__|exec|eval)\(|\bimport_module\(")
    dotted = re.compile(r"""["']((?:[a-z_]+\.)+[a-z_]+)(?::[a-z_]+)?["']""")
    sources = {
        path: path.read_text(encoding="utf-8") for root in (CLIENT, SERVER) for path in root.rglob("*.py")
    }
    importing = {path: source for path, source in sources.items() if calls.search(source)}
    lazy = CLIENT / "gatehouse"
    assert set(importing) <= {
        lazy / "__init__.py",
        lazy / "aio" / "__init__.py",
        lazy / "command" / "main.py",
    }
    for path, source in importing.items():
        assert {name.partition(".")[0] for name in dotted.findall(source)} == {"gatehouse"}, path


@pytest.mark.parametrize(
    ("source_root", "extras"), [(CLIENT, ("inspect", "otel")), (SERVER, ("server", "keras", "onnx", "otel"))]
)
def test_every_imported_package_is_declared(source_root: Path, extras: tuple[str, ...]) -> None:
    """Each import outside ours comes from a package that pyproject.toml names for that part."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    declared = {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in lines}
    origins = importlib.metadata.packages_distributions()
    run = [each for each in imports_of(source_root) if not each.for_types]
    for package in foreign_packages(run):
        names = {name.lower().replace("_", "-") for name in origins.get(package, ())}
        assert names & declared, f"{package} is imported and not declared in pyproject.toml"


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    """A file is named for its one idea."""
    drawers = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    paths = [
        path
        for name in ("benchmarks", "client", "server", "tests", "training")
        for path in (ROOT / name).rglob("*")
    ]
    assert [str(path) for path in paths if path.stem in drawers] == []
