"""Writes the recording rules and alerts for Prometheus: `python -m deploy.rules`."""

from pathlib import Path
from typing import Final

import yaml

from deploy.alerts import ALERTS
from deploy.objectives import OBJECTIVES, WINDOWS

PATH: Final = Path(__file__).parent / "prometheus" / "gatehouse.rules.yml"
_HEADER = """\
# Made by `python -m deploy.rules` from deploy/objectives.py and deploy/alerts.py. Change them there.
# Each alert has a paragraph in docs/operations.md, under its name.
"""


def rendered() -> str:
    """The file's content."""
    lengths = list(dict.fromkeys(length for window in WINDOWS for length in (window.short, window.long)))
    groups = [
        {
            "name": "gatehouse-objectives",
            "rules": [objective.recording(length) for objective in OBJECTIVES for length in lengths],
        },
        {"name": "gatehouse-alerts", "rules": [alert.rule() for alert in ALERTS]},
    ]
    dumped: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=110, allow_unicode=True)
    return _HEADER + dumped


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(rendered(), encoding="utf-8")
