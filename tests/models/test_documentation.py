"""docs/model-format.md says what the code does."""

import json
import re
from pathlib import Path

import pytest
from gatehouse_server.models.config import ModelConfig
from gatehouse_server.models.fingerprint import FINGERPRINTED
from gatehouse_server.models.recurrent_section import Layer, Recurrent
from gatehouse_server.models.sections import FeatureInput, Head, Initial, TokenInput

PAGE = (Path(__file__).parents[2] / "docs" / "model-format.md").read_text(encoding="utf-8")


def test_example_makes_a_model_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example runs as printed, and prints what its comment says."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile("\n".join(blocks), "model-format.md", "exec"), {"__name__": "example"})
    (told,) = re.findall(r"# (greeting@1 .*)", PAGE)
    assert capsys.readouterr().out.strip() == told
    assert json.loads((tmp_path / "models/greeting/1/config.json").read_text())["name"] == "greeting"


@pytest.mark.parametrize("section", [ModelConfig, TokenInput, FeatureInput, Recurrent, Layer, Head, Initial])
def test_every_key_is_described(section: type[ModelConfig]) -> None:
    """Each key of config.json has a row in a table."""
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|")]
    described = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert set(section.model_fields) <= described


def test_every_file_is_described() -> None:
    """Each file that counts is in the folder's listing and in the section on fingerprints."""
    listing, _, rest = PAGE.partition("## From your own")
    for name in FINGERPRINTED:
        assert name in listing
        assert name in rest.partition("## Fingerprint")[2]
