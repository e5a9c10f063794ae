"""Files that are damaged, or meant to do harm: one line, no code run, nothing written, no memory filled."""

import io
import json
import os
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from tests.convert.converting import refusal


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def mapping(folder: Path) -> list[str]:
    """The option that names a mapping file, which is written; it asks for no array."""
    recurrent = {"cell": "gru", "input_size": 1, "hidden_size": 1}
    config = {"input": {"kind": "features", "size": 1}, "recurrent": recurrent}
    recipes = {name: {"value": 0.0} for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    parameters = {f"rnn.{name}_l0": recipe for name, recipe in recipes.items()}
    (folder / "map.json").write_text(json.dumps({"config": config, "parameters": parameters}))
    return ["--mapping", str(folder / "map.json")]


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_code_in_a_pickle_does_not_run(tmp_path, modern):
    """A state dict with something that runs when it is unpickled is refused, and has not run."""
    held = nn.LSTM(2, 3).state_dict() | {"harm": Harm(tmp_path / "mark")}
    torch.save(held, tmp_path / "m.pt", _use_new_zipfile_serialization=modern)
    line = refusal(tmp_path / "m.pt", tmp_path / "models")
    assert "posix.mkdir" in line
    assert not (tmp_path / "mark").exists()


def test_a_bare_pickle_does_not_run(tmp_path):
    """Nor does a plain pickle by the name of weights."""
    (tmp_path / "m.pt").write_bytes(pickle.dumps(Harm(tmp_path / "mark"), protocol=2))
    refusal(tmp_path / "m.pt", tmp_path / "models")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_a_pickled_module_is_told_how_to_be_saved(tmp_path, modern):
    """For a whole module the line says what saves it again properly."""
    torch.save(nn.LSTM(2, 3), tmp_path / "m.pt", _use_new_zipfile_serialization=modern)
    line = refusal(tmp_path / "m.pt", tmp_path / "models")
    assert "holds Python objects (torch.nn.modules.rnn.LSTM)" in line
    assert line.endswith('torch.save(module.state_dict(), "weights.pt")')


def test_a_program_is_told_how_to_be_saved(tmp_path):
    """A TorchScript archive is a program, and is not run either."""
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"):
            archive.writestr(name, b"")
    line = refusal(tmp_path / "m.pt", tmp_path / "models")
    assert "is a TorchScript program" in line
    assert 'torch.save(torch.jit.load("m.pt").state_dict(), "weights.pt")' in line


def test_what_unpacks_to_far_more_is_not_unpacked(tmp_path):
    """Archives that declare many times their size are refused before anything is read."""
    for name, entry in (("m.pt", "m/data.pkl"), ("m.npz", "weight.npy")):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(entry, bytes(100 * 2**20))
    assert "that would unpack to 104,857,600" in refusal(tmp_path / "m.pt", tmp_path / "models")
    line = refusal(tmp_path / "m.npz", tmp_path / "models", *mapping(tmp_path))
    assert "that would unpack to 104,857,600" in line


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 7, 50, 0.5, 0.99])
def test_truncated_files(tmp_path, suffix, kept):
    """A file that ends too early is told to be copied or saved again."""
    stream = io.BytesIO()
    torch.save(nn.LSTM(20, 30).state_dict(), stream)
    whole = stream.getvalue() if suffix == ".pt" else save(nn.LSTM(20, 30).state_dict())
    (tmp_path / f"m{suffix}").write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    line = refusal(tmp_path / f"m{suffix}", tmp_path / "models")
    assert "copy" in line or "save" in line


def test_a_truncated_legacy_file(tmp_path):
    """So is one of the format before archives."""
    stream = io.BytesIO()
    torch.save(nn.LSTM(20, 30).state_dict(), stream, _use_new_zipfile_serialization=False)
    for share in (0.05, 0.2, 0.7):
        (tmp_path / "m.pt").write_bytes(stream.getvalue()[: int(share * len(stream.getvalue()))])
        assert "damaged" in refusal(tmp_path / "m.pt", tmp_path / "models")


def test_a_legacy_file_that_names_numbers_it_lacks(tmp_path):
    """Tensors are told from their numbers by keys there, and one whose numbers have another key is damaged."""
    stream = io.BytesIO()
    torch.save(nn.LSTM(2, 3).state_dict(), stream, _use_new_zipfile_serialization=False)
    whole = stream.getvalue()
    key = next(
        each for each in pickletools.genops(whole[whole.rindex(b"]q\x00") :]) if each[0].name == "BINUNICODE"
    )[1]
    start = whole.index(str(key).encode())
    (tmp_path / "m.pt").write_bytes(whole[:start] + b"?" + whole[start + 1 :])
    assert "damaged" in refusal(tmp_path / "m.pt", tmp_path / "models")


def test_absurd_dimensions(tmp_path):
    """Tensors that claim more numbers than a file holds are refused, in each format."""
    header = b'{"weight_ih_l0":{"dtype":"F32","shape":[4000000000,4000000000],"data_offsets":[0,16]}}'
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    assert "is not readable" in refusal(tmp_path / "m.safetensors", tmp_path / "models")
    huge = {name: torch.zeros(1).expand(2**40, 2**10) for name in ("weight_ih_l0", "weight_hh_l0")}
    torch.save(huge, tmp_path / "m.pt")
    refusal(tmp_path / "m.pt", tmp_path / "models")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"{}", b"PK\x03\x04" + bytes(30), b"\x80\x02.", os.urandom(3) + bytes(999)]
)
@pytest.mark.parametrize("name", ["m.pt", "m.safetensors", "m.npz", "m.npy", "m", "m.txt"])
def test_files_of_something_else(tmp_path, name, content):
    """Whatever is called a model and is none is refused in one line."""
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name, tmp_path / "models")


def test_no_file(tmp_path):
    """A source that is not there is told."""
    assert "there is no such file" in refusal(tmp_path / "m.pt", tmp_path / "models")
    (tmp_path / "empty").mkdir()
    assert "is of no known format" in refusal(tmp_path / "empty", tmp_path / "models")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (np.array([{"a": 1}], dtype=object), "holds Python objects, which are never read"),
        (np.array(["text"]), "expected numbers"),
        (np.ones(3, dtype=complex), "expected numbers"),
    ],
)
def test_arrays_that_are_no_numbers(tmp_path, content, problem):
    """Arrays of objects are pickles, and are not opened; nor is anything else but real numbers."""
    np.savez(tmp_path / "m.npz", weight=content)
    assert problem in refusal(tmp_path / "m.npz", tmp_path / "models", *mapping(tmp_path))


def test_an_array_with_an_absurd_header(tmp_path):
    """An array that claims more than its file holds is refused before memory is asked for."""
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000), }"
    head += b" " * (118 - len(head) - 1) + b"\n"
    (tmp_path / "m.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64))
    line = refusal(tmp_path / "m.npy", tmp_path / "models", *mapping(tmp_path))
    assert "64,000,000,000,000,000,000 bytes, and 192 are there" in line
