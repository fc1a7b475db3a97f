"""Size of files of trained networks: Szilard compared with other codecs, and the contribution of each part.

    python benchmarks/model_file.py --data-root DATA [--quick] [--only SECTION ...] [--results FILE.jsonl] [--peers]

DATA holds ``pretrained/`` and CIFAR-10 (and CIFAR-100, MNIST). Bytes are those of whole files, and every file is
evaluated with the tensors that its reader returns. Sections:

* resnet20, resnet56: the smallest file of each contestant within a limit of the drop (:mod:`files.contest`,
  :mod:`files.pretrained`);
* coder: megabytes per second of the entropy coders (:mod:`files.coder_speed`);
* ablation: the contribution of each part (:mod:`files.ablation`);
* predicted: predicted and measured loss of rounding (:mod:`files.predicted_loss`);
* lambda: bytes and F for several λ (:mod:`files.along_lambda`);
* lenet: LeNet-300-100 and LeNet-5 on MNIST, trained for small files (:mod:`lenet_files`);
* posterior: sparse Bayesian networks of run folders (``--run``, :mod:`uncertainty.posterior_files`).

NNCodec's rows are read from ``benchmarks/results/nncodec.jsonl``. ``--peers`` computes its grid again in a separate
virtual environment (:mod:`files.nncodec_peer`), which takes an hour, and writes that file. ``--results`` stores each
section as one line; a repeated measurement replaces its line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import lenet_files
import szilard
from common import machine
from common.harness import finish, print_table, progress
from common.measured import Measured
from files import (
    ablation,
    along_lambda,
    coder_speed,
    contest,
    nncodec_peer,
    nncodec_rows,
    our_files,
    plain_files,
    predicted_loss,
    pretrained,
)
from files.contest import Row
from files.judge import Entry, Judge
from files.section_tables import Section, figures, table
from szilard import atomic
from szilard.errors import SzilardError
from uncertainty import posterior_files

LAM = 5e-7  # nats per bit; about that of ResNet-20 at a drop of half a point
HELD_OUT = (-7000, -5000)  # training images on which sections measure losses
FLOAT32 = "float32, safetensors + zstd 19"
INT8 = "int8 by channel (torchao), safetensors + zstd 19"


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    data_root: Path
    quick: bool
    peers: bool
    cache: Path
    runs: list[Path]
    seed: int


# -- sections -------------------------------------------------------------------------------------------


def contest_of(name: str, options: Options) -> Section:
    """All contestants on one network."""
    case = getattr(pretrained, name)(options.data_root)
    judge = Judge(case, Measured())
    rows, found = our_files.rows(judge, options.quick, progress)
    rows += nncodec(judge, options)
    for title, code in ((INT8, plain_files.int8_zstd), (FLOAT32, plain_files.float32_zstd)):
        entry = Entry(title, {}, lambda code=code: code(case.network.state_dict()))  # type: ignore[misc]
        try:
            rows.append(contest.row_of(title, judge, entry))
        except ImportError as error:
            progress(f"no row {title!r}: {error.name} is not installed; pip install 'szilard[bench]'")
    return {
        "network": name,
        "measure": case.measure,
        "limit": contest.limit(judge),
        "pictures": [case.choose.name, case.report.name],
        "baseline": round(judge.baseline(), 4),
        "rows": [row.to_json() for row in rows],
        "notes": found.notes,
    }


def nncodec(judge: Judge, options: Options) -> list[Row]:
    """NNCodec's rows; read from the stored results, or computed with ``--peers``."""
    name = judge.case.name
    if options.peers:
        measured = Measured(options.cache / f"nncodec_{name}.jsonl")
        peer_judge = Judge(judge.case, measured)
        rows = nncodec_rows.coded_anew(
            peer_judge, options.cache, coarse=name != "resnet20", progress=progress
        )
        nncodec_rows.keep(name, rows)
    return nncodec_rows.kept(name)


def resnet20(options: Options) -> Section:
    return contest_of("resnet20", options)


def resnet56(options: Options) -> Section:
    return contest_of("resnet56", options)


def coder(options: Options) -> Section:
    case = pretrained.resnet20(options.data_root)
    made = szilard.compress(
        case.network, calibration=case.calibration, lam=LAM, passes=quick_passes(), evaluate=lambda net: 0.0
    )
    rows = coder_speed.measure(coder_speed.levels(made.data), budget=10 if options.quick else 30)
    return {"rows": rows, "lam": LAM}


def ablations(options: Options) -> Section:
    case, loss = held_out(options)
    return {"rows": ablation.measure(case, loss, LAM, options.quick, progress), "lam": LAM}


def predicted(options: Options) -> Section:
    case, loss = held_out(options, 500 if options.quick else 2000)
    shares = predicted_loss.SHARES[::2] if options.quick else predicted_loss.SHARES
    return predicted_loss.measure(case, loss, shares, progress)


def along(options: Options) -> Section:
    case, loss = held_out(options)
    rows = along_lambda.measure(case, loss, LAM, 5 if options.quick else 10, progress)
    return {
        "rows": rows,
        "bytes_fall": along_lambda.monotone(rows),
        "plain_never_better": all(row["free_energy"] <= row["plain"] for row in rows),
    }


def lenet(options: Options) -> Section:
    rows = []
    for name, train in (("lenet300", lenet_files.lenet300), ("lenet5", lenet_files.lenet5)):
        row = train(options.data_root, options.seed, options.quick)
        rows.append({"name": name, "seed": options.seed, "quick": options.quick, **row.figures()})
        progress(f"{name}: {row.bytes:,} bytes, {row.error_percent:.2f} %")
    return {"rows": rows}


def posterior(options: Options) -> Section:
    if not options.runs:
        progress("no posteriors: give the folder of a run of `szilard fit` as --run")
        return {"rows": []}
    return {"rows": [row for run in options.runs for row in posterior_files.rows(run, options.data_root)]}


SECTIONS: dict[str, Callable[[Options], Section]] = {
    "resnet20": resnet20,
    "coder": coder,
    "ablation": ablations,
    "predicted": predicted,
    "lambda": along,
    "lenet": lenet,
    "posterior": posterior,
    "resnet56": resnet56,
}


def quick_passes() -> list[Any]:
    """The default passes without the slow ones."""
    return [one for one in szilard.compression.default_passes() if not getattr(one, "costly", False)]


def held_out(options: Options, images: int = 2000) -> tuple[pretrained.Case, ablation.Loss]:
    """ResNet-20, and the loss on training images that are used neither for calibration nor for selection."""
    case = pretrained.resnet20(options.data_root)
    x = pretrained.cifar10(options.data_root).images("train", *HELD_OUT).x[:images]
    return case, ablation.Loss(case.network, x)


# -- running --------------------------------------------------------------------------------------------


def load(path: Path | None) -> dict[str, Section]:
    """The sections in a results file."""
    if path is None or not path.exists():
        return {}
    sections = [json.loads(line) for line in path.read_text().splitlines()]
    return {section["section"]: section for section in sections}


def keep(path: Path, section: Section) -> None:
    """Write a section to the results file, replacing an earlier measurement."""
    known = load(path) | {section["section"]: section}
    lines = [json.dumps(known[name]) + "\n" for name in SECTIONS if name in known]
    atomic.write(path, "".join(lines).encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-root", type=Path, required=True, help="folder of data sets and pretrained networks"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer points of each curve; at most half an hour"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--results", type=Path, help="store the sections in this file")
    parser.add_argument("--peers", action="store_true", help="compute NNCodec's grid again")
    parser.add_argument(
        "--cache", type=Path, default=nncodec_peer.CACHE, help="folder of NNCodec's environment"
    )
    parser.add_argument("--run", type=Path, nargs="+", default=[], help="run folders of `szilard fit`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    where = machine.describe() | {"threads": str(given.threads)}
    print(machine.line(where))
    options = Options(given.data_root, given.quick, given.peers, given.cache, given.run, given.seed)
    sections = {}
    for name in given.only:
        started = time.perf_counter()
        progress(name)
        try:
            found = SECTIONS[name](options)
        except SzilardError as error:
            print(f"no section {name!r}: {error}")
            continue
        seconds = round(time.perf_counter() - started, 1)
        section = {"section": name, **found, "machine": where, "seconds": seconds, "quick": given.quick}
        sections[name] = section
        if not section.get("rows") and not section.get("points"):
            continue
        if given.results:
            keep(given.results, section)
        print_table(*table(name, section))
    finish("model_file", figures(sections))


if __name__ == "__main__":
    main()
