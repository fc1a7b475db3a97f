"""Inputs that a compiled network refuses, networks that are not compiled, and runtimes that are not installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from deploy_networks import bayesian, inputs
from torch import nn

from szilard import SzilardError, deploy


@pytest.fixture(scope="module")
def compiled():
    return deploy.compile(bayesian(), inputs(2), backend="eager")


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (torch.ones(2, 8, 8), r"shape \[2, 8, 8\]; this network was compiled for \[B, 1, 8, 8\]"),
        (torch.ones(2, 1, 8, 9), "shape"),
        (torch.ones(1), "shape"),
        (torch.tensor(1.0), "shape"),
        (torch.ones(2, 1, 8, 8, dtype=torch.float64), "type float64; this network was compiled for float32"),
        (torch.ones(2, 1, 8, 8, dtype=torch.uint8), "type uint8"),
        (np.ones((2, 1, 8, 8)), "type float64"),
        (torch.full((2, 1, 8, 8), float("nan")), r"NaN at index \[0, 0, 0, 0\]"),
        (torch.full((2, 1, 8, 8), float("inf")), r"infinite at index \[0, 0, 0, 0\]"),
        (torch.ones(0, 1, 8, 8), "empty batch"),
        ([[1.0]], "is a list"),
    ],
)
def test_inputs_of_another_kind(compiled, x, sentence):
    with pytest.raises(SzilardError, match=sentence):
        compiled(x)


def test_one_bad_entry_is_enough(compiled):
    x = inputs(3)
    x[2, 0, 5, 5] = float("nan")
    with pytest.raises(SzilardError, match="NaN"):
        compiled(x)


def test_another_batch_than_the_compiled_one():
    found = deploy.compile(bayesian(), inputs(2), backend="eager", batch=3)
    assert found(inputs(3)).answer.shape == (3, 4)
    with pytest.raises(SzilardError, match="batch of 2; this network was compiled for batches of 3"):
        found(inputs(2))


def test_numpy_and_transposed_inputs_are_the_same_numbers(compiled):
    x = inputs(4)
    wanted = compiled(x).answer
    assert torch.equal(compiled(x.numpy()).answer, wanted)
    assert torch.equal(compiled(x.transpose(2, 3).contiguous().transpose(2, 3)).answer, wanted)


def test_a_network_in_training_mode():
    with pytest.raises(SzilardError, match="training mode"):
        deploy.compile(bayesian().train(), inputs(2), backend="eager")


def test_a_network_with_nan():
    network = nn.Linear(3, 2).eval()
    with torch.no_grad():
        network.weight[0, 0] = float("nan")
    with pytest.raises(SzilardError, match="tensor weight holds NaN"):
        deploy.compile(network, torch.ones(1, 3), backend="eager")


@pytest.mark.parametrize(("name", "extra"), [("onnx", "onnx"), ("tvm", "tvm"), ("executorch", "executorch")])
def test_a_runtime_that_is_not_installed(monkeypatch, name, extra):
    found = importlib.util.find_spec
    hidden = ("onnx", "onnxruntime", "onnxscript", "tvm", "executorch")
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda one, *rest: None if one.split(".")[0] in hidden else found(one, *rest),
    )
    with pytest.raises(SzilardError, match=rf"pip install 'szilard\[{extra}\]'"):
        deploy.compile(bayesian(), inputs(2), backend=name)
    assert name not in deploy.installed()
    assert "eager" in deploy.installed()


def test_an_unknown_runtime():
    with pytest.raises(SzilardError, match=r"no backend 'onxx' \(perhaps onnx\)"):
        deploy.compile(bayesian(), inputs(2), backend="onxx")


def test_a_token_beyond_the_vocabulary_is_one_sentence():
    network = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
    compiled = deploy.compile(network, torch.zeros(2, 3, dtype=torch.long), backend="eager")
    with pytest.raises(SzilardError, match=r"cannot take this input: index out of range.*check its values"):
        compiled(torch.full((1, 3), 9))


@pytest.mark.parametrize("metadata", [{"a": 3}, {3: "a"}, "text"])
def test_metadata_are_text(metadata):
    with pytest.raises(SzilardError, match="metadata"):
        deploy.compile(nn.Linear(2, 2).eval(), torch.zeros(1, 2), backend="eager", metadata=metadata)


def test_metadata_say_what_the_file_takes():
    network, x = nn.Linear(2, 2).eval(), torch.zeros(1, 2)
    own = {"inputs": "two numbers", "site": "Davos"}
    assert deploy.compile(network, x, backend="eager").metadata["inputs"] == (
        "float32 [B, 2], as the network takes them"
    )
    units = deploy.Units(1.0, 2.0)
    assert (
        "in the units of the data"
        in deploy.compile(network, x, backend="eager", inputs=units).metadata["inputs"]
    )
    made = deploy.compile(network, x, backend="eager", metadata=own).metadata
    assert {name: made[name] for name in own} == own


def test_fractions_are_no_images_of_bytes():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    x = torch.randint(0, 256, (4, 3, 2, 2), generator=torch.Generator().manual_seed(0)).float()
    compiled = deploy.compile(network, x, backend="eager", image_range=(0.0, 255.0))
    compiled(x)
    compiled(torch.zeros(1, 3, 2, 2))  # a black image
    for other in (x / 255, x / 127.5 - 1):
        with pytest.raises(SzilardError, match=r"values in .*, and the training images have values in"):
            compiled(other)
