"""Reading model.safetensors: container, names, shapes and values, each checked before a network is built of
them.
"""

import json
import re
from collections.abc import Mapping
from typing import BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000
"""As in the safetensors library."""
_STORED_TYPES = {torch.float32, torch.float16}
_BARE_RECURRENT = re.compile(r"\w+_l\d+(_reverse)?")
_NAMED = 4
"""How many names one line tells; the rest is counted."""


class WeightsError(ValueError):
    """The weights can't be used. `str` is one line with the problem; `remedy` says what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


def read_weights(content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in their stored types. Raises `WeightsError`."""
    _check_container(content)
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"is not readable ({error})", "save it again with safetensors.torch.save_file"
        ) from error


def match_weights(stored: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The float32 parameters named and shaped as `expected`.

    Accepts recurrent weights without the `rnn.` prefix, as a bare `nn.LSTM` has them, and a `head.weight`
    that repeats the embedding of a tied model. Raises `WeightsError` on anything missing, unknown, misshapen
    or not finite.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        full = f"rnn.{name}" if _BARE_RECURRENT.fullmatch(name) else name
        if full in renamed:
            raise WeightsError(f"holds {full} twice, with and without `rnn.`", "keep one of the two")
        renamed[full] = tensor
    _drop_tied_head(renamed, expected)
    unknown = sorted(renamed.keys() - expected.keys())
    missing = sorted(expected.keys() - renamed.keys())
    if missing or unknown:
        raise _names_differ(missing, unknown, expected)
    for name, shape in expected.items():
        got = tuple(renamed[name].shape)
        if got != shape:
            raise WeightsError(
                f"{name} has a shape unlike config.json's: expected {_shape(shape)}, got {_shape(got)}",
                "correct the size in config.json or save the weights of the model it describes",
            )
    return {name: _as_finite_float32(name, renamed[name]) for name in expected}


def is_pickle(start: bytes) -> bool:
    """Whether a file that begins so, with nine bytes or more, is one, or an archive of one, as `torch.save` writes.

    A safetensors file begins with the length of its header, which may look like a pickle; then comes a brace.
    """
    if start.startswith(b"PK\x03\x04"):
        return True
    return start.startswith(b"\x80") and start[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{"


def _check_container(content: bytes) -> None:
    """Tell apart the files that people put in its place, with what to do about each."""
    save = "save it with safetensors.torch.save_file(module.state_dict(), path)"
    if is_pickle(content):
        raise WeightsError("is a pickle (as torch.save writes it), which is never opened", save)
    if content.startswith(b"version https://git-lfs"):
        raise WeightsError("is a Git LFS pointer, not the weights", "fetch them with `git lfs pull`")
    if len(content) <= _LENGTH_BYTES:
        raise WeightsError(f"is truncated: {len(content)} bytes", "copy it again")
    header_end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    if content[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
        raise WeightsError("is not a safetensors file", save)
    if header_end > len(content):
        raise WeightsError(
            f"is truncated: expected {header_end} bytes of header, got {len(content)}", "copy it again"
        )
    expected = _end_of_data(content[_LENGTH_BYTES:header_end], header_end)
    if expected is None:
        raise WeightsError("is not a safetensors file: its header is damaged", save)
    if len(content) < expected:
        raise WeightsError(f"is truncated: expected {expected} bytes, got {len(content)}", "copy it again")


def _end_of_data(header: bytes, header_end: int) -> int | None:
    """Where the file ends by its header; None when that cannot be read."""
    try:
        entries = json.loads(header).items()
        ends = [entry["data_offsets"][1] for name, entry in entries if name != "__metadata__"]
        return header_end + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None


def check_file_size(start: BinaryIO, size_bytes: int) -> None:
    """Raises `WeightsError` for a file that is longer than its header says, before anybody reads the rest of it.

    What else is wrong with a file is found when it has been read.
    """
    length = start.read(_LENGTH_BYTES)
    header_bytes = int.from_bytes(length, "little")
    if header_bytes > _MOST_HEADER_BYTES:
        return
    end = _end_of_data(start.read(header_bytes), len(length) + header_bytes)
    if end is not None and size_bytes > end:
        raise WeightsError(
            f"is longer than its header says: expected {end} bytes, got {size_bytes}", "copy it again"
        )


def _drop_tied_head(renamed: dict[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    for part in ("", "decoder."):
        head, embedding = f"{part}head.weight", f"{part}embedding.weight"
        repeats = head in renamed and embedding in renamed and torch.equal(renamed[head], renamed[embedding])
        if repeats and head not in expected and embedding in expected:
            del renamed[head]


def _names_differ(
    missing: list[str], unknown: list[str], expected: Mapping[str, tuple[int, ...]]
) -> WeightsError:
    renames = [
        f"{stray} to {name}"
        for name in missing
        for stray in unknown
        if stray.endswith("." + name.split(".", 1)[1])
    ]
    problems = []
    if missing:
        problems.append("lacks " + _some([f"{name} {_shape(expected[name])}" for name in missing]))
    if unknown:
        problems.append("holds " + _some(unknown) + ", which config.json has no place for")
    if missing and unknown and len(renames) >= len(missing):
        remedy = "rename " + _some(renames)
    else:
        remedy = (
            "correct config.json (layers, bias, bidirectional, projection_size, head) "
            "or save the weights that it describes"
        )
    return WeightsError(" and ".join(problems), remedy)


def _as_finite_float32(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in _STORED_TYPES:
        given = str(tensor.dtype).removeprefix("torch.")
        raise WeightsError(
            f"{name}: expected float32 or float16, got {given}", "save it after module.float()"
        )
    values = tensor.to(torch.float32).contiguous()
    strays = int(values.numel() - torch.isfinite(values).sum())
    if strays:
        raise WeightsError(
            f"{name} holds {strays} values that are not finite",
            "training diverged or float16 overflowed: save an earlier checkpoint, or float32",
        )
    return values


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
