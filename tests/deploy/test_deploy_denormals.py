"""Exported graphs compute with no denormal number, which some processors are slow with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import szilard
from szilard import bayes
from szilard.bayes.moments import gaussian
from szilard.deploy.backends import Job, onnx_runtime
from szilard.deploy.graph import MomentsGraph
from szilard.deploy.uncertainty import OfClasses

TINY = float(np.finfo(np.float32).tiny)


def denormals(values: np.ndarray) -> int:
    return int(((values != 0) & (np.abs(values) < TINY)).sum())


def sleepy() -> nn.Module:
    """Convolutions and layers of which most units are active at 5 to 40 deviations from their mean, so hardly ever."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(144, 64),
        nn.ReLU(),
        nn.Linear(64, 5),
    )
    found = szilard.bayesianize(network, density=1.0)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name.endswith("log_std"):
                parameter.fill_(-4.0)
            elif name.endswith("bias") and len(parameter) > 5:
                parameter.sub_(torch.linspace(0, 2, len(parameter)))
    return found.eval()


def test_no_number_of_a_graph_is_denormal():
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    graph = MomentsGraph(sleepy(), OfClasses(5)).eval()
    model = onnx.load_from_string(onnx_runtime.model_bytes(Job(graph, x, dynamic=False)))
    named = {value.name for value in model.graph.output}
    for node in model.graph.node:  # every intermediate result becomes an output
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in node.output if name and name not in named
        )
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(model.SerializeToString(), options)
    found = session.run(None, {"x": x.numpy()})
    assert len(found) > 80
    assert sum(denormals(value) for value in found if value.dtype == np.float32) == 0
    zeros = [float((value == 0).mean()) for value in found if value.shape[1:] == (64,)]
    assert max(zeros) > 0.3  # there are such units


def test_results_do_not_move():
    network = sleepy()
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    exact = bayes.propagate(network.double(), x.double())
    found = bayes.propagate(network.float(), x)
    for one, wanted in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), wanted, rtol=1e-5, atol=1e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_relu_far_from_zero(kind):
    far = 7.0 if kind == torch.float32 else 20.0
    deviations = torch.tensor([far - 0.01, far + 0.01, 13.5, 1e4], dtype=kind)
    one = torch.ones_like(deviations)
    mean, variance = gaussian.relu(-deviations, one)
    assert mean[0] > 0
    assert variance[0] > 0
    dead = deviations > far
    if kind == torch.float32:  # double precision has smaller normal numbers
        assert not mean[dead].any()
        assert not variance[dead].any()
    mean, variance = gaussian.relu(deviations, one)
    assert torch.equal(mean, deviations)
    torch.testing.assert_close(variance, one)
    top, spread = gaussian.maximum((deviations, 2 * one), (0 * one, one))
    torch.testing.assert_close(top, deviations)
    torch.testing.assert_close(spread[deviations > 12], 2 * one[deviations > 12])
