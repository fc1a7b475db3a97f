"""Wrong arguments of szilard.deploy.compile are refused in one sentence each, and ensembles keep all uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deploy_networks import bayesian, inputs
from torch import nn

import szilard
from szilard import SzilardError, bayes, deploy, methods, networks
from szilard.deploy.backends import Job, exported
from szilard.deploy.graph import MomentsGraph
from szilard.deploy.uncertainty import Answer, OfClasses, OfQuantities
from szilard.errors import first_line

X = inputs(4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be a whole number of at least 1, not 0"),
        ({"threads": 1.5}, "threads must be a whole number"),
        ({"threads": 100_000}, "threads is 100000, and this process may use"),
        ({"batch": -1}, "batch must be a whole number of at least 1, not -1"),
        ({"batch": "a"}, "batch must be a whole number"),
        ({"samples": True}, "samples must be a whole number"),
        ({"samples": 8, "mode": "moments"}, "mode moments draws no samples"),
        ({"labels": ["a", "b"]}, "there are 2 labels for 4 outputs"),
        ({"labels": "abcd"}, "labels must be a list of names"),
        ({"calibration": -1.0}, "calibration must be positive and finite, not -1.0"),
        ({"calibration": 0}, "calibration must be positive and finite, not 0"),
        ({"calibration": float("inf")}, "calibration must be positive and finite, not inf"),
        ({"calibration": float("nan")}, "calibration must be positive and finite, not nan"),
        ({"calibration": "2"}, "calibration must be positive and finite, not '2'"),
        ({"inputs": 3}, "inputs is a int; give szilard.deploy.Units"),
        ({"mode": "ensemble"}, "mode ensemble takes several networks"),
        ({"mode": "all"}, "there is no mode 'all'"),
        ({"backend": "eager", "path": "x.onnx"}, "backend eager writes no file"),
        ({"path": "x.foo"}, "no suffix of a compiled file"),
        ({"backend": "onxx"}, "perhaps onnx"),
    ],
)
def test_wrong_options(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SzilardError, match=message):
        deploy.compile(
            bayesian(), X, **({"backend": "eager"} | options if "path" not in options else options)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("network", "example", "message"),
    [
        (lambda x: x, X, "network is a function"),
        ([], X, "no network"),
        (nn.Linear(2, 2).train(), torch.zeros(1, 2), "training mode"),
        (nn.Linear(2, 2).eval(), torch.zeros(1, 2).double(), "example has type float64"),
        (nn.Linear(2, 2).eval(), torch.tensor([[1.0, float("nan")]]), r"example is NaN at row, column \[0, 1\]"),
        (nn.Linear(2, 2).eval(), torch.zeros(0, 2), "at least one input"),
        (nn.Linear(2, 2).eval(), [[1.0, 2.0]], "example must be a torch.Tensor .* not <class 'list'>"),
        (nn.Linear(2, 2).eval(), np.zeros((1, 2)), "example must be a torch.Tensor .* not <class 'numpy.ndarray'>"),
        (nn.Sequential(nn.Linear(2, 2)).eval(), torch.zeros(1, 3), "layer '0', a linear layer, takes 2 features"),
    ],
)  # fmt: skip
def test_wrong_networks_and_examples(network, example, message):
    with pytest.raises(SzilardError, match=message):
        deploy.compile(network, example, backend="eager")


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.LSTM(3, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


@pytest.mark.parametrize("backend", ["eager", "onnx"])
def test_samples_of_an_operation_without_a_batched_form_are_computed_one_by_one(backend):
    if backend not in deploy.installed():
        pytest.skip("ONNX Runtime is not installed")
    method = methods.SSVI(n_data=10, density=1.0, seed=1)
    network = method.prepare(Recurrent(), "classification").eval()
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2))
    found = deploy.compile(network, x, mode="samples", samples=3, backend=backend)(x)
    wanted = method.predict(network, x, samples=3)
    torch.testing.assert_close(found.answer, wanted.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.epistemic, wanted.epistemic(), atol=1e-5, rtol=1e-3)


def test_arrays_that_hold_no_numbers():
    compiled = deploy.compile(nn.Linear(2, 2).eval(), torch.zeros(1, 2), backend="eager")
    with pytest.raises(SzilardError, match="array of type object"):
        compiled(np.array([[None, None]]))
    with pytest.raises(SzilardError, match="give its path"):
        deploy.load(3)


class Decides(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        y = self.layer(x)
        return y if y.sum() > 0 else -y


def test_control_flow_on_values_is_explained(capfd):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with pytest.raises(SzilardError, match=r"decides by the values of tensors; use torch\.where"):
        deploy.compile(Decides().eval(), torch.randn(2, 3), backend="onnx")
    assert capfd.readouterr().err == ""


def test_an_ensemble_of_bayesian_networks_is_the_mixture_of_their_moments():
    members = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = networks.WithNoise(nn.Linear(5, 1))
        given = {"network.weight": (net.network.weight.detach(), 0.3 * torch.ones(1, 5))}
        members.append(bayes.from_moments(net, given).eval())
    x = torch.randn(6, 5)
    found = deploy.compile(members, x, backend="eager", task="regression")(x)
    alone = [deploy.compile(member, x, backend="eager", task="regression")(x) for member in members]
    means = torch.stack([one.answer for one in alone])
    spread = torch.stack([one.epistemic for one in alone]).mean(0) + means.var(0, correction=0)
    torch.testing.assert_close(found.answer, means.mean(0))
    torch.testing.assert_close(found.epistemic, spread)
    assert (found.epistemic > alone[0].epistemic * 0.99).all()


def test_an_ensemble_of_bayesian_classifiers():
    first, second = bayesian(), bayesian("mlp:12")
    found = deploy.compile([first, second], X, backend="eager")(X)
    alone = [deploy.compile(one, X, backend="eager")(X) for one in (first, second)]
    torch.testing.assert_close(found.answer, (alone[0].answer + alone[1].answer) / 2)
    assert (found.epistemic >= (alone[0].epistemic + alone[1].epistemic) / 2 - 1e-6).all()
    torch.testing.assert_close(found.total, torch.special.entr(found.answer).sum(1))


def test_several_answers_by_hand():
    one = Answer(torch.tensor([[1.0, 0.0]]), torch.zeros(1), torch.zeros(1))
    other = Answer(torch.tensor([[0.0, 1.0]]), torch.zeros(1), torch.zeros(1))
    found = OfClasses(2).of_several([one, other])
    assert float(found.epistemic) == pytest.approx(np.log(2), rel=1e-6)
    values = [Answer(torch.tensor([v]), torch.tensor([0.5]), torch.tensor([0.25])) for v in (1.0, 3.0)]
    found = OfQuantities(1).of_several(values)
    assert [float(value) for value in found] == [2.0, 0.5, 1.25]


def test_a_point_has_no_epistemic_uncertainty():
    for backend in deploy.installed():
        if backend in ("native", "eager"):
            found = deploy.compile(
                networks.build("mlp:8", (3,), 4).eval(), torch.randn(5, 3), backend=backend
            )
            assert not found(torch.randn(5, 3)).epistemic.any()
    assert szilard.deploy is deploy


@pytest.mark.parametrize("conv", [False, True])
def test_a_bayesian_compression_network_is_traced_for_any_batch(conv):
    """Its scales of groups read the size of the batch, which must stay a symbol."""
    first = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()) if conv else nn.Flatten()
    method = methods.BayesianCompression(n_data=10)
    found = method.prepare(nn.Sequential(first, nn.Linear(72 if conv else 64, 3)), "classification").eval()
    graph = MomentsGraph(found, OfClasses(3, 1.0)).eval()
    x = torch.rand(5, 1, 8, 8)
    program = exported(Job(graph, x[:2], dynamic=True)).module()
    with torch.no_grad():
        for one, wanted in zip(program(x), graph(x), strict=True):
            torch.testing.assert_close(one, wanted)


def test_a_network_that_the_native_backend_cannot_trace_gets_another_one(monkeypatch):
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x) + 0 * self.layer.weight.sum()  # a native layer has no tensor of this name

    found = bayes.bayesianize(Own()).eval()
    with pytest.raises(SzilardError, match=r"native backend cannot trace the network: .*; choose another"):
        deploy.compile(found, torch.randn(2, 4), backend="native", mode="point")
    monkeypatch.setattr(deploy.backends, "installed", lambda: ["native", "eager"])
    assert deploy.compile(found, torch.randn(2, 4), mode="point").backend == "eager"


class AlwaysDrops(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(nn.functional.dropout(x, 0.5, training=True))


@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_random_numbers_in_eval_mode_are_the_reason(backend):
    with pytest.raises(SzilardError, match="draws random numbers in eval mode"):
        deploy.compile(AlwaysDrops().eval(), torch.ones(4, 4), backend=backend)


def test_whole_numbers_for_a_network_of_real_ones():
    conv = szilard.bayesianize(
        nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(6, 3)), density=1.0
    ).eval()
    for network, shape in ((nn.Linear(4, 3).eval(), (2, 4)), (conv, (2, 1, 4))):
        with pytest.raises(SzilardError, match=r"example has type int64, .*; give float32$"):
            deploy.compile(network, torch.ones(shape, dtype=torch.int64), backend="eager")
    words = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 3)).eval()
    deploy.compile(words, torch.ones(2, 2, dtype=torch.int64), backend="eager")
    with pytest.raises(SzilardError, match=r"does not run on inputs of shape|takes 8 features"):
        deploy.compile(words, torch.ones(2, 3, dtype=torch.int64), backend="eager")


def test_colours_of_a_terminal_are_left_out_of_messages():
    error = RuntimeError("\x1b[91;1mNo translation\x1b[0m of x\nmore")
    assert first_line(error) == "No translation of x"
