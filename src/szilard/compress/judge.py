"""How good a compressed network is, where the user does not say."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from szilard.compress.calibration import Calibration


def judge(original: nn.Module, data: Calibration) -> Callable[[nn.Module], float]:
    """A score of networks on the judges of a calibration, the higher the better.

    * Classes ``[B, C]`` with labels: accuracy.
    * Classes without labels: the probability that the original gives to the class that is answered. Its drop is that
      of accuracy if the original is calibrated, and larger if it is too sure of itself.
    * Anything else: the share of the variance of the targets that is explained, R²; targets are labels of the shape of
      the answers, or else the original's answers.
    """
    with torch.no_grad():
        answers = [original(x) for x in data.judges]
    if answers[0].dim() == 2 and answers[0].shape[1] > 1:
        if data.labels is not None and not data.labels[0].is_floating_point():
            return _accuracy(data.judges, data.labels)
        return _belief(data.judges, [answer.softmax(1) for answer in answers])
    labels = data.labels or []
    if all(y.numel() == answer.numel() for y, answer in zip(labels, answers, strict=False)) and labels:
        answers = [y.reshape(answer.shape).to(answer) for y, answer in zip(labels, answers, strict=True)]
    return _explained(data.judges, answers)


def _accuracy(inputs: list[Tensor], labels: list[Tensor]) -> Callable[[nn.Module], float]:
    def score(network: nn.Module) -> float:
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in zip(inputs, labels, strict=True))
        return right / sum(len(y) for y in labels)

    return score


def _belief(inputs: list[Tensor], beliefs: list[Tensor]) -> Callable[[nn.Module], float]:
    def score(network: nn.Module) -> float:
        given = [
            p.gather(1, network(x).argmax(1, keepdim=True)) for x, p in zip(inputs, beliefs, strict=True)
        ]
        return float(torch.cat(given).double().mean())

    return score


def _explained(inputs: list[Tensor], targets: list[Tensor]) -> Callable[[nn.Module], float]:
    wanted = torch.cat(targets).double()
    total = (wanted - wanted.mean(0)).square().sum().item()

    def score(network: nn.Module) -> float:
        answers = torch.cat([network(x) for x in inputs]).double()
        missed = (answers - wanted).square().sum().item()
        return 1 - missed / total if total > 0 else -missed

    return score
