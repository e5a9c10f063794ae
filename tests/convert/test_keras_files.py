"""Keras files that are damaged, or made to harm: one line, nothing written, nothing read that lies elsewhere."""

import contextlib
import json
import struct
import sys
import tracemalloc
import zipfile

import gatehouse_server.convert
import h5py
import numpy as np
import pytest
from gatehouse_server.convert.keras_source import KerasSource
from gatehouse_server.convert.port import ConversionError, SourceOptions

from tests.convert.converting import refusal
from tests.convert.keras_models import (
    random_arrays,
    recurrent,
    sequential,
    write_h5,
    write_keras,
    write_zip,
)


def lstm(name="lstm", inputs=2, **config):
    """A recurrent layer with weights for three units, whatever the arguments say."""
    arrays = random_arrays(np.random.default_rng(0), (inputs, 12), (3, 12), (12,))
    return recurrent("LSTM", name, arrays, **{"units": 3, **config})


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95])
def test_truncated_files(tmp_path, suffix, share):
    """A file that ends anywhere is told as such."""
    whole = (write_keras if suffix == "keras" else write_h5)(tmp_path / f"whole.{suffix}", [lstm()])
    content = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    line = refusal(path, tmp_path / "models")
    assert "is no whole" in line or "is empty" in line or "lacks" in line or "is truncated" in line


def test_bytes_changed_anywhere(tmp_path):
    """A damaged `.h5` is refused in one line, or its numbers alone are others; nothing else happens."""
    whole = bytearray(write_h5(tmp_path / "whole.h5", [lstm()]).read_bytes())
    rng = np.random.default_rng(0)
    path = tmp_path / "odd.h5"
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            damaged[place] = int(rng.integers(256))
        path.write_bytes(damaged)
        with contextlib.suppress(ConversionError):
            KerasSource().read(path, SourceOptions())


def _with_weights(tmp_path, change):
    """A `.h5` whose kernel is replaced by what `change(group, name)` makes."""
    path = write_h5(tmp_path / "model.h5", [lstm()])
    with h5py.File(path, "r+") as file:
        group = file["model_weights/lstm"]
        del group["lstm/kernel:0"]
        change(group, "lstm/kernel:0")
    return refusal(path, tmp_path / "models")


def test_links_out_of_the_file(tmp_path):
    """External links, links to elsewhere in the file and arrays kept elsewhere are not followed."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.zeros((2, 12), np.float32)

    def external_link(group, name):
        group[name] = h5py.ExternalLink(str(secret), "/kernel")

    def soft_link(group, name):
        group[name] = h5py.SoftLink("/model_weights/lstm/lstm/bias:0")

    def external_storage(group, name):
        (tmp_path / "raw").write_bytes(bytes(96))
        group.create_dataset(name, (2, 12), "f4", external=[(str(tmp_path / "raw"), 0, 96)])

    def virtual(group, name):
        layout = h5py.VirtualLayout((2, 12), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "kernel", (2, 12))
        group.create_virtual_dataset(name, layout)

    assert "is a link to" in _with_weights(tmp_path, external_link)
    assert "is a link to /model_weights/lstm/lstm/bias:0, not part of the file" in _with_weights(
        tmp_path, soft_link
    )
    assert "keeps its numbers in another file" in _with_weights(tmp_path, external_storage)
    assert "keeps its numbers in another file" in _with_weights(tmp_path, virtual)


def test_absurd_dimensions(tmp_path):
    """Arrays that declare much more than the file holds are not allocated."""
    units = 2**20

    path = write_h5(tmp_path / "model.h5", [lstm(units=units)])
    with h5py.File(path, "r+") as file:
        group = file["model_weights/lstm"]
        del group["lstm/kernel:0"]
        group.create_dataset(
            "lstm/kernel:0", (2**20, 4 * units), "f4", chunks=(1024, 1024), compression="gzip"
        )
    line = refusal(path, tmp_path / "models")
    assert "declares 17,592,186,044,416 bytes and holds 0" in line


def test_no_more_is_unpacked_than_what_is_declared(tmp_path):
    """An archive that declares less than it holds is no way around that."""
    path, held_bytes = tmp_path / "a.keras", 64 * 2**20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(sequential([lstm()])))
        archive.writestr("model.weights.h5", bytes(held_bytes))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # of the directory at the end, where the size is what counts
    content[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    tracemalloc.start()
    try:
        assert "is no whole zip archive" in refusal(path, tmp_path / "models")
        assert tracemalloc.get_traced_memory()[1] < held_bytes / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_archives_packed_in_another_way(tmp_path, method):
    """Nobody saves models so, and how much is unpacked could not be bounded."""
    path = write_keras(tmp_path / "a.keras", [lstm()])
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    assert "metadata.json is packed in an unusual way" in refusal(path, tmp_path / "models")


def test_zip_bombs(tmp_path):
    """An archive that would unpack to many times its size is not unpacked."""
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(sequential([lstm()])))
        archive.writestr("model.weights.h5", bytes(200 * 2**20))
    assert "would unpack to" in refusal(path, tmp_path / "models")


@pytest.mark.parametrize("name", ["../../outside.h5", "/etc/outside", "a\\..\\..\\outside"])
def test_entries_that_lead_out(tmp_path, name):
    """No entry of an archive may have a path that leaves it."""
    path = write_keras(tmp_path / "a.keras", [lstm()])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    assert "has an entry that leads out of the archive" in refusal(path, tmp_path / "models")


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        ({"metadata.json": "{}", "model.weights.h5": b""}, "has no config.json"),
        ({"config.json": "{}"}, "has no model.weights.h5"),
        ({"config.json": "{", "model.weights.h5": b"x"}, "its architecture is no JSON"),
        ({"config.json": "[]", "model.weights.h5": b"x"}, "its architecture is no JSON object"),
        ({"config.json": "[" * 100_000, "model.weights.h5": b"x"}, "its architecture is no JSON"),
        ({"config.json": "{}", "model.weights.h5": b"x"}, "is no whole HDF5 file"),
    ],
)
def test_archives_of_something_else(tmp_path, contents, told):
    """What is missing or unreadable in a `.keras` file is named."""
    write_zip(tmp_path / "a.keras", contents)
    assert told in refusal(tmp_path / "a.keras", tmp_path / "models")


def test_no_h5py(tmp_path, monkeypatch):
    """Without the extra, the line says what to install."""
    path = write_keras(tmp_path / "a.keras", [lstm()])
    for name in [name for name in sys.modules if name.startswith("gatehouse_server.convert.keras_file")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "gatehouse_server.convert.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    # The package still holds the module that was imported before.
    monkeypatch.delattr(gatehouse_server.convert, "keras_file", raising=False)
    assert "pip install 'gatehouse[keras]'" in refusal(path, tmp_path / "models")
