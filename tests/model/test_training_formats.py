"""Files of other formats given as weights: the error names the format and what to do."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from cli_tools import szilard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import SzilardError, file
from szilard.model import formats, stored
from szilard.model.formats import Format


def saved(content, **how) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def tar(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 700
            archive.addfile(info, io.BytesIO(bytes(700)))
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.ones(3))
    return buffer.getvalue()


def field(number: int, content: bytes | int) -> bytes:
    """A field of a protobuf message."""

    def varint(value: int) -> bytes:
        return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])

    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


ONNX = (
    field(1, 8)
    + field(2, b"pytorch")
    + field(3, b"2.9")
    + field(7, bytes(range(256)) * 20)
    + field(8, b"\x10\x11")
)
FOREIGN = {
    "onnx": (ONNX, "an ONNX model; start from the network"),
    "onnx in another order": (field(7, b"x" * 300) + field(1, 10) + field(8, b""), "an ONNX model"),
    "onnx, truncated": (ONNX[:900], "an ONNX model"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file, as Keras writes; load it there"),
    "keras 3": (zipped(**{"metadata.json": b"{}", "model.weights.h5": b"x"}), "a Keras model"),
    "gguf": (b"GGUF" + struct.pack("<IQQ", 3, 10, 4), "a GGUF file"),
    "npz": (npz(), r"a NumPy archive \(.npz\); save its arrays"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(100), "a NumPy array"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "git lfs pull"),
    "html": (b"\n <!DOCTYPE html><html>404</html>", "a web page and not a file"),
    "html in capitals": (b"<HTML><body>login</body>", "a web page and not a file"),
    "json": (b'{"error": "not found"}', "a JSON file; give the file that has the weights"),
    "index": (json.dumps({"metadata": {}, "weight_map": {"w": "a.safetensors"}}).encode(), "an index of several"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "compressed by gzip; unpack it first"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(50), "compressed by zstd; unpack it first"),
    "old torch": (tar("sys_info", "pickle", "tensors", "storages"), "as torch wrote before version 0.1.10"),
    "tar": (tar("model_config.yaml", "model_weights.ckpt"), "is a tar archive; unpack it first"),
    "pickle": (pickle.dumps({"coef": [1.0]}), "a Python pickle, which is not loaded because that can run code"),
    "numpy pickle": (pickle.dumps({"w": np.ones(3)}, protocol=2), "a Python pickle"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(50), "a TensorFlow Lite model"),
    "zip": (zipped(readme=b"hello"), "a ZIP archive without PyTorch weights"),
    "package": (zipped(**{"p__.data__extern_modules": b"torch"}), "a torch.package archive"),
    "empty": (b"", "is empty; download or make it again"),
    "text": (b"import torch\n", "is not a file of weights; give a file that szilard or torch.save"),
    "cut torch": (saved(nn.Linear(30, 30).state_dict())[:3000], "is truncated or damaged; download or make it again"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_unsupported_formats_are_named(tmp_path, name, suffix):
    content, words = FOREIGN[name]
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    if suffix == ".safetensors" and name == "text":
        words = "is truncated: its header"
    typed = szilard(
        "compress", path, "--network", "mlp:3", "--no-data", "--input-shape", "3", "--outputs", "2"
    )
    typed.refused(words.replace("is not a file of weights", "is not a (file of weights|network)"))


def test_torch_export_programs_are_refused(tmp_path):
    program = torch.export.export(nn.Linear(3, 2), (torch.zeros(1, 3),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(SzilardError, match=r"a torch\.export program; load it with torch\.export\.load"):
        stored.read(tmp_path / "net.pt2")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_formats_are_recognised_by_content(tmp_path):
    from safetensors.torch import save

    state = nn.Linear(3, 2).state_dict()
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(3, 2)), script)
    for kind, content in {
        Format.TORCH: saved(state),
        Format.SAFETENSORS: save(dict(state)),
        Format.TORCHSCRIPT: script.getvalue(),
        Format.SZD: file.dumps(file.from_state_dict(state)),
    }.items():
        for suffix in (".pt", ".bin", ".szd", ".safetensors", ""):
            path = tmp_path / f"net{suffix}"
            path.write_bytes(content)
            assert formats.of(path) == kind
            assert list(stored.read(path).groups[""]) in (["weight", "bias"], ["bias", "weight"])
    (tmp_path / "old.pt").write_bytes(saved(state, _use_new_zipfile_serialization=False))
    assert formats.of(tmp_path / "old.pt") == Format.TORCH


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=600),
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x08\x08", ONNX[:40], tar("a")[:520]]),
)
def test_random_bytes_are_refused(tmp_path_factory, data, start):
    path = tmp_path_factory.getbasetemp() / "anything.pt"
    path.write_bytes(start + data)
    with pytest.raises(SzilardError):
        stored.read(path)
