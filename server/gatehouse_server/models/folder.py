"""Loading a model folder: every file checked, every dimension compared, every defect told in one line."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.config import ConfigError, ModelConfig, parse_config
from gatehouse_server.models.files import read_files
from gatehouse_server.models.fingerprint import fingerprint
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.output_text import OutputText
from gatehouse_server.models.parts import Part, expected_shapes, joint_table, network_specs, parameters_of
from gatehouse_server.models.text_files import output_text, text_codec
from gatehouse_server.models.weights import WeightsError, match_weights, read_weights
from gatehouse_server.network.arithmetic import FLOAT32, Arithmetic
from gatehouse_server.network.network import DEFAULT_FOLD_LIMIT_BYTES, Network
from gatehouse_server.network.recording import NotRecordableError
from gatehouse_server.network.spec import NetworkSpec
from gatehouse_server.network.transducer import Transducer
from gatehouse_server.panics import as_defect

__all__ = ["DEFAULT_FOLD_LIMIT_BYTES", "ModelFolderError", "load_folder"]

_log = structlog.get_logger(__name__)


def load_folder(
    path: Path,
    device: str = "cpu",
    fold_limit_bytes: int = DEFAULT_FOLD_LIMIT_BYTES,
    *,
    arithmetic: Arithmetic = FLOAT32,
    clock: Callable[[], float] = time.perf_counter,
) -> LoadedModel:
    """Load the model in `path`, a folder `<name>/<version>`.

    Everything is read once, so that the fingerprint is that of what was loaded. Raises `ModelFolderError` on
    any defect: something missing, unreadable, inconsistent, truncated, or of another kind than it should be.
    """
    try:
        return _loaded(path, device, fold_limit_bytes, arithmetic, clock)
    except ModelFolderError:
        raise
    except BaseException as failure:  # of a cell or a library, anything: a folder harms no model but its own
        error = as_defect(failure)
        raise ModelFolderError(
            path,
            f"cannot be loaded ({type(error).__name__}: {error})",
            "correct config.json, save the other files again, or mend its cell",
        ) from error


def _loaded(
    path: Path,
    device: str,
    fold_limit_bytes: int,
    arithmetic: Arithmetic,
    clock: Callable[[], float],
) -> LoadedModel:
    started = clock()
    contents = read_files(path)
    config = _config(path, contents)
    text = text_codec(path, config, contents)
    output = output_text(path, config, contents)
    specs = network_specs(config)
    try:
        parameters = match_weights(read_weights(contents["model.safetensors"]), expected_shapes(specs))
    except WeightsError as error:
        raise ModelFolderError(path / "model.safetensors", str(error), error.remedy) from error

    def build(part: Part, spec: NetworkSpec) -> Network:
        own = parameters_of(part, parameters)
        return Network.build(
            spec, own, device=device, fold_limit_bytes=fold_limit_bytes, arithmetic=arithmetic
        )

    try:
        networks = {part: build(part, spec) for part, spec in specs.items()}
        for network in networks.values():
            _record(path, network)
    except Exception as error:  # of a cell that is somebody's own, anything
        raise ModelFolderError(
            path,
            f"the network could not be built on {device} ({type(error).__name__}: {error})",
            "correct config.json, or choose a device with room for it; or mend its cell",
        ) from error
    return LoadedModel(
        path=path,
        config=config,
        network=next(iter(networks.values())),
        text=text,
        transducer=None if output is None else _transducer(networks, output),
        output_text=output,
        fingerprint=fingerprint(contents),
        parameters=joint_table(specs),
        memory_bytes=sum(network.parameter_bytes + network.folded_bytes for network in networks.values()),
        card=_card(path / "card.md"),
        load_seconds=clock() - started,
    )


def _record(path: Path, network: Network) -> None:
    try:
        network.record()
    except NotRecordableError as failure:
        _log.warning("steps run operator by operator, which is slower", path=str(path), problem=str(failure))


def _card(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError as error:
        raise ModelFolderError(
            file, f"cannot be read ({error.strerror})", "make it readable for the server's user"
        ) from error


def _transducer(networks: Mapping[Part, Network], output: OutputText) -> Transducer:
    return Transducer(
        encoder=networks["encoder"],
        decoder=networks["decoder"],
        start_id=output.start_id,
        end_id=output.end_id,
        suppressed_ids=output.suppressed_ids,
    )


def _config(path: Path, contents: dict[str, bytes]) -> ModelConfig:
    try:
        config = parse_config(contents["config.json"])
    except ConfigError as error:
        raise ModelFolderError(
            path / "config.json", str(error), "correct it as docs/model-format.md describes"
        ) from error
    # absolute, not resolved: a link named after a version is that version.
    folder = path.absolute()
    for role, expected, got in (
        ("name", folder.parent.name, config.name),
        ("version", folder.name, config.version),
    ):
        if expected != got:
            raise ModelFolderError(
                path / "config.json",
                f"{role}: expected {expected!r} as the folder is named, got {got!r}",
                "rename the folder or correct config.json",
            )
    return config
