"""How small a file of a trained network can be: ours beside those of others, and what each part of ours is worth.

    python benchmarks/model_file.py --data-root DATA [--quick] [--only SECTION ...] [--results FILE.jsonl] [--peers]

DATA holds ``pretrained/`` and CIFAR-10 (and CIFAR-100, MNIST). Bytes are always those of whole files, and every file
is judged by what its reader gives back. Sections:

* resnet20, resnet56: the smallest good file of each contestant (:mod:`files.contest`, :mod:`files.pretrained`);
* coder: megabytes per second of the entropy coders (:mod:`files.coder_speed`);
* ablation: what each part buys (:mod:`files.ablation`);
* predicted: the loss that the curvature foretells, and the loss there is (:mod:`files.predicted_loss`);
* lambda: bytes and F along λ (:mod:`files.along_lambda`);
* lenet: LeNet-300-100 and LeNet-5 on MNIST, trained for their files (:mod:`lenet_files`);
* posterior: sparse Bayesian networks of run folders (``--run``, :mod:`uncertainty.posterior_files`).

NNCodec's rows come from ``benchmarks/results/nncodec.jsonl``; ``--peers`` codes its grid anew in a virtual environment
that is made for it (:mod:`files.nncodec_peer`), which takes an hour, and writes that file. ``--results`` keeps each
section as one line; a section that is measured again replaces its line.
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
from szilard import atomic
from szilard.errors import SzilardError
from uncertainty import posterior_files

LAM = 5e-7  # nats per bit; about that of ResNet-20 at a drop of half a point
HELD_OUT = (-7000, -5000)  # training pictures on which sections measure losses
FLOAT32 = "float32, safetensors + zstd 19"
INT8 = "int8 by channel (torchao), safetensors + zstd 19"
Section = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What the command line says."""

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
            rows.append(contest.told(title, judge, entry))
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
    """NNCodec's rows, from the file that is kept unless they are asked for anew."""
    name = judge.case.name
    if options.peers:
        measured = Measured(options.cache / f"nncodec_{name}.jsonl")
        anew = Judge(judge.case, measured)
        rows = nncodec_rows.coded_anew(anew, options.cache, coarse=name != "resnet20", progress=progress)
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
    """The default passes without those that are costly."""
    return [one for one in szilard.compression.default_passes() if not getattr(one, "costly", False)]


def held_out(options: Options, pictures: int = 2000) -> tuple[pretrained.Case, ablation.Loss]:
    """ResNet-20, and the loss on training pictures that neither calibrate nor choose."""
    case = pretrained.resnet20(options.data_root)
    x = pretrained.cifar10(options.data_root).pictures("train", *HELD_OUT).x[:pictures]
    return case, ablation.Loss(case.network, x)


# -- what they say --------------------------------------------------------------------------------------


def table(  # noqa: PLR0911
    name: str, section: Section
) -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows of a section."""
    rows = section.get("rows", [])
    if name in ("resnet20", "resnet56"):
        shown = [row for row in rows if not row["name"].endswith("curve")]
        title = (
            f"{name}: {section['measure']} {section['baseline']:.2f} % on {section['pictures'][1]}; "
            f"the smallest file that loses at most {section['limit']:g} on {section['pictures'][0]}"
        )
        return title, contest.COLUMNS, contest.body(shown, nncodec_rows.TUNED)
    if name == "coder":
        return "Entropy coders on the levels of ResNet-20", coder_speed.COLUMNS, coder_speed.body(rows)
    if name == "ablation":
        return "Bytes of ResNet-20 at equal loss", ablation.COLUMNS, ablation.body(rows)
    if name == "predicted":
        found = [
            f"median {section[f'{k}median_ratio']:.2f}, r = {section[f'{k}r']:.3f}" for k in ("", "soft_")
        ]
        title = (
            f"Measured over predicted loss: {found[0]} of logarithms; at softmax temperature 4: {found[1]}"
        )
        return title, predicted_loss.COLUMNS, predicted_loss.body(section)
    if name == "lambda":
        return "ResNet-20 along λ", along_lambda.COLUMNS, along_lambda.body(rows)
    if name == "lenet":
        return "LeNets on MNIST, trained for their files", list(lenet_files.COLUMNS), lenet_files.body(rows)
    return "Sparse Bayesian networks", posterior_files.COLUMNS, posterior_files.body(rows)


CURVE_COLUMNS = ["", "bytes", "score %", "drop", "± se"]


def curve(section: Section) -> list[list[str]]:
    """Every file of ours and of NNCodec's best line, by size, under CURVE_COLUMNS."""
    names = {our_files.POINT, our_files.NAME, nncodec_rows.POINT, nncodec_rows.TUNED}
    rows = sorted(
        (r for r in section["rows"] if r["name"] in names), key=lambda r: (r["name"][0], r["n_bytes"])
    )
    return [
        [
            r["name"].partition(",")[0],
            f"{r['n_bytes']:,}",
            f"{r['score']:.2f}",
            f"{r['drop']:.2f}",
            f"{r['drop_error']:.2f}",
        ]
        for r in rows
    ]


def figures(sections: dict[str, Section]) -> dict[str, float | None]:
    """The JSON keys; null where a section or a peer was not run."""
    found: dict[str, float | None] = {}
    for network in ("resnet20", "resnet56"):
        rows = {row["name"]: row for row in sections.get(network, {}).get("rows", [])}
        ours, free = rows.get(our_files.NAME), rows.get(our_files.DATA_FREE)
        kept = rows.get(our_files.PROMISED)
        found[f"{network}_vs_nncodec_tuned"] = over(kept, rows.get(nncodec_rows.TUNED))
        found[f"{network}_plain_vs_nncodec_tuned"] = over(ours, rows.get(nncodec_rows.TUNED))
        found[f"{network}_vs_nncodec_default"] = over(ours, rows.get(nncodec_rows.DEFAULT))
        found[f"{network}_drop_pt"] = kept["drop"] if kept else None
        found[f"{network}_plain_drop_pt"] = ours["drop"] if ours else None
        found[f"{network}_data_free_vs_nncodec_tuned"] = over(free, rows.get(nncodec_rows.TUNED))
        found[f"{network}_bytes"] = ours["n_bytes"] if ours else None
        found[f"{network}_encode_seconds"] = ours["write_seconds"] if ours else None
        found[f"{network}_encode_cpu_seconds"] = ours["options"].get("cpu_seconds") if ours else None
        found[f"{network}_decode_seconds"] = ours["read_seconds"] if ours else None
    keys = [f"{name}_{key}" for name in ("lenet300", "lenet5") for key in ("bytes", "error_percent")]
    found |= dict.fromkeys(keys) | lenet_files.figures(sections.get("lenet", {}).get("rows", []))
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


def over(row: dict[str, Any] | None, other: dict[str, Any] | None) -> float | None:
    """Bytes of one over those of another."""
    return row["n_bytes"] / other["n_bytes"] if row and other else None


# -- running --------------------------------------------------------------------------------------------


def load(path: Path | None) -> dict[str, Section]:
    """The sections that a results file holds."""
    if path is None or not path.exists():
        return {}
    sections = [json.loads(line) for line in path.read_text().splitlines()]
    return {section["section"]: section for section in sections}


def keep(path: Path, section: Section) -> None:
    """Write a section into the results file, in place of the same section measured before."""
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
        "--quick", action="store_true", help="fewer points of each curve; within half an hour"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--results", type=Path, help="keep the sections in this file")
    parser.add_argument("--peers", action="store_true", help="code NNCodec's grid anew")
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
