"""`gatehouse models verify`: loads a model folder, tests the model, and tells its fingerprint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import structlog
import torch

from gatehouse_server.app.arithmetic import prepare_device
from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.fingerprint import FINGERPRINTED
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.self_test import Check, self_test
from gatehouse_server.network.arithmetic import FLOAT32


class _DefectError(click.ClickException):
    """The folder, or the model in it, has a defect. One line, exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@click.command(context_settings={"max_content_width": 110})
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where to compute."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def verify(folder: Path, device: str, as_json: bool) -> None:
    """Check and test the model in FOLDER, <name>/<version>, and print its fingerprint.

    Exit code 1 when the folder has a defect or a test fails.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("--device cuda: there is no GPU here that torch can use")
    torch.set_num_threads(1)  # as the server computes: what is proved to the bit holds for that
    prepare_device(device, FLOAT32)
    try:
        with _warnings_apart():
            model = load_folder(folder, device)
    except ModelFolderError as error:
        if as_json:
            click.echo(json.dumps({"folder": str(folder), "passed": False, "problem": str(error)}))
        raise _DefectError(str(error)) from error
    checks = [*_loaded(folder, model)]
    if not as_json:
        click.echo(f"model        {model.key}\nfingerprint  {model.fingerprint}")
        _tell(checks, model)
    for check in self_test(model):
        checks.append(check)
        if not as_json:
            _tell([check], model)
    failed = [check.name for check in checks if not check.passed]
    if as_json:
        click.echo(json.dumps(_as_dict(folder, model, checks), ensure_ascii=False))
    if failed:
        raise _DefectError(f"{folder}: {len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")


@contextmanager
def _warnings_apart() -> Iterator[None]:
    """Warnings of loading go to standard error: they would end up between the results."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(**before)


def _loaded(folder: Path, model: LoadedModel) -> list[Check]:
    """What loading found in order; it would have failed otherwise."""
    files = [
        f"{name} ({(folder / name).stat().st_size:,} bytes)"
        for name in FINGERPRINTED
        if (folder / name).is_file()
    ]
    return [
        Check(name="files", passed=True, told=", ".join(files)),
        Check(
            name="weights",
            passed=True,
            told=f"{len(model.parameters)} matrices, {model.parameter_count:,} parameters, "
            "shaped as config.json says, all finite",
        ),
    ]


def _tell(checks: list[Check], model: LoadedModel) -> None:
    width = max(len(part) for part in model.networks) + 13  # of "decoder reproducible"
    for check in checks:
        click.echo(f"{'ok' if check.passed else 'FAILED':<6} {check.name:<{width}} {check.told}")


def _as_dict(folder: Path, model: LoadedModel, checks: list[Check]) -> dict[str, object]:
    return {
        "folder": str(folder),
        "model": model.key,
        "fingerprint": model.fingerprint,
        "parameter_count": model.parameter_count,
        "reproducible": all(each.reproducible for each in model.networks.values()),
        "passed": all(check.passed for check in checks),
        "checks": [{"name": each.name, "passed": each.passed, "told": each.told} for each in checks],
    }
