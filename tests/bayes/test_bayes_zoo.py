"""Every network of the zoo, converted at density 1 and without noise, computes the same as before, or is refused."""

from __future__ import annotations

import warnings
from dataclasses import is_dataclass

import pytest
import torch
from torch import Tensor

from szilard import SzilardError, SzilardWarning, bayes
from zoo.case import rows
from zoo.networks import ZOO

REFUSED = {
    "bare parameters": "name bare matrices",
    "Bayesian, its mean": "Bayesian already",
    "Bayesian CNN, its mean": "Bayesian already",
    "TorchScript, scripted": "TorchScript",
    "TorchScript, traced CNN": "TorchScript",
    "TorchScript, scripted LSTM": "TorchScript",
    "NaN in a weight": "holds NaN or infinite weights",
}
NOT_COMPARABLE = {"random outputs"}
SOME = {
    "MLP, LayerNorm", "ResNet", "LSTM on words", "TransformerEncoder on words", "EmbeddingBag", "Bilinear", "prune",
    "a weight read elsewhere", "Conv3d and ConvTranspose3d", "TorchScript, traced CNN",
}  # fmt: skip
TOLERANCE_16 = 2e-2  # relative to the largest output, for networks in 16 bits


def tensors(answer):
    if isinstance(answer, Tensor):
        return [answer.detach().double()] if answer.is_floating_point() else []
    if is_dataclass(answer):
        answer = vars(answer)
    parts = answer.values() if isinstance(answer, dict) else answer
    return [tensor for part in parts if part is not None for tensor in tensors(part)]


def ask(network, x):
    if isinstance(x, dict):
        return tensors(network(**x))
    return tensors(network(*x) if isinstance(x, tuple) else network(x))


def check(name):
    case = ZOO[name]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        network = case.finish(case.build().eval()).eval()
        x = rows(case.data().x, slice(0, 8))
        want = ask(network, x)
        if name in REFUSED:
            with pytest.raises(SzilardError, match=REFUSED[name]):
                bayes.bayesianize(network)
            return
        found = bayes.bayesianize(network)
        got = [ask(found, x)]
        with torch.no_grad():
            for weight in bayes.weights(found).values():
                weight.log_std.fill_(-30.0)
        with bayes.drawn(found, 1):
            got.append(ask(found, x))
        if not any(isinstance(module, bayes.BayesAttention) for module in found.modules()):
            got.append(ask(bayes.point_network(found), x))
    sixteen = any(p.dtype in (torch.float16, torch.bfloat16) for p in network.parameters())
    for answers in got if name not in NOT_COMPARABLE else ():
        for one, other in zip(answers, want, strict=True):
            largest = float(other.abs().max()) or 1.0
            assert float((one - other).abs().max()) <= (TOLERANCE_16 if sixteen else 1e-5) * largest, name


@pytest.mark.parametrize(
    "name", [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in ZOO]
)
def test_the_zoo(name):
    check(name)


def test_weights_of_the_zoo_that_stay_dense_are_named():
    for name in ("weight norm", "old spectral norm", "prune", "language model with tied decoder", "ViT"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = ZOO[name].finish(ZOO[name].build())
        with pytest.warns(SzilardWarning, match="stays? dense and without uncertainty"):
            bayes.bayesianize(network)
