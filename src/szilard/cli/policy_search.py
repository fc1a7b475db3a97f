"""``szilard compress --search galen`` and ``--policy``: a smaller network for a runtime, with its policy beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard import atomic
from szilard.cli import file_compression, output, policy_network, policy_summary
from szilard.cli.compression_with_data import Shown
from szilard.cli.policy_options import PolicySearch
from szilard.cli.request import Request
from szilard.compression.policies import found_page, policy_file
from szilard.compression.policies.galen_search import galen
from szilard.compression.policies.search_bar import SearchBar
from szilard.deploy.int8 import Evaluation


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
    network = policy_network.opened(request, shown)
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
