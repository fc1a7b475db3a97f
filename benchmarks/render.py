"""Write the benchmark tables of README.md, docs/results.md, docs/speed.md, docs/files.md, docs/faults.md,
docs/any_network.md, docs/any_training.md and docs/moments.md from benchmarks/results/.

    python benchmarks/render.py

Each table stands between ``<!-- begin NAME -->`` and ``<!-- end -->``; nothing between them is typed. A block whose
results are not there stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import any_network
import any_training
import faults
import kernels
import lenet_files
import model_file
import moments_accuracy
import train_step
import uci
from common import machine
from common.cells import REASON_COLUMNS
from training import race
from uncertainty import fashion_runs, fashion_tables
from zoo_compression import promise

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / name
        for name in (
            "results.md",
            "speed.md",
            "files.md",
            "faults.md",
            "any_network.md",
            "any_training.md",
            "moments.md",
        )
    ),
)
# Rows and columns of the README's tables.
README_TRAINING = (
    ("deterministic", "dense mean-field, best T", "sparse deterministic 95 %", "SSVI 90 %", "SSVI 95 %"),
    ("accuracy %", "NLL", "AUROC best", "numbers", "J / run, estimated"),
)
README_STEP = (
    ("deterministic", "dense mean-field", "SSVI 90 %", "SSVI 95 %", "bayesian-torch"),
    ("ms / step", "/ deterministic"),
)
README_FILE = (
    (
        *(
            "Szilard, 512 unlabelled images",
            "Szilard, 512 unlabelled images, drop guaranteed",
            "Szilard, no data",
        ),
        *("NNCodec 2.1.3, tuned", "int8 by channel (torchao), safetensors + zstd 19"),
    ),
    ("bytes", "/ tuned NNCodec", "score %", "drop", "± se"),
)


class NotMeasured(Exception):
    """The results of a block are not in benchmarks/results/."""


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    return "\n".join(
        lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    )


def part(
    columns: Sequence[str], rows: Sequence[Sequence[str]], chosen: tuple[Sequence[str], Sequence[str]]
) -> str:
    """The table of some rows, by what stands first in them, and of some columns besides the first."""
    names, headings = chosen
    by_name = {row[0]: row for row in rows}
    places = [0, *(list(columns).index(heading) for heading in headings)]
    return markdown([columns[i] for i in places], [[by_name[name][i] for i in places] for name in names])


def lines(name: str) -> list[str]:
    try:
        return (RESULTS / name).read_text().splitlines()
    except FileNotFoundError as error:
        raise NotMeasured(name) from error


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(name)]


def last_line(name: str) -> dict[str, Any]:
    return json.loads(lines(name)[-1])["figures"]


def fashion_rows(regime: str) -> list[list[str]]:
    return fashion_tables.body(fashion_tables.by_row(read("fashion.jsonl"), regime))


def readme_file() -> str:
    _, columns, rows = model_file.table("resnet20", file_section("resnet20"))
    return part(columns, rows, README_FILE)


def readme_any() -> str:
    """How many cells of the zoo have which verdict."""
    found = any_network.figures(read("any_network.jsonl")[-1])
    verdicts = ("cells", "right", "refused", "wrong", "crashed")
    return markdown(verdicts, [[str(found[name]) for name in verdicts]])


def fashion_figures() -> str:
    runs = read("fashion.jsonl")
    return figures(
        fashion_tables.figures(
            {regime: fashion_tables.by_row(runs, regime) for regime in fashion_runs.REGIMES}
        )
    )


def figures(found: dict[str, Any]) -> str:
    known = {name: value for name, value in found.items() if value is not None}
    return markdown(["figure", "value"], [[f"`{name}`", f"{value:.4g}"] for name, value in known.items()])


def validation(regime: str) -> str:
    return markdown(*fashion_tables.candidates_table(read("fashion_select.jsonl"), regime))


def uci_table() -> str:
    return markdown(uci.COLUMNS, uci.body(read("uci.jsonl")))


def standard_cell(network: str) -> train_step.Cell:
    """Batch 128, one thread."""
    for cell in read("train_step.jsonl"):
        if (cell["network"], cell["batch"], cell["threads"]) == (network, 128, 1):
            return cell
    raise NotMeasured(f"{network} in train_step.jsonl")


def train_step_losses() -> str:
    lost = train_step.losses(read("train_step.jsonl"))
    return markdown(train_step.LOSS_COLUMNS, lost) if lost else "Nowhere."


def train_step_table(network: str) -> str:
    return markdown(train_step.COLUMNS, train_step.body(standard_cell(network)))


def train_step_memory() -> str:
    return markdown(train_step.MEMORY_COLUMNS, train_step.memory_body(standard_cell("mlp")))


def kernels_roof() -> str:
    first = read("kernels.jsonl")[0]
    roof = first["roof"]
    return (
        f"{machine.line(first['machine'])}. With {first['threads']} thread{'s' * (first['threads'] > 1)}: "
        f"{roof['flops'] / 1e9:.0f} GFLOP/s, {roof['bandwidth'] / 1e9:.1f} GB/s."
    )


def file_section(name: str) -> model_file.Section:
    for section in read("model_file.jsonl"):
        if section["section"] == name:
            return section
    raise NotMeasured(f"{name} in model_file.jsonl")


def file_table(name: str) -> str:
    """A section of the benchmark of files, under a line that says what it shows."""
    title, columns, rows = model_file.table(name, file_section(name))
    return f"{title}.\n\n{markdown(columns, rows)}"


def file_figures() -> str:
    sections = {section["section"]: section for section in read("model_file.jsonl")}
    lenets = read("lenet_files.jsonl") if (RESULTS / "lenet_files.jsonl").exists() else []
    return figures(model_file.figures(sections | {"lenet": {"rows": lenets}}))


def faults_machine() -> str:
    """Where and how long."""
    section = read("faults.jsonl")[-1]
    how = "`--quick`" if section["quick"] else "The full run"
    return f"{how}, {section['seconds'] / 60:.0f} minutes: {machine.line(section['machine'])}."


def any_part(name: str) -> list[dict[str, Any]]:
    """A part of the benchmark of any network."""
    section = read("any_network.jsonl")[-1]
    if name not in section:
        raise NotMeasured(f"{name} in any_network.jsonl")
    return section[name]  # type: ignore[no-any-return]


def trained() -> str:
    """Networks from packages, against rounding by row."""
    found = json.loads("\n".join(lines("any_trained.json")))
    rows = []
    for name in ("minilm", "resemblyzer", "silero"):
        for key, data in (("", "yes"), ("no_data_", "none")):
            ours, theirs = found.get(f"{name}_{key}bytes"), found.get(f"{name}_{key}rounding_bytes")
            if ours is None:
                continue
            ratio = "" if theirs is None else f"{ours / theirs:.3f}"
            error = f"{found[f'{name}_{key}error']:.2g}"
            rows.append([name, data, f"{ours:,}", error, "" if theirs is None else f"{theirs:,}", ratio])
    columns = ("network", "data", "bytes", "error", "rounding by row, bytes", "ours / theirs")
    text = markdown(columns, rows)
    if found.get("minilm_seconds"):
        text += (
            f"\n\nThe sentence encoder took {found['minilm_seconds']:.0f} s with data, and at most "
            f"{found['minilm_peak_over_weights']:.2f} times its weights in memory beside the network."
        )
    return text


def any_machine() -> str:
    """Where and how long."""
    section = read("any_network.jsonl")[-1]
    took = ", ".join(f"{part} {seconds / 60:.0f} minutes" for part, seconds in section["seconds"].items())
    return f"{took}: {machine.line(section['machine'])}."


def training() -> dict[str, Any]:
    """The benchmark of training."""
    return read("any_training.jsonl")[-1]


def training_part(name: str) -> list[dict[str, Any]]:
    """The cells of networks or of tables."""
    if name not in training():
        raise NotMeasured(f"{name} in any_training.jsonl")
    return training()[name]  # type: ignore[no-any-return]


def training_machine() -> str:
    """Where and how long."""
    took = ", ".join(f"{name} {seconds / 60:.1f} minutes" for name, seconds in training()["seconds"].items())
    return f"{took}: {machine.line(training()['machine'])}."


def training_faults() -> str:
    """What is wrong or has crashed."""
    rows = any_training.faults(any_training.tried(training()))
    return markdown(any_training.FAULT_COLUMNS, rows) if rows else "None."


def training_figures() -> str:
    """The keys, with the reason where there is no figure."""
    rows = []
    for name, value in any_training.figures(training()).items():
        shown = value if isinstance(value, bool) or value is None else f"{value:.4g}"
        rows.append([f"`{name}`", any_training.missing(training(), name) if value is None else str(shown)])
    return markdown(["figure", "value"], rows)


def moments() -> dict[str, Any]:
    """The benchmark of means and variances in one pass."""
    found: dict[str, Any] = json.loads("\n".join(lines("moments_accuracy.json")))
    return found


TABLES: dict[str, Callable[[], str]] = {
    "fashion-all": lambda: markdown(fashion_tables.COLUMNS, fashion_rows("all")),
    "fashion-small": lambda: markdown(fashion_tables.COLUMNS, fashion_rows("small")),
    "readme-training": lambda: part(fashion_tables.COLUMNS, fashion_rows("all"), README_TRAINING),
    "readme-step": lambda: part(train_step.COLUMNS, train_step.body(standard_cell("mlp")), README_STEP),
    "readme-file": readme_file,
    "readme-any": readme_any,
    "fashion-figures": fashion_figures,
    "fashion-validation-all": lambda: validation("all"),
    "fashion-validation-small": lambda: validation("small"),
    "exactness": lambda: figures(last_line("exactness.txt")),
    "uci": uci_table,
    "train-step-machine": lambda: machine.line(standard_cell("mlp")["machine"]) + ".",
    "train-step-overview": lambda: markdown(*train_step.overview(read("train_step.jsonl"))),
    "train-step-mlp": lambda: train_step_table("mlp"),
    "train-step-resnet20": lambda: train_step_table("resnet20"),
    "train-step-lenet5": lambda: train_step_table("lenet5"),
    "train-step-memory": train_step_memory,
    "train-step-losses": train_step_losses,
    "train-step-figures": lambda: figures(train_step.figures(read("train_step.jsonl"))),
    "kernels": lambda: markdown(kernels.COLUMNS, kernels.body(read("kernels.jsonl"))),
    "kernels-roof": kernels_roof,
    "file-machine": lambda: machine.line(file_section("resnet20")["machine"]) + ".",
    **{f"file-{name}": lambda name=name: file_table(name) for name in model_file.SECTIONS},  # type: ignore[misc]
    "file-lenet": lambda: markdown(lenet_files.COLUMNS, lenet_files.body(read("lenet_files.jsonl"))),
    "file-published": lambda: markdown(("", "bytes", "test error %"), lenet_files.published_body()),
    "file-curve": lambda: markdown(model_file.CURVE_COLUMNS, model_file.curve(file_section("resnet20"))),
    "file-figures": file_figures,
    "faults": lambda: markdown(faults.COLUMNS, faults.body(read("faults.jsonl")[-1])),
    "faults-others": lambda: markdown(faults.OTHER_COLUMNS, faults.other_rows(read("faults.jsonl")[-1])),
    "faults-machine": faults_machine,
    "any-machine": any_machine,
    "any-trained": trained,
    "any-zoo": lambda: markdown(any_network.ZOO_COLUMNS, any_network.zoo_body(any_part("zoo"))),
    "any-refused": lambda: markdown(REASON_COLUMNS, any_network.reasons(any_part("zoo"))),
    "any-promise": lambda: markdown(promise.COLUMNS, promise.body(any_part("promise"))),
    "any-figures": lambda: figures(any_network.figures(read("any_network.jsonl")[-1])),
    "training-machine": training_machine,
    "training-networks": lambda: markdown(any_training.COLUMNS, any_training.body(training_part("networks"))),
    "training-tables": lambda: markdown(any_training.COLUMNS, any_training.body(training_part("tables"))),
    "training-refused": lambda: markdown(
        REASON_COLUMNS, any_training.reasons(any_training.tried(training()))
    ),
    "training-faults": training_faults,
    "training-figures": training_figures,
    "moments-rules": lambda: markdown(
        moments_accuracy.RULE_COLUMNS, list(moments_accuracy.rule_body(moments()["found"]))
    ),
    "moments-forms": lambda: markdown(
        moments_accuracy.FORM_COLUMNS,
        list(moments_accuracy.worst_body(moments()["found"]["conditioning"], ".1e", False)),
    ),
    "moments-pools": lambda: markdown(
        moments_accuracy.POOL_COLUMNS,
        list(moments_accuracy.worst_body(moments()["found"]["pools"], ".2f", True)),
    ),
    "moments-networks": lambda: markdown(
        moments_accuracy.COLUMNS, list(moments_accuracy.body(moments()["found"]))
    ),
    "moments-figures": lambda: figures(moments()["figures"]),
    "fashion-race": lambda: markdown(race.COLUMNS, race.body(read("fashion_race.jsonl"))),
    "fashion-race-figures": lambda: figures(race.figures(read("fashion_race.jsonl"))),
}


def filled(text: str) -> str:
    """A page with every block written anew whose results are there."""
    for name in re.findall(r"<!-- begin (\S+) -->", text):
        try:
            block = f"<!-- begin {name} -->\n\n{TABLES[name]()}\n\n<!-- end -->"
        except NotMeasured as missing:
            print(f"block {name} stays as it is: no {missing}")
            continue
        text = re.sub(rf"<!-- begin {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.S)  # noqa: B023
    return text


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
