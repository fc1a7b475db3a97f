"""Predictions, scores and costs of a trained network, compared with independent computations."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

import szilard
from szilard import cost as costs
from szilard import metrics
from szilard.bayes import Weight
from szilard.data import DataSet, Split
from szilard.methods import Method
from szilard.metrics import Predictive
from zoo.case import Data, ask, rows
from zoo_training.lesson import IGNORED, LEARN, Lesson, judging, learning, probabilities
from zoo_training.prepared_checks import Wrong, near

DRAWS = 4
ALL, FEW = 1024, 40  # batch sizes


def predict(lesson: Lesson, method: Method, network: nn.Module, data: Data) -> None:
    """Predictions are finite and repeatable, do not depend on the batch size, and are valid probabilities.

    Predictions of a deterministic network must follow from its outputs.
    """
    before = network.training
    predictive = method.predict(network, data.x, samples=DRAWS)
    if network.training != before:
        raise Wrong("predict changed the mode of the network")
    values = _values(predictive)
    if values.shape[1] != len(data.y) or not bool(values.isfinite().all()):
        raise Wrong(
            f"predictions {list(values.shape)} are not finite or not one for each of {len(data.y)} inputs"
        )
    if predictive.probabilities is not None:
        _check_probabilities(values, data)
    if not torch.equal(values, _values(method.predict(network, data.x, samples=DRAWS))):
        raise Wrong("two calls with the same inputs give different predictions")
    parts = _values(method.predict(network, data.x, samples=DRAWS, batch_size=FEW))
    mixes = any(isinstance(m, nn.BatchNorm1d) and m.running_mean is None for m in network.modules())
    if not mixes and float((parts - values).abs().max()) > 1e-4 * max(1.0, float(values.abs().max())):
        raise Wrong("predictions depend on the batch size")
    if not any(isinstance(m, Weight) and m.log_std is not None for m in network.modules()):
        _check_point(lesson, network, data, predictive)


def _values(predictive: Predictive) -> Tensor:
    """Samples of probabilities or means, ``[S, N, ...]``."""
    values = predictive.probabilities if predictive.means is None else predictive.means
    assert values is not None
    return values


def _check_probabilities(values: Tensor, data: Data) -> None:
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise Wrong("probabilities lie outside [0, 1]")
    if data.kind != "multilabel" and float((values.double().sum(2) - 1).abs().max()) > 1e-4:
        raise Wrong("probabilities of an input do not sum to 1")


@torch.no_grad()
def _check_point(lesson: Lesson, network: nn.Module, data: Data, predictive: Predictive) -> None:
    mode = network.training
    output = ask(network.eval(), data.x).double()
    network.train(mode)
    values = _values(predictive)[0].double()
    if predictive.probabilities is not None:
        wanted = probabilities(lesson, data, output)
    else:
        wanted = output.reshape(len(output), -1)
        wanted = wanted[:, : values[0].numel()].reshape(values.shape)
    coarse = 1e-2 if output.dtype is torch.bfloat16 else 1e-4
    size = max(1.0, float(wanted.abs().max()))
    if wanted.shape != values.shape or float((wanted - values).abs().max()) > coarse * size:
        raise Wrong("predictions do not follow from the network's outputs")


def measure(lesson: Lesson, method: Method, network: nn.Module, whole: Data) -> None:
    """Scores of ``evaluate`` and of ``szilard.measure`` equal independently computed ones."""
    data = judging(whole)
    predictive = method.predict(network, data.x, samples=DRAWS)
    ignoring = data.kind == "class" and bool((data.y == IGNORED).any())
    reported = metrics.evaluate(predictive, data.y, **({"ignore_index": IGNORED} if ignoring else {}))
    for name, value in _scores(predictive, data).items():
        near(name, reported[name], value)
    plain = isinstance(data.x, Tensor) and data.x.is_floating_point() and data.kind == "class"
    if plain and data.y.dim() == 1 and not data.y.is_floating_point():
        measured, _ = szilard.measure(network, _data_set(whole), method=method, samples=DRAWS)
        for name, value in _scores(predictive, data).items():
            near(f"{name} of szilard.measure", measured[name], value)


def _scores(predictive: Predictive, data: Data) -> dict[str, float]:
    if predictive.means is not None:
        mean = predictive.means.double().mean(0)
        return {"rmse": float((mean - data.y.reshape(mean.shape).double()).square().mean().sqrt())}
    p = _values(predictive).double().mean(0)
    if p.shape == data.y.shape:
        there = data.y.bool()
        given = torch.where(there, p, 1 - p)
        return {
            "accuracy": float(((p > 0.5) == there).double().mean()),
            "nll": float(-given.clamp_min(1e-38).log().mean()),
        }
    p = p.movedim(1, -1)
    y = data.y.argmax(1) if data.y.is_floating_point() and data.y.dim() > 1 else data.y.long()
    y = y.reshape(p.shape[:-1])
    counted = y != IGNORED
    p, y = p[counted], y[counted]
    given = p.gather(1, y[:, None])[:, 0]
    return {
        "accuracy": float((p.argmax(1) == y).double().mean()),
        "nll": float(-given.clamp_min(1e-38).log().mean()),
        "brier": float((p.square().sum(1) - 2 * given + 1).mean()),
    }


def _data_set(data: Data) -> DataSet:
    judged = judging(data)
    test, train = Split(judged.x, judged.y.long()), learning(data)
    classes = tuple(str(i) for i in range(int(data.y[: 2 * LEARN].max()) + 1))
    whole = Split(train.x, train.y.long())
    zero, one = torch.zeros(()), torch.ones(())
    return DataSet("lesson", "classification", whole, test, test, None, None, classes, zero, one)


def cost(method: Method, network: nn.Module, original: nn.Module, x: Any) -> None:
    """Numbers of entries are correct; so are multiply-adds, if all layers can be counted here."""
    counted = count(network, rows(x, slice(0, 1)))
    supports = [m.support for m in network.modules() if isinstance(m, Weight)]
    inside = {id(p) for m in network.modules() if isinstance(m, Weight) for p in m.parameters()}
    others = sum(p.numel() for p in network.parameters() if id(p) not in inside)
    existing = others + sum(len(support.col) for support in supports)
    dense = others + sum(torch.Size(support.shape).numel() for support in supports)
    near("nonzeros", counted.nonzeros or 0, existing, 0)
    near("parameters", counted.parameters or 0, dense, 0)
    wanted = multiply_adds(original, rows(x, slice(0, 1)))
    if wanted is None:
        return
    if not supports:
        near("MACs", counted.macs or 0, wanted, 0)
    elif not 0 < (counted.macs or 0) <= wanted:
        raise Wrong(f"{counted.macs} MACs are reported of a sparse network whose dense one has {wanted}")


def count(network: nn.Module, x: Any) -> costs.Cost:
    """``cost.count`` of one example; by its shape, if it is one float tensor."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return costs.count(network, x.shape[1:])
    known = inspect.signature(costs.count).parameters
    for name in ("example", "inputs", "x"):
        if name in known:
            return costs.count(network, **{name: x})
    shapes: Any = x.shape[1:] if isinstance(x, Tensor) else _shapes(x)
    return costs.count(network, shapes)


def _shapes(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: tuple(t.shape[1:]) for name, t in x.items()}
    return tuple(tuple(t.shape[1:]) for t in x)


@torch.no_grad()
def multiply_adds(network: nn.Module, x: Any) -> int | None:
    """Multiply-adds of linear, convolution and recurrent layers; None if another layer has weights."""
    known = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LSTM, nn.GRU, nn.RNN)
    free = (
        nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.PReLU, nn.Embedding,
        nn.InstanceNorm2d,
    )  # fmt: skip
    total = 0

    def hook(module: Any, given: tuple[Tensor, ...], output: Any) -> None:
        nonlocal total
        if isinstance(module, nn.RNNBase):
            weights = [p.numel() for name, p in module.named_parameters() if name.startswith("weight")]
            total += sum(weights) * given[0].shape[1 if module.batch_first else 0]
        else:
            total += module.weight.numel() * output.numel() // output.shape[_channels(module)]

    handles = []
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if type(module) in known:
            handles.append(module.register_forward_hook(hook))
        elif own and type(module) not in free:
            return None
    mode = network.training
    try:
        ask(network.eval(), x)
    finally:
        network.train(mode)
        for handle in handles:
            handle.remove()
    return total


def _channels(module: nn.Module) -> int:
    return -1 if isinstance(module, nn.Linear) else 1
