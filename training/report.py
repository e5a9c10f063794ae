"""What a training run leaves for its reader: a loss picture, a card, the name of the machine."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path


def hardware() -> str:
    """One line naming processor, cores seen and the system, for the card."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def plot_losses(
    path: Path,
    train: Sequence[float],
    valid: Sequence[float],
    title: str,
    *,
    train_x: Sequence[float] | None = None,
    valid_x: Sequence[float] | None = None,
    x_label: str = "epoch",
    y_label: str = "loss (nats)",
    best_x: float | None = None,
) -> None:
    """Write a picture of the training and validation loss to `path` (format by its suffix).

    Without `train_x` or `valid_x` the points stand at 1, 2, 3, ... . `best_x` marks the point whose
    weights were kept. Raises `ValueError` when values and places differ in number.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train_at = list(train_x) if train_x is not None else [float(i + 1) for i in range(len(train))]
    valid_at = list(valid_x) if valid_x is not None else [float(i + 1) for i in range(len(valid))]
    if len(train_at) != len(train) or len(valid_at) != len(valid):
        raise ValueError(
            f"expected a place for each of {len(train)} training and {len(valid)} validation losses, "
            f"got {len(train_at)} and {len(valid_at)}"
        )
    figure = Figure(figsize=(8, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(train_at, list(train), label="training", color="#7f7f7f", linewidth=1.5)
    axes.plot(valid_at, list(valid), label="validation", color="#1f77b4", marker="o", markersize=4)
    if best_x is not None:
        axes.axvline(best_x, color="#d62728", linestyle=":", label="kept weights")
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.savefig(path)


def write_card(path: Path, *, title: str, summary: str, sections: Sequence[tuple[str, str]]) -> None:
    """Write a model card in Markdown: a title, one paragraph, then (heading, body) sections in order."""
    parts = [f"# {title}\n\n{summary.strip()}\n"]
    parts.extend(f"\n## {heading}\n\n{body.strip()}\n" for heading, body in sections)
    path.write_text("".join(parts), encoding="utf-8")
