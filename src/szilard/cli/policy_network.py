"""A network of point weights with its data, whose layers can have a policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from szilard import bayes
from szilard.cli import deployment, file_compression
from szilard.cli.compression_with_data import Shown, order_of
from szilard.cli.deployed_source import Source
from szilard.cli.external import adapted_outputs
from szilard.cli.external.network_and_data import NetworkAndExamples
from szilard.cli.request import Request
from szilard.data import DataSet
from szilard.deploy.arguments import is_bayesian
from szilard.deploy.graph import output_of
from szilard.errors import SzilardError
from szilard.likelihood import choose
from szilard.model import saved_network
from szilard.model.saved_network import SavedNetwork
from szilard.networks import Ensemble
from szilard.networks.float_type import cast


@dataclass(frozen=True, eq=False)
class Opened:
    """A network of point weights with its data, in the network's units.

    Attributes:
        network: in eval mode.
        train, valid: inputs ``[N, ...]`` and targets of the splits.
        data: name of the data.
        task: that says what the outputs mean; None: seen from them.
        deployed: arguments of :func:`szilard.deploy.compile`: the meaning and the units of inputs and outputs.
        meta: of a ``.szd`` file: how the network is built, and its units.
    """

    network: nn.Module
    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    data: str
    task: str | None
    deployed: dict[str, Any]
    meta: dict[str, Any]

    def calibration(self, seed: int) -> Tensor:
        """Inputs of the training split, in random order."""
        x = self.train[0]
        return x[order_of(len(x), seed)]


def opened(request: Request, shown: Shown, *, mean: bool = False) -> Opened:
    """The network of a file, whose layers can have a policy, with its data.

    Args:
        request: what was typed.
        shown: where notices go.
        mean: take the mean weights of a network whose weights have uncertainty, and say so.

    Raises:
        SzilardError: it cannot be opened, is no network of point weights, or does not return logits or values.
    """
    path = request.path
    if not saved_network.is_finished(path) and request.data_options.get("name") is None:
        raise SzilardError(
            f"{path} does not say which data it is for, and a policy needs inputs on which outputs are compared; add "
            "--data"
        )
    found = file_compression.opened(request, request.task, shown.tell)
    if isinstance(found, NetworkAndExamples):
        return _of_examples(found)
    return _of_saved(*found, path, shown if mean else None)


def _of_saved(
    found: SavedNetwork, data: DataSet, meta: dict[str, Any], file: Path, shown: Shown | None
) -> Opened:
    if isinstance(found.network, Ensemble):
        raise SzilardError(
            f"{file} is an ensemble of networks, and a policy is for one; train one with szilard fit "
            "--method deterministic"
        )
    if is_bayesian(found.network):
        if shown is not None:
            shown.tell(f"{file} has weights with uncertainty; its mean weights are used")
        else:
            raise SzilardError(
                f"{file} has weights with uncertainty, and a policy is for point weights; name a network of another "
                "method, such as --method deterministic, or compress without --search and --policy"
            )
    if found.answers not in ("", adapted_outputs.SAME):
        raise SzilardError(
            f"{file} does not return a logit for each class or a value for each target, [N, k], which a policy is "
            "judged by; let the network return these"
        )
    network = bayes.point_network(found.network).eval()
    source = deployment.of_saved(found, *deployment.of_data(data)).in_type_of_network()
    deployed = _meaning(source)
    if found.noise is not None:  # values alone, without the columns of their noise
        values = output_of(network, cast(network, data.train.x[:2]))
        deployed["task"] = choose(values, task=found.task).likelihood
    train, valid = ((cast(network, part.x), part.y) for part in (data.train, data.valid))
    return Opened(network, train, valid, data.name, found.task, deployed, saved_network.to_meta(found) | meta)


def _of_examples(made: NetworkAndExamples) -> Opened:
    if not made.valid.choice.labelled:
        raise SzilardError(
            f"{made.data.name} has no labels for these outputs, which judge the compressed network; name labelled data "
            "with --data"
        )
    source = deployment.of_examples(made)
    train, valid = ((part.x, part.y) for part in (made.data.train, made.data.valid))
    meta = made.record.to_meta() | made.meta
    return Opened(
        made.network.eval(), train, valid, made.data.name, made.record.task or None, _meaning(source), meta
    )


def _meaning(source: Source) -> dict[str, Any]:
    return {
        "task": source.task,
        "calibration": source.calibration,
        "inputs": source.inputs,
        "targets": source.targets,
        "labels": source.labels,
        "image_range": source.range_of_inputs,
        "metadata": source.metadata,
    }
