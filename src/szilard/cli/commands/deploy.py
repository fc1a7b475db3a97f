"""``szilard deploy``."""

from __future__ import annotations

from szilard.cli.options import compression as c
from szilard.cli.options import data as d
from szilard.cli.options import deploy as p
from szilard.cli.options import latency as t
from szilard.cli.options import network as n
from szilard.cli.options import output as o

GROUP = "Run"
EXAMPLES = (
    "szilard deploy runs/digits -o digits.onnx",
    "szilard deploy runs/digits -o digits.onnx --match-draws",
    "szilard deploy runs/digits -o digits.onnx --samples 32",
    "szilard deploy runs/a runs/b runs/c -o ensemble.onnx",
    "szilard deploy runs/digits --backend native",
    "szilard deploy runs/digits --remote localhost:9090",
    "szilard deploy weights.pt --network network.py:build --data table.csv --target price -o price.onnx",
)


def deploy(
    paths: p.Paths,
    out: p.Out = None,
    backend: p.Backend = "auto",
    mode: p.Mode = None,
    samples: p.Samples = None,
    match_draws: p.MatchDraws = False,
    seed: p.Seed = 0,
    batch: p.Batch = None,
    threads: p.Threads = 1,
    remote: p.Remote = None,
    processor: p.Processor = None,
    noisy: t.Noisy = False,
    method: n.MethodOfRun = None,
    data: d.EvaluationData = None,
    data_root: d.DataRoot = None,
    target: d.Target = None,
    split: d.Split = None,
    task: d.TaskOfOutputs = None,
    mean: d.Mean = None,
    std: d.Std = None,
    input_shape: c.InputShape = None,
    network: n.NetworkOfFile = None,
    key: n.Key = None,
    trust: n.Trust = False,
    json: o.Json = False,
) -> None:
    """Compile a trained network into one file for a runtime, which answers with uncertainty.

    The file takes inputs in the units of your data and returns class probabilities, or values in the units of your
    target, each with its aleatoric and epistemic uncertainty. It is compared with PyTorch before it is written.
    """
    from szilard.cli import (
        deployed_ensemble,
        deployed_shrunken,
        deployed_uncertainty,
        deployment,
        deployment_summary,
        output,
        run_paths,
    )
    from szilard.cli.deployed_remote import Device
    from szilard.cli.goal import parse_shape
    from szilard.cli.messages import library_notifier
    from szilard.cli.request import Request

    device = Device.typed(remote, backend, out, processor=processor, noisy=noisy)
    chosen = deployment.runtime(backend if device is None else "tvm", out)
    if device is not None:
        device.reach()
    batch = 1 if batch is None and device is not None else batch
    options = deployment.Options(chosen, mode, samples, seed, batch, threads)
    notify = library_notifier(quiet=False)
    networks = [run_paths.chosen_network(path, method) for path in paths]
    files = [network.file for network in networks]
    output.refuse_inputs(out, *files, data, network)
    with output.writing(out):
        sources = []
        for file in files:
            request = Request.typed(
                file, data=data, data_root=data_root, target=target, split=split, task=task, mean=mean, std=std,
                network=network, key=key, trust=trust,
            )  # fmt: skip
            sources.append(deployment.opened(request, parse_shape(input_shape), notify))
        source = deployed_ensemble.together(sources, files)
        source = deployed_shrunken.without_dead_units(source, options, notify)
        source, beside_draws = deployed_uncertainty.matched(source, options, match_draws)
        compiled = deployment.compiled(source, options, out)
        uncertainty = deployed_uncertainty.figures(source, beside_draws, match_draws)
        compared = deployed_uncertainty.without_notice(compiled) if uncertainty else compiled
        figures = deployment_summary.figures(compared, source, options, files, out, device) | uncertainty
    for one in networks:
        one.tell(notify)
    if json:
        output.as_json(figures)
    else:
        deployment_summary.show(figures)
