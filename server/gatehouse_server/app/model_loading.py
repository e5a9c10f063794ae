"""How models come to be served, at the start and later, and what the log says of it."""

from __future__ import annotations

import os
from functools import partial

import structlog
import torch

from gatehouse_server.app.arithmetic import choose_arithmetic, prepare_device
from gatehouse_server.app.failure import CannotStartError
from gatehouse_server.app.heap import return_free_memory
from gatehouse_server.errors import ModelFolderError, printable
from gatehouse_server.models.finding import EMBEDDED, find_folders
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.registry import FailedModel, Registry
from gatehouse_server.sessions.lane import SessionLane
from gatehouse_server.settings import Settings
from gatehouse_server.transport.model_change import ModelChange
from gatehouse_server.transport.model_loading import Loading

_log = structlog.get_logger(__name__)


def load_models(settings: Settings, device: str) -> Registry:
    """Loads all models, with a line in the log for each. Takes seconds: not for the event loop.

    Raises CannotStartError when there is nothing to serve, or the device has no use for the precision.
    """
    torch.set_num_threads(
        1
    )  # two threads for one operation stall when anything else runs, and change its bits
    # The tokenizer's own threads would take the cores from the engine; ours has one thread for texts.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    arithmetic = choose_arithmetic(settings, device)
    prepare_device(device, arithmetic)
    try:
        registry = Registry.load(
            settings.models,
            device,
            settings.fold_limit_bytes,
            arithmetic=arithmetic,
            embedded=EMBEDDED if settings.embedded_models else None,
            on_loaded=_tell,
        )
    except ModelFolderError as error:
        raise CannotStartError(f"--models: {error}") from error
    if not registry.models and not registry.failed:
        raise CannotStartError("there is no model to serve. Name a folder with --models DIR")
    return registry


def loading(settings: Settings, device: str, sessions: SessionLane) -> Loading:
    """How models come to be served once the server serves."""
    return Loading(
        find=partial(find_folders, settings.models, EMBEDDED if settings.embedded_models else None),
        load=partial(
            load_folder,
            device=device,
            fold_limit_bytes=settings.fold_limit_bytes,
            arithmetic=choose_arithmetic(settings, device),
        ),
        make_hosted=sessions.make_hosted,
        tidy=return_free_memory,
    )


def tell_change(change: ModelChange) -> None:
    """A line in the log for each model of which something became."""
    if change.change == "unchanged":
        return
    if change.problem:
        _log.error(f"model {change.change}", model=change.key, problem=change.problem)
        return
    facts: dict[str, object] = {"model": change.key}
    if change.fingerprint:
        facts |= {"fingerprint": change.fingerprint[:12], "seconds": round(change.load_seconds, 3)}
    if change.change != "loaded":
        facts["leaving_sessions"] = change.leaving_sessions
    _log.info(f"model {change.change}", **facts)


def _tell(outcome: LoadedModel | FailedModel) -> None:
    if isinstance(outcome, FailedModel):
        _log.error("model failed", model=outcome.key, path=printable(outcome.path), problem=outcome.problem)
    else:
        _log.info(
            "model loaded",
            model=outcome.key,
            task=outcome.config.task,
            parameters=outcome.parameter_count,
            arithmetic=outcome.network.arithmetic.name,
            reproducible=outcome.network.reproducible,
            memory_bytes=outcome.memory_bytes,
            seconds=round(outcome.load_seconds, 3),
        )
