"""Checkpoints: atomic writes, and refusal of damaged or other files."""

from __future__ import annotations

import errno
import os
import pickle

import pytest
import torch

from szilard import SzilardError, atomic
from szilard.model import checkpoint

CONTENT = {
    "step": 3,
    "network": {"weight": torch.arange(5000.0)},
    "processes": [{"method": {1: [(torch.ones(2), 7)]}}],
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, "checkpoint", CONTENT)
    return path


def test_content_is_loaded_unchanged(path):
    found = checkpoint.load(path, "checkpoint")
    assert found["step"] == 3
    assert torch.equal(found["network"]["weight"], CONTENT["network"]["weight"])
    assert torch.equal(found["processes"][0]["method"][1][0][0], torch.ones(2))
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("keep", [4, 1000, 10_000, -1])
def test_a_truncated_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SzilardError, match=r"checkpoint.pt is truncated or damaged"):
        checkpoint.load(path, "checkpoint")


def test_a_flipped_byte_is_refused(path):
    content = bytearray(path.read_bytes())
    middle = content.index(torch.tensor([2500.0]).numpy().tobytes())
    content[middle] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(SzilardError, match="truncated or damaged"):
        checkpoint.load(path, "checkpoint")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x00" * 4096])
def test_a_file_that_is_not_a_checkpoint_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(SzilardError, match="is not a checkpoint"):
        checkpoint.load(path, "checkpoint")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SzilardError, match="there is no network"):
        checkpoint.load(tmp_path / "network.pt", "network")


def test_another_kind_of_file_is_refused(path):
    with pytest.raises(SzilardError, match="is a checkpoint, not a network"):
        checkpoint.load(path, "network")
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(SzilardError, match="is not a checkpoint of szilard"):
        checkpoint.load(path, "checkpoint")


class Hostile:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "network.pt"
    if how == "torch":
        torch.save({"szilard": "network", "format": 1, "x": Hostile()}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(SzilardError, match="can run code"):
        checkpoint.load(path, "network")
    assert not (tmp_path / "ran").exists()


def test_a_later_format_is_refused(path):
    torch.save({"szilard": "checkpoint", "format": 99}, path)
    with pytest.raises(SzilardError, match="later version of szilard"):
        checkpoint.load(path, "checkpoint")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_previous_file(path, monkeypatch, code, where):
    before = path.read_bytes()

    def fail(*_):
        raise OSError(code, os.strerror(code))

    if where == "write":
        real = open

        def opened(name, mode="r", *rest, **more):
            file = real(name, mode, *rest, **more)
            if mode == "wb":
                file.write(b"half a chec")
                fail()
            return file

        monkeypatch.setattr(atomic, "open", opened, raising=False)
    else:
        monkeypatch.setattr(atomic.os, where, fail)
    with pytest.raises(SzilardError, match="and is unchanged") as error:
        checkpoint.save(path, "checkpoint", {"step": 4})
    assert ("the disk is full" in str(error.value)) == (code != errno.EACCES)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]


def test_leftovers_of_a_killed_writer_are_removed(path):
    (path.parent / ".checkpoint.pt.4711.tmp").write_bytes(b"half")
    (path.parent / "mine.tmp").write_bytes(b"not ours")
    atomic.remove_leftovers(path.parent)
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint.pt", "mine.tmp"]


def test_shapes_and_settings_are_compared(path):
    with pytest.raises(SzilardError, match=r"another network: in the file b is missing"):
        checkpoint.check_shapes(path, {"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(1)})
    with pytest.raises(SzilardError, match=r"a has shape \[2\], in this network it has shape \[3\]"):
        checkpoint.check_shapes(path, {"a": torch.ones(2)}, {"a": torch.ones(3)})
    with pytest.raises(SzilardError, match="has no such tensor"):
        checkpoint.check_shapes(path, {"a": torch.ones(2), "c": torch.ones(2)}, {"a": torch.ones(2)})
    with pytest.raises(SzilardError, match="its seed is 0 and not 1"):
        checkpoint.check_belongs(path, {"lr": 0.1, "seed": 0}, {"lr": 0.1, "seed": 1})
