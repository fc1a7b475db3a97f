"""Options of ``szilard deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_FILE, _UNCERTAINTY, _DEVICE = "Compiled file", "Uncertainty", "Another machine"

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN_OR_NETWORK",
        help="A run folder, the folder of one method in it, or a file: network.pt, .szd, or weights with --network. "
        "Several make an ensemble.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="File to write; its suffix says which runtime: .onnx, .pt2 (AOTInductor) or .pte (ExecuTorch).",
        rich_help_panel=_FILE,
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="onnx, inductor, executorch, tvm, native or eager; auto (default): by the suffix of --out. "
        "native, tvm and eager write no file; their speed is measured.",
        rich_help_panel=_FILE,
        show_default=False,
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        metavar="N",
        help="Compile for batches of N inputs only. Default: any size; one input with samples and ensembles.",
        rich_help_panel=_FILE,
    ),
]
Threads = Annotated[
    int,
    typer.Option("--threads", metavar="N", help="Threads of the runtime.", rich_help_panel=_FILE),
]
Remote = Annotated[
    str | None,
    typer.Option(
        "--remote",
        metavar="HOST:PORT",
        help="Compile with TVM, and compare outputs and measure time on this machine, where python -m "
        "tvm.exec.rpc_server runs.",
        rich_help_panel=_DEVICE,
    ),
]
Processor = Annotated[
    str | None,
    typer.Option(
        "--processor",
        metavar="NAME",
        help="With --remote: aarch64, riscv64 or x86-64. Default: what the device says.",
        rich_help_panel=_DEVICE,
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="NAME",
        help="point (mean weights, no epistemic uncertainty), moments (mean and variance in one pass), samples (all "
        "draws in one graph) or ensemble. Default: ensemble for several networks, moments for a Bayesian one, else "
        "point.",
        rich_help_panel=_UNCERTAINTY,
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        metavar="N",
        help="Draws of the weights in mode samples, which this option chooses (32).",
        rich_help_panel=_UNCERTAINTY,
    ),
]
MatchDraws = Annotated[
    bool,
    typer.Option(
        "--match-draws",
        help="Multiply the variances of mode moments, or of each network of an ensemble, so that one pass has the mean "
        "epistemic uncertainty of draws, on inputs of the validation split.",
        rich_help_panel=_UNCERTAINTY,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the draws.", rich_help_panel=_UNCERTAINTY)]
