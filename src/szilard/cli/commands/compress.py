"""``szilard compress``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from szilard.cli.options import compression as c
from szilard.cli.options import data as d
from szilard.cli.options import galen as g
from szilard.cli.options import network as n
from szilard.cli.options import output as o

GROUP = "Compress"
EXAMPLES = (
    "szilard compress runs/digits",
    "szilard compress net.pt --network file.py:build --data cifar10 --max-drop 0.5 -o net.szd",
    "szilard compress net.pt --network file.py:build --data images.npz --max-bytes 20000",
    "szilard compress net.pt --network file.py:build --no-data",
    "szilard compress net.pt --network file.py:build --data cifar10 --search galen --target-latency 0.4 -o net.onnx",
    "szilard compress net.pt --network file.py:build --data cifar10 --policy net.policy.toml -o net.onnx",
)

Weights = Annotated[
    Path,
    typer.Argument(
        metavar="NETWORK",
        help="A run folder, a network.pt, or, with --network, a file of weights: a PyTorch state dict or checkpoint, a "
        ".safetensors file, a TorchScript archive.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="File to write, .szd or .onnx. Default: beside the network."
    ),
]


def compress(
    path: Weights,
    data: d.EvaluationData = None,
    data_root: d.DataRoot = None,
    target: d.Target = None,
    split: d.Split = None,
    mean: d.Mean = None,
    std: d.Std = None,
    network: n.NetworkOfFile = None,
    key: n.Key = None,
    trust: n.Trust = False,
    method: n.MethodOfRun = None,
    max_drop: c.MaxDrop = None,
    max_bytes: c.MaxBytes = None,
    lam: c.Lam = None,
    task: d.TaskOfOutputs = None,
    confidence: c.Confidence = None,
    search: g.Search = None,
    target_latency: g.TargetLatency = None,
    target_energy: g.TargetEnergy = None,
    target_bytes: g.TargetBytes = None,
    searcher: g.Searcher = None,
    evaluations: g.Evaluations = None,
    finetune: g.Finetune = None,
    policy: g.Policy = None,
    threads: g.Threads = None,
    noisy: g.Noisy = False,
    folder: g.Folder = None,
    no_data: c.NoData = False,
    input_shape: c.InputShape = None,
    outputs: c.Outputs = None,
    certificate: c.Certificate = False,
    seed: c.Seed = 0,
    out: Out = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    wide: o.Wide = False,
) -> None:
    """Compress a trained network into one small file: the smallest that keeps its quality, or the best of a given size.

    The file holds no code. Open it with szilard.load in Python, or with szilard measure and szilard predict. With
    --search galen the network itself becomes smaller, until a runtime needs no more time or energy than a target.
    """
    from rich.console import Console

    from szilard.cli import output, run_paths
    from szilard.cli.compression_with_data import Shown
    from szilard.cli.goal import Goal
    from szilard.cli.messages import library_notifier
    from szilard.cli.policy_options import PolicySearch
    from szilard.cli.request import Request
    from szilard.cli.table import say_wrapped
    from szilard.errors import printable

    options = PolicySearch.typed(
        search,
        {
            "--target-latency": target_latency, "--target-energy": target_energy, "--target-bytes": target_bytes,
        },
        others={
            "--max-drop": max_drop, "--max-bytes": max_bytes, "--lam": lam, "--confidence": confidence,
            "--certificate": certificate, "--no-data": no_data, "--input-shape": input_shape, "--outputs": outputs,
        },
        searcher=searcher, evaluations=evaluations, finetune=finetune, policy=policy, threads=threads, folder=folder,
        noisy=noisy,
    )  # fmt: skip
    goal = Goal.typed(max_drop, max_bytes, lam, task, confidence)
    silent = quiet or json
    notify = library_notifier(quiet=silent)
    chosen = run_paths.chosen_network(path, method)
    file = chosen.file
    request = Request.typed(
        file, data=data, data_root=data_root, target=target, split=split, task=task, mean=mean, std=std,
        network=network, key=key, trust=trust,
    )  # fmt: skip
    shown = Shown(Console(stderr=True, quiet=silent), notify)
    chosen.tell(notify)
    if options is not None:
        from szilard.cli import policy_search

        policy_search.run(request, options, out, seed, shown, json=json, quiet=quiet, wide=wide)
        return
    from szilard.cli import compression_summary as summary
    from szilard.cli import file_compression

    out = file_compression.file_to_write(request, out)
    if no_data:
        file_compression.check_without_data(request, goal, certificate)
    with output.writing(out):
        described: dict[str, Any] = {}
        if no_data:
            made = file_compression.without_data(request, input_shape, outputs, goal, seed, shown)
        else:
            made, described = file_compression.with_data(request, goal, seed, shown, certificate)
        made.save(out)
    figures = summary.figures_of(file, out, made, described)
    if json:
        output.as_json(figures)
    elif not quiet:
        summary.show(figures, made, wide)
    elif certificate:
        say_wrapped(printable(figures["certificate"]))
