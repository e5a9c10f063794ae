"""The dashboard: what is committed is what the code makes, and each panel shows data of a real server."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gatehouse import Client
from gatehouse.errors import GatehouseError

from benchmarks.prometheus_process import running_prometheus
from deploy.dashboard import PATH, rendered
from deploy.panel import Panel
from deploy.preview import Span, draw
from deploy.prometheus_api import Prometheus
from deploy.screens import NOT_SHOWN, SCREENS
from tests.deploy.patience import until
from tests.service.conftest import launch, stop
from tests.tiny import write_tiny_classifier, write_tiny_keyboard

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
PANELS = [panel for screen in SCREENS for panel in screen.panels]
WITHOUT_DATA = {"GPU's memory"}
"""Panels that have nothing to show on the machine that runs the tests."""


def test_the_committed_dashboard_is_that_of_the_code() -> None:
    """After a change, `python -m deploy.dashboard` was run."""
    assert PATH.read_text(encoding="utf-8") == rendered()


def test_grafana_finds_what_it_needs() -> None:
    """One row for each question, panels on the grid without overlaps, each with a unit and a description."""
    dashboard = json.loads(PATH.read_text(encoding="utf-8"))
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == [screen.question for screen in SCREENS]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {
        "source",
        "instance",
        "model",
    }


def test_every_metric_is_shown_or_left_out_on_purpose() -> None:
    """A metric that operators are told of is in a panel, or in the list of those that are not, with the reason."""
    documented = set(
        re.findall(r"^\| `(gatehouse_\w+)` \| \w+ \|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    )
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for panel in PANELS
        for query in panel.queries
        for name in re.findall(r"gatehouse_\w+", query.expression)
    }
    assert shown | NOT_SHOWN.keys() == documented
    assert not shown & NOT_SHOWN.keys()


def _load(target: str, ended: threading.Event) -> None:
    """Every kind of work, and some that fails, again and again."""
    with Client(target) as client:
        while not ended.wait(0.05):
            session = client.session("keyboard")
            session.write(tokens=[1, 2, 3], k=2)
            session.rewind(to=1)
            session.delete()
            client.suggest("hello wor", session="phone", model="keyboard")
            list(client.generate("hello", model="keyboard", max_steps=3))
            list(client.classify([("one", "hello world")], model="topics"))
            with pytest.raises(GatehouseError):
                client.session("nobody")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a server under load, which goes on."""
    folder = tmp_path_factory.mktemp("watched")
    write_tiny_keyboard(folder / "models" / "keyboard" / "1")
    write_tiny_classifier(folder / "models" / "topics" / "1")
    process, serving = launch(
        "--models",
        str(folder / "models"),
        "--no-embedded-models",
        "--state-store",
        f"sqlite:{folder / 'sessions'}",
    )
    ended = threading.Event()
    loading = ThreadPoolExecutor(max_workers=1)
    load = loading.submit(_load, serving["grpc"], ended)
    try:
        with running_prometheus(folder, [serving["http"]]) as watching:
            seen = "count_over_time(gatehouse_ready[1m]) > 10"
            until(lambda: load.done() or watching.now(seen), "ten scrapes were made")
            yield watching
    finally:
        ended.set()
        load.result(30)
        loading.shutdown()
        assert stop(process) == 0


SPAN = Span(begin=0, end=60, rate_window="10s")


@pytest.mark.parametrize("panel", PANELS, ids=[panel.title for panel in PANELS])
def test_every_panel_shows_data_of_a_real_server(panel: Panel, watched: Prometheus) -> None:
    """Each expression is one that Prometheus takes, and has values that are numbers."""
    for query in panel.queries:
        found = watched.now(SPAN.filled(query.expression))
        if panel.title in WITHOUT_DATA:
            continue
        numbers = [value for series in found for _, value in series.values if value == value]
        assert numbers, f"{query.expression} is empty"


def test_load_moves_the_panels(watched: Prometheus) -> None:
    """What is done is seen: steps, documents, generations, rewinds, failures of callers, stored changes."""
    for expression in (
        "sum(rate(gatehouse_online_steps_total[10s]))",
        "sum(rate(gatehouse_offline_documents_total[10s]))",
        "sum(rate(gatehouse_generated_steps_total[10s]))",
        'sum(rate(gatehouse_writes_total{event="rewound"}[10s]))',
        'sum(rate(gatehouse_operations_total{code="NOT_FOUND"}[10s]))',
        'sum(rate(gatehouse_store_seconds_count{call="apply"}[10s]))',
        'sum(rate(gatehouse_sessions_total{event="created"}[10s]))',
    ):
        ((_, value),) = watched.now(expression)[0].values
        assert value > 0, expression


def test_stages_add_up_to_the_whole(watched: Prometheus) -> None:
    """Of each kind of operation that all succeeded: waiting, computing and publishing are its time from end to end."""
    for kind in ("write", "suggest"):
        stages = f'sum(gatehouse_stage_seconds_sum{{operation="{kind}"}})'
        whole = f'gatehouse_result_seconds_sum{{operation="{kind}"}}'
        ((_, share),) = watched.now(f"{stages} / on () {whole}")[0].values
        assert share == pytest.approx(1, abs=1e-6)
        publish = f'gatehouse_stage_seconds_sum{{operation="{kind}", stage="publish"}}'
        ((_, least),) = watched.now(publish)[0].values
        assert least > 0


def test_the_preview_is_drawn(watched: Prometheus, tmp_path: Path) -> None:
    """The same panels in one picture, for those without Grafana."""
    ((now, _),) = watched.now("vector(1)")[0].values
    draw(watched, Span(begin=now - 30, end=now, rate_window="10s"), tmp_path / "dashboard.png")
    assert (tmp_path / "dashboard.png").read_bytes().startswith(b"\x89PNG")


def test_no_label_grows_with_what_strangers_send(watched: Prometheus) -> None:
    """A model that nobody has makes no series: the load asks for one all the time."""
    assert not watched.now('{__name__=~"gatehouse_.*", model="nobody"}')
