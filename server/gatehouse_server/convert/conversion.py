"""A whole conversion: read, complete, write out of sight, load, compare, and only then put in its place."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gatehouse_server.convert.arrays import read_array
from gatehouse_server.convert.comparison import Difference, compare, compare_with_reference
from gatehouse_server.convert.completion import complete
from gatehouse_server.convert.port import ConversionError, ConvertedModel
from gatehouse_server.convert.request import CheckRequest, ConversionRequest
from gatehouse_server.convert.sources import source_of
from gatehouse_server.convert.writer import new_folder
from gatehouse_server.errors import ModelFolderError
from gatehouse_server.models.folder import load_folder
from gatehouse_server.models.model import LoadedModel
from gatehouse_server.models.sections import TokenInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was made of what. `differences`: one for each comparison; none where there was nothing to compare with."""

    source_name: str
    folder: Path
    model: LoadedModel
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    differences: tuple[Difference, ...]


def convert(request: ConversionRequest) -> Conversion:
    """Make the folder that was asked for. Raises ConversionError, and then nothing is left of it."""
    source = source_of(request.source, request.options)
    converted = source.read(request.source, request.options)
    contents = complete(converted, request)
    config = contents.config
    with new_folder(request.destination, config.name, config.version, force=request.force) as folder:
        folder.write(contents.files)
        try:
            model = load_folder(folder.path)
        except ModelFolderError as error:
            raise ConversionError(f"{error.path.name}: {error.problem}", error.remedy) from error
        differences = tuple(_compare(model, converted, request.check))
        for difference in differences:
            difference.check(request.check.tolerance)
        folder.write({"card.md": _card(request, source.name, contents.notes, converted, differences)})
        target = folder.finish()
    return Conversion(
        source_name=source.name,
        folder=target,
        model=model,
        notes=contents.notes,
        left_out=converted.left_out,
        differences=differences,
    )


def _compare(model: LoadedModel, converted: ConvertedModel, check: CheckRequest) -> list[Difference]:
    found = []
    if converted.reference is not None:
        found.append(compare_with_reference(model, converted.reference, check.seed))
    if (check.inputs is None) != (check.outputs is None):
        raise ConversionError("vectors need both --check-inputs and --check-outputs", "name both files")
    if check.inputs is not None and check.outputs is not None:
        inputs, expected = read_array(check.inputs), read_array(check.outputs).float()
        tokens = isinstance(model.config.input, TokenInput)
        inputs = inputs.long() if tokens else inputs.float()
        if inputs.dim() == (1 if tokens else 2):
            inputs, expected = inputs.unsqueeze(0), expected.unsqueeze(0)
        _check_vectors(model, inputs)
        found.append(compare(model, inputs, expected, form=check.form, against=str(check.outputs)))
    return found


def _check_vectors(model: LoadedModel, inputs: Tensor) -> None:
    section = model.config.input
    told = "(" + ", ".join(map(str, inputs.shape)) + ")"
    if isinstance(section, TokenInput):
        if inputs.dim() != 2 or inputs.numel() == 0:
            raise ConversionError(f"--check-inputs: expected token ids (B, T), got {told}", "save them so")
        if not 0 <= int(inputs.min()) <= int(inputs.max()) < section.vocabulary_size:
            raise ConversionError(
                f"--check-inputs: expected ids from 0 to {section.vocabulary_size - 1}, "
                f"got {int(inputs.min())} to {int(inputs.max())}",
                "save the ids that the model takes",
            )
    elif inputs.dim() != 3 or inputs.shape[2] != section.size or inputs.numel() == 0:
        raise ConversionError(
            f"--check-inputs: expected features (B, T, {section.size}), got {told}", "save them so"
        )


def _card(
    request: ConversionRequest,
    source_name: str,
    notes: tuple[str, ...],
    converted: ConvertedModel,
    differences: tuple[Difference, ...],
) -> bytes:
    lines = [f"# {request.name or request.source.stem}", "", request.description or "A converted model.", ""]
    lines += [f"Converted from `{request.source.name}` ({source_name}{_digest(request.source)}).", ""]
    lines += [f"- {note}" for note in notes]
    lines += [f"- left out: {part}" for part in converted.left_out]
    lines += [
        f"- {each.form} differ from {each.against}'s by at most {each.largest:.3g}" for each in differences
    ] or ["- not compared with anything"]
    return ("\n".join(lines) + "\n").encode()


def _digest(source: Path) -> str:
    if not source.is_file():
        return ""
    with source.open("rb") as file:
        return f", SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
