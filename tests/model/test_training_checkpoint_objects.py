"""Checkpoints with objects, very long names and shared modules are read without running code."""

from __future__ import annotations

import argparse
import io
import pathlib
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from checkpoints import NET, STATE, equal, network
from torch import nn

from szilard import SzilardError
from szilard.model import stored, torch_file, torchscript
from szilard.model.saved_network import load_state, plain_state


def test_the_legacy_torch_format_with_objects(tmp_path):
    content = {"model": STATE, "args": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "net.pt", _use_new_zipfile_serialization=False)
    other = network(1)
    load_state(tmp_path / "net.pt", other, plain_state(tmp_path / "net.pt"))
    assert equal(other, NET)


def test_extremely_long_names_are_ignored():
    state = OrderedDict({"a." * 100_000: torch.ones(1), "w": torch.ones(1)})
    buffer = io.BytesIO()
    torch.save(state, buffer)
    assert stored.of(pathlib.Path("x"), state).groups == {"": {"w": state["w"]}}


def test_exponentially_shared_modules_are_refused():
    """Forty nested modules, each referenced twice, would give 2^40 tensors."""
    module = torch_file.Unread("__torch__.Leaf")
    module.attributes = {"weight": torch.ones(1)}
    for _ in range(40):
        outer = torch_file.Unread("__torch__.Twice")
        outer.attributes = {"one": module, "two": module}
        module = outer
    with pytest.raises(SzilardError, match="too many modules"):
        dict(torchscript.attributes(pathlib.Path("net.jit"), module, {}))


class Odd:
    """A class with attributes, whose code must not run when a file is read."""

    def __init__(self) -> None:
        self.settings = {"weights": torch.ones(3)}

    def __setstate__(self, state) -> None:
        raise AssertionError("ran")


class OddList(list):
    pass


class OddDict(dict):
    pass


def test_objects_in_a_checkpoint_are_skipped_and_not_run(tmp_path):
    odd = {
        "object": Odd(),
        "list": OddList([1, 2, 3]),
        "dict": OddDict(a=1, b=torch.ones(2)),
        "class": nn.Linear,
    }
    odd["default"] = defaultdict(list, {"a": [1]})
    odd["array"], odd["set"] = np.float32(2), {1, 2}
    for old in (False, True):
        torch.save({"model": STATE, **odd}, tmp_path / "net.pt", _use_new_zipfile_serialization=not old)
        other = network(1)
        load_state(tmp_path / "net.pt", other, plain_state(tmp_path / "net.pt"))
        assert equal(other, NET)
