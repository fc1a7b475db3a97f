"""A network with labelled examples as they are in a file, which no data set of szilard holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from szilard import cost, metrics
from szilard.cli.external.build_record import BuildRecord
from szilard.cli.external.examples import Examples, Part
from szilard.compression.judge import Judge
from szilard.cost import Cost
from szilard.likelihood import Bernoulli, Categorical, Embedding, Gaussian
from szilard.metrics import Predictive


@dataclass(frozen=True, eq=False)
class NetworkAndExamples:
    """A network and labelled examples to evaluate it on.

    Attributes:
        data: in the network's units.
        valid, test: evaluate the network on the validation and the test split.
        record: for the file of a compressed network.
        target: shift and scale of the values, or None where they are as in the file.
        score, other_units, misjudged: as of :class:`szilard.cli.external.network_and_data.NetworkAndDataSet`.
    """

    network: nn.Module
    data: Examples
    valid: Judge
    test: Judge
    record: BuildRecord
    meta: dict[str, Any]
    target: tuple[Tensor, Tensor] | None = None
    score: float = 1.0
    other_units: str = ""
    misjudged: bool = False

    @property
    def by(self) -> str:
        """Name of the score."""
        return self.valid.choice.likelihood.score

    @torch.no_grad()
    def quality(self, network: nn.Module) -> dict[str, float]:
        """Scores on the test split, with the names of :mod:`szilard.cli.figures`."""
        judged, likelihood = self.test, self.test.choice.likelihood
        if not judged.choice.labelled:
            return {}
        outputs = [judged.forward(network, x) for x in judged.inputs]
        plain = all(one is None for one in judged.positions)
        if isinstance(likelihood, Categorical) and plain and outputs[0].dim() == 2 and not likelihood.last:
            labels = torch.cat(judged.wanted)
            if labels.dim() == 1 and not labels.is_floating_point():
                logits = torch.cat([likelihood.logits(output) for output in outputs])
                return metrics.evaluate(Predictive.from_logits(logits[None].cpu()), labels.cpu())
        score = judged.scores(network).score
        found = {_NAMES[next(kind for kind in _NAMES if isinstance(likelihood, kind))]: score}
        if plain:
            losses = [
                likelihood.nll(output, y).double() for output, y in zip(outputs, judged.wanted, strict=True)
            ]
            found["nll"] = float(torch.cat(losses).mean())
        return found

    def cost(self, network: nn.Module) -> Cost:
        """Of one inference of one example."""
        kind = self.data.train.x.dtype
        return cost.count(network if kind is torch.float32 else _InType(network, kind), self.data.input_shape)


_NAMES: dict[type, str] = {
    Categorical: "accuracy",
    Bernoulli: "accuracy_by_label",
    Gaussian: "r2",
    Embedding: "cosine",
    object: "r2",
}


class _InType(nn.Module):
    """Casts float32 inputs to the type that a network takes: half precision, or the integers of an embedding."""

    def __init__(self, network: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.network, self.kind = network, kind

    def forward(self, x: Tensor) -> Any:
        return self.network(x.to(self.kind))


def batched(part: Part, labelled: bool, size: int = 256) -> list[Any]:
    """Batches for :func:`szilard.compress`."""
    if not labelled:
        return list(part.x.split(size))
    return list(zip(part.x.split(size), part.y.split(size), strict=True))
