"""docs/cells.md says what cells compute here, and what was measured."""

import json
import re

import pytest
from gatehouse_server.models.recurrent_section import Recurrent
from gatehouse_server.network.general_gru import GeneralGRU
from gatehouse_server.network.general_lstm import GeneralLSTM
from gatehouse_server.network.general_rnn import GeneralRNN
from gatehouse_server.network.registry import cell_class

from benchmarks.report import CELLS_PAGE
from benchmarks.report_cells import rendered
from benchmarks.report_cells_claims import claims
from benchmarks.report_cells_results import CellResults
from benchmarks.report_results import Results

PAGE = CELLS_PAGE.read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| ([^|]+) \| `(\{.*?\})`(?: or `(\w+)`)? \| (yes|no) \| `(.*)` \|$", PAGE, flags=re.MULTILINE
)
GENERAL = (GeneralLSTM, GeneralGRU, GeneralRNN)


@pytest.fixture(scope="module")
def results():
    """The committed ones."""
    return Results.read()


def layer_of(section, **more):
    return (
        Recurrent.model_validate({**section, "input_size": 40, "hidden_size": 128, **more}).spec().layers[0]
    )


@pytest.mark.parametrize(
    ("name", "section", "other_name", "quick", "count"), ROWS, ids=[row[0] for row in ROWS]
)
def test_the_table_of_cells_is_true(name, section, other_name, quick, count):
    """Each section makes a cell, quick or not as the page says, with as many parameters as its formula gives."""
    layer = layer_of(json.loads(section))
    sizes = {"N": 40, "H": 128, "P": layer.projection_size, "R": layer.step_size}
    shapes = layer.parameter_shapes("forward").values()
    parameters = sum(shape[0] * (shape[1] if len(shape) == 2 else 1) for shape in shapes)
    assert eval(count, {"__builtins__": {}}, sizes) == parameters
    assert issubclass(layer.kind("forward"), GENERAL) == (quick == "no")
    if other_name:
        assert cell_class(other_name) is layer.kind("forward")


def test_the_table_of_cells_has_every_cell():
    """And every row of it was found."""
    table = PAGE.partition("## Which is quick")[2].partition("## What they are worth")[0]
    assert len(ROWS) == len([line for line in table.splitlines() if line.startswith("|")]) - 2 == 11


def test_every_option_of_a_cell_is_told():
    """Whatever the section `recurrent` may say of what a cell computes is on the page."""
    keys = set(Recurrent.model_fields) - {
        "input_size",
        "layers",
        "hidden_size",
        "options",
        "reverse",
        "bidirectional",
    }
    assert {key for key in keys if key not in PAGE} == set()


def test_the_page_tells_the_committed_results(results):
    """Its measured part is what the results give: `python -m benchmarks.report` writes it anew."""
    assert rendered(PAGE, results) == PAGE


def test_another_measurement_makes_another_page(results):
    """Nothing of the measured part is taken from the page."""
    changed = json.loads(json.dumps(dict(results.files)))
    for row in changed["cells"]["training"]["results"]:
        row["parameters"] += 1
    assert rendered(PAGE, Results(changed)) != PAGE


def test_textbooks_are_judged_by_what_was_measured(results):
    """A vanilla RNN that reads as far as the others would contradict them."""
    changed = json.loads(json.dumps(dict(results.files)))
    for row in changed["cells"]["training"]["results"]:
        if row["task"] == "topics":
            row["accuracy"] = 0.8
    said = {claim.source: claim.same for claim in claims(CellResults.of(Results(changed)))}
    assert said["Bengio et al. 1994, Hochreiter and Schmidhuber 1997"] is False
    assert said["Graves and Schmidhuber 2005"] is False


def test_the_rates_of_the_committed_results_are_the_best_ones(results):
    """Each network was trained at the rate with the least held-out loss of its kind."""
    training = results["cells"]["training"]
    for row in training["results"]:
        kind = "lstm" if row["kind"] == "bilstm" else row["kind"]
        tried = [each for each in training["tuning"] if (each["task"], each["kind"]) == (row["task"], kind)]
        assert row["learning_rate"] == min(tried, key=lambda each: each["held_out_loss"])["learning_rate"]


def test_every_picture_of_the_page_is_drawn(results, tmp_path):
    """What the page shows from the folder of pictures is what `report` draws, and nothing else is drawn."""
    from benchmarks.report_cells_plots import draw_all

    drawn = {file.name for file in draw_all(results, tmp_path) if file.stat().st_size > 10_000}
    assert drawn == set(re.findall(r"\]\(images/([\w-]+\.png)\)", PAGE))
