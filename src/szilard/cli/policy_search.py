"""``szilard compress --search galen`` and ``--policy``: a smaller network for a runtime, with its policy beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from szilard import atomic, bayes
from szilard.cli import deployment, file_compression, output, policy_summary
from szilard.cli.compression_with_data import Shown, order_of
from szilard.cli.deployed_source import Source
from szilard.cli.external import adapted_outputs
from szilard.cli.external.network_and_data import NetworkAndExamples
from szilard.cli.policy_options import PolicySearch
from szilard.cli.request import Request
from szilard.compression.policies import found_page, policy_file
from szilard.compression.policies.galen_search import galen
from szilard.compression.policies.search_bar import SearchBar
from szilard.data import DataSet
from szilard.deploy.arguments import is_bayesian
from szilard.deploy.graph import output_of
from szilard.deploy.int8 import Evaluation
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


def opened(request: Request, shown: Shown) -> Opened:
    """The network of a file, whose layers can have a policy, with its data.

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
    return _of_saved(*found, path)


def run(
    request: Request,
    options: PolicySearch,
    out: Path | None,
    seed: int,
    shown: Shown,
    *,
    json: bool,
    quiet: bool,
    wide: bool,
) -> None:
    """Search for a policy, or replay one; write the network, its policy and a page, and print what was reached.

    Raises:
        SzilardError: a file cannot be written, the policy or the network cannot be opened, or as
            :func:`szilard.compression.policies.galen_search.galen`.
    """
    out = options.file(request.path, out)
    policy_path, page = out.with_suffix(policy_file.SUFFIX), out.with_suffix(".policy.html")
    file_compression.check_output(request, out)
    for path in (policy_path, page):
        file_compression.check_output(request, path)
    policy = None if options.policy is None else policy_file.read(options.policy)
    network = opened(request, shown)
    calibration = network.calibration(seed)
    asked: dict[str, Any] = {
        "target": options.target,
        "measure": options.measure_for(out),
        "search": options.searcher,
        "evaluations": options.evaluations,
        "policy": policy,
        "finetune": options.finetune,
        "training": network.train if options.finetune else None,
        "evaluation": Evaluation(*network.valid),
        "task": network.task,
        "threads": options.threads,
        "folder": options.folder,
        "noisy": options.noisy,
        "seed": seed,
        "deployed": network.deployed,
        "meta": network.meta,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    bar = SearchBar(None if shown.console.quiet else shown.console, shown.tell)
    with output.writing(out), bar:
        found = galen(network.network, calibration, progress=bar, **given)
        text = policy_file.to_toml(found.policy)
        found.save(out)
        if options.policy is None or not _same(options.policy, policy_path):
            atomic.write(policy_path, text.encode(), follow=True)
        atomic.write(page, found_page.html(found, out.name).encode(), follow=True)
    figures = policy_summary.figures_of(found, request.path, out, policy_path, page) | {
        "data": network.data,
        "calibration_inputs": len(calibration),
        "judged_on": len(network.valid[0]),
    }
    if json:
        output.as_json(figures)
    elif not quiet:
        policy_summary.show(figures, wide=wide)


def _same(first: Path, second: Path) -> bool:
    return second.exists() and first.samefile(second)


def _of_saved(found: SavedNetwork, data: DataSet, meta: dict[str, Any], file: Path) -> Opened:
    if isinstance(found.network, Ensemble):
        raise SzilardError(
            f"{file} is an ensemble of networks, and a policy is for one; train one with szilard fit "
            "--method deterministic"
        )
    if is_bayesian(found.network):
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
