"""Write the benchmark tables of README.md, docs/results.md, docs/speed.md, docs/files.md, docs/faults.md,
docs/any_network.md, docs/any_training.md, docs/one_pass.md, docs/moments.md, docs/topology.md, docs/streams.md,
docs/priors.md, docs/field_results.md, docs/solve.md, docs/solve_results.md, docs/sensing_results.md and
docs/galen_results.md from benchmarks/results/.

    python benchmarks/render.py

Each table is between ``<!-- begin NAME -->`` and ``<!-- end -->``; nothing between them is edited by hand. Blocks
without results are not changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import any_network
import any_training
import faults
import kernels
import lenet_files
import model_file
import uci
from common import machine
from common.cells import REASON_COLUMNS
from files import section_tables
from pages import (
    field_blocks,
    galen_blocks,
    moments_blocks,
    one_pass_blocks,
    priors_blocks,
    results,
    sensing_blocks,
    solve_blocks,
    streams_blocks,
    topology_blocks,
    zoo_blocks,
)
from pages.results import ROOT, NotMeasured, figures, last_line, markdown, part, read
from training import race, step_tables
from uncertainty import fashion_runs, fashion_tables
from zoo_compression import promise

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
            "one_pass.md",
            "moments.md",
            "topology.md",
            "streams.md",
            "priors.md",
            "field_results.md",
            "sensing_results.md",
            "solve.md",
            "solve_results.md",
            "galen_results.md",
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


def fashion_rows(regime: str) -> list[list[str]]:
    return fashion_tables.body(fashion_tables.by_row(read("fashion.jsonl"), regime))


def readme_file() -> str:
    _, columns, rows = section_tables.table("resnet20", file_section("resnet20"))
    return part(columns, rows, README_FILE)


def readme_any() -> str:
    """Number of cells of the zoo by verdict."""
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


def validation(regime: str) -> str:
    return markdown(*fashion_tables.candidates_table(read("fashion_select.jsonl"), regime))


def uci_table() -> str:
    return markdown(uci.COLUMNS, uci.body(read("uci.jsonl")))


def standard_cell(network: str) -> step_tables.Cell:
    """The cell with batch 128 and one thread."""
    for cell in read("train_step.jsonl"):
        if (cell["network"], cell["batch"], cell["threads"]) == (network, 128, 1):
            return cell
    raise NotMeasured(f"{network} in train_step.jsonl")


def train_step_losses() -> str:
    lost = step_tables.losses(read("train_step.jsonl"))
    return markdown(step_tables.LOSS_COLUMNS, lost) if lost else "Nowhere."


def train_step_table(network: str) -> str:
    return markdown(step_tables.COLUMNS, step_tables.body(standard_cell(network)))


def train_step_memory() -> str:
    return markdown(step_tables.MEMORY_COLUMNS, step_tables.memory_body(standard_cell("mlp")))


def kernels_roof() -> str:
    first = read("kernels.jsonl")[0]
    roof = first["roof"]
    return (
        f"{machine.line(first['machine'])}. With {first['threads']} thread{'s' * (first['threads'] > 1)}: "
        f"{roof['flops'] / 1e9:.0f} GFLOP/s, {roof['bandwidth'] / 1e9:.1f} GB/s."
    )


def file_section(name: str) -> section_tables.Section:
    for section in read("model_file.jsonl"):
        if section["section"] == name:
            return section
    raise NotMeasured(f"{name} in model_file.jsonl")


def file_table(name: str) -> str:
    """A section of the benchmark of files, with its title."""
    title, columns, rows = section_tables.table(name, file_section(name))
    return f"{title}.\n\n{markdown(columns, rows)}"


def file_figures() -> str:
    sections = {section["section"]: section for section in read("model_file.jsonl")}
    lenets = read("lenet_files.jsonl") if (results.RESULTS / "lenet_files.jsonl").exists() else []
    return figures(section_tables.figures(sections | {"lenet": {"rows": lenets}}))


def faults_machine() -> str:
    """Machine and duration."""
    section = read("faults.jsonl")[-1]
    how = "`--quick`" if section["quick"] else "The full run"
    return f"{how}, {section['seconds'] / 60:.0f} minutes: {machine.line(section['machine'])}."


TABLES: dict[str, Callable[[], str]] = {
    "fashion-all": lambda: markdown(fashion_tables.COLUMNS, fashion_rows("all")),
    "fashion-small": lambda: markdown(fashion_tables.COLUMNS, fashion_rows("small")),
    "readme-training": lambda: part(fashion_tables.COLUMNS, fashion_rows("all"), README_TRAINING),
    "readme-step": lambda: part(step_tables.COLUMNS, step_tables.body(standard_cell("mlp")), README_STEP),
    "readme-file": readme_file,
    "readme-any": readme_any,
    "fashion-figures": fashion_figures,
    "fashion-validation-all": lambda: validation("all"),
    "fashion-validation-small": lambda: validation("small"),
    "exactness": lambda: figures(last_line("exactness.txt")),
    "uci": uci_table,
    "train-step-machine": lambda: machine.line(standard_cell("mlp")["machine"]) + ".",
    "train-step-overview": lambda: markdown(*step_tables.overview(read("train_step.jsonl"))),
    "train-step-mlp": lambda: train_step_table("mlp"),
    "train-step-resnet20": lambda: train_step_table("resnet20"),
    "train-step-lenet5": lambda: train_step_table("lenet5"),
    "train-step-memory": train_step_memory,
    "train-step-losses": train_step_losses,
    "train-step-figures": lambda: figures(step_tables.figures(read("train_step.jsonl"))),
    "kernels": lambda: markdown(kernels.COLUMNS, kernels.body(read("kernels.jsonl"))),
    "kernels-roof": kernels_roof,
    "file-machine": lambda: machine.line(file_section("resnet20")["machine"]) + ".",
    **{f"file-{name}": lambda name=name: file_table(name) for name in model_file.SECTIONS},  # type: ignore[misc]
    "file-lenet": lambda: markdown(lenet_files.COLUMNS, lenet_files.body(read("lenet_files.jsonl"))),
    "file-published": lambda: markdown(("", "bytes", "test error %"), lenet_files.published_body()),
    "file-curve": lambda: markdown(
        section_tables.CURVE_COLUMNS, section_tables.curve(file_section("resnet20"))
    ),
    "file-figures": file_figures,
    "faults": lambda: markdown(faults.COLUMNS, faults.body(read("faults.jsonl")[-1])),
    "faults-others": lambda: markdown(faults.OTHER_COLUMNS, faults.other_rows(read("faults.jsonl")[-1])),
    "faults-machine": faults_machine,
    "any-machine": zoo_blocks.any_machine,
    "any-trained": zoo_blocks.trained,
    "any-zoo": lambda: markdown(any_network.ZOO_COLUMNS, any_network.zoo_body(zoo_blocks.any_part("zoo"))),
    "any-refused": lambda: markdown(REASON_COLUMNS, any_network.reasons(zoo_blocks.any_part("zoo"))),
    "any-promise": lambda: markdown(promise.COLUMNS, promise.body(zoo_blocks.any_part("promise"))),
    "any-figures": lambda: figures(any_network.figures(read("any_network.jsonl")[-1])),
    "training-machine": zoo_blocks.training_machine,
    "training-networks": lambda: markdown(
        any_training.COLUMNS, any_training.body(zoo_blocks.training_part("networks"))
    ),
    "training-tables": lambda: markdown(
        any_training.COLUMNS, any_training.body(zoo_blocks.training_part("tables"))
    ),
    "training-refused": lambda: markdown(
        REASON_COLUMNS, any_training.reasons(any_training.tried(zoo_blocks.training()))
    ),
    "training-faults": zoo_blocks.training_faults,
    "training-figures": zoo_blocks.training_figures,
    "fashion-race": lambda: markdown(race.COLUMNS, race.body(read("fashion_race.jsonl"))),
    "fashion-race-figures": lambda: figures(race.figures(read("fashion_race.jsonl"))),
    **one_pass_blocks.BLOCKS,
    **moments_blocks.BLOCKS,
    **topology_blocks.BLOCKS,
    **streams_blocks.BLOCKS,
    **priors_blocks.BLOCKS,
    **field_blocks.BLOCKS,
    **sensing_blocks.BLOCKS,
    **solve_blocks.BLOCKS,
    **galen_blocks.BLOCKS,
}


def filled(text: str) -> str:
    """The page with all blocks regenerated whose results exist."""
    for name in re.findall(r"<!-- begin (\S+) -->", text):
        try:
            block = f"<!-- begin {name} -->\n\n{TABLES[name]()}\n\n<!-- end -->"
        except NotMeasured as missing:
            print(f"block {name} is not changed: no {missing}")
            continue
        text = re.sub(rf"<!-- begin {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.S)  # noqa: B023
    return text


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
