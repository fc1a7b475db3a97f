"""Messages that name Python arguments are rewritten to name the options of the command line."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import pytest
from cli_tools import szilard

import szilard as package
from szilard.cli.messages import format_warning
from szilard.cli.option_names import for_command_line
from szilard.errors import SzilardError, SzilardWarning

PACKAGES = (
    "bayes", "compression", "cost", "data", "fields", "likelihood", "networks", "training", "methods", "metrics",
    "sparse", "topology",
)  # fmt: skip
PYTHON = re.compile(
    r"(?<![-\w./])(max_drop|max_bytes|hold_out|drop_constant|input_shape|n_train|data_root|lam)\b|\btask ?=|"
    r"(?<!return_indices)(?<!inplace)(?<!\bpoint)=(True|False)\b|"  # torch's own, and what only Python has
    r"\bdensity=[\d.]|(?<!--option )\b[a-z_]+='|"
    r"\bor (give )?(evaluate|forward)\b"
)


def sentences():
    """Every message of an error, warning or note in these packages."""
    root = Path(package.__file__).parent
    for name_of_package in PACKAGES:
        for path in sorted((root / name_of_package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
            for call in calls:
                if any(getattr(given, "id", "") == "DeprecationWarning" for given in call.args):
                    continue  # for programmers: the command line never shows it
                name = getattr(call.func, "id", getattr(call.func, "attr", ""))
                if name in ("SzilardError", "SzilardWarning", "SzilardFileError", "append", "warn"):
                    for argument in call.args:
                        if isinstance(argument, ast.JoinedStr | ast.Constant):
                            yield path.name, _text(argument)


def _text(node):
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "0.1" for part in node.values)


def test_no_message_on_the_command_line_names_a_python_argument():
    found = list(sentences())
    assert len(found) > 150
    assert sum(bool(PYTHON.search(text)) for _, text in found) > 15  # before rewriting, some do
    left = [(name, for_command_line(text)) for name, text in found if PYTHON.search(for_command_line(text))]
    assert left == []


def test_rewriting_is_idempotent():
    for _, text in sentences():
        assert for_command_line(for_command_line(text)) == for_command_line(text)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("set every to at most 20, or train longer", "add --option every=20, or less, or train longer"),
        (
            "leave the labels out, or evaluate, which returns recall; or choose by size with max_bytes",
            "leave the labels out; or choose by size with --max-bytes",
        ),
        (
            "is of another search; name another folder, or pass overwrite=True",
            "is of another search; name another --folder",
        ),
        ("give a larger target, or more evaluations", "give a larger target, or more --evaluations"),
        (
            "which a search for a policy needs; use szilard.compress",
            "which a search for a policy needs; leave out --search",
        ),
        ("give one of max_drop, max_bytes and lam", "give one of --max-drop, --max-bytes and --lam"),
        ("or load it with drop_constant=True", "or use --drop-constant"),
        (
            "is text and not a quantity; use task='classification'",
            "is text and not a quantity; use --task classification",
        ),
        ("give calibration data, or a smaller lam", "give --data, or a smaller --lam"),
        (
            "512 examples are too few to promise a drop of at most 0.005 on others",
            "512 examples are too few to promise a drop of at most 0.5 points on others",
        ),
        (
            "the network answers list, in which there is no tensor; give forward, which calls it",
            "the network answers list, in which there is no tensor; in Python, give szilard.compress forward, which "
            "calls it",
        ),
        ("give more inputs with labels or evaluate, or choose", "give more inputs with labels, or choose"),
        (
            "try another learning rate or more epochs",
            "try another learning rate (--lr) or more epochs (--epochs)",
        ),
        (
            "are left, so try a larger density, such as 0.5",
            "are left, so try a larger --density, such as 0.5",
        ),
        ("try accelerator='cpu' and devices=1", "try --accelerator cpu --devices 1"),
        (
            "add resume=True to go on, overwrite=True to replace it",
            "add --resume to go on, --overwrite to replace it",
        ),
        ("choose ood='shuffled-pixels'", "choose --ood shuffled-pixels"),
        (
            "give density=0.5 and allocation='uniform'",
            "give --density 0.5 and --option allocation=uniform",
        ),
        (
            "give pretrained weights (pretrained=True), or choose erk",
            "give pretrained weights (--option pretrained=true), or choose erk",
        ),
        ("set dense_stem=False or choose", "set --option dense_stem=false or choose"),
        (
            "one of noisy, random, or in Python a function that makes a sparse.Growth, not 'x'",
            "one of noisy, random, not 'x'",
        ),
        ("multilabel (as task says)", "multilabel (as --task says)"),
        (
            "an earlier write did not finish; resume it, or overwrite it to start anew",
            "an earlier write did not finish; add --resume to continue it, or --overwrite to start anew",
        ),
        (
            "s.zarr exists; name another folder, or overwrite it",
            "s.zarr exists; name another folder, or add --overwrite",
        ),
        ("lambda is no option, and neither is a slam", "lambda is no option, and neither is a slam"),
        ("runs/max_drop_05/run.toml does not exist", "runs/max_drop_05/run.toml does not exist"),
    ],
)
def test_rewritten_messages(message, shown):
    assert for_command_line(message) == shown


def test_warnings_and_errors_are_rewritten(tmp_path):
    assert format_warning(SzilardWarning("give a smaller lam"), SzilardWarning, "f", 1) == (
        "warning: give a smaller --lam\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "lam" in str(SzilardError("give a smaller lam"))  # unchanged in Python
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(f"1,{i},{i % 2}" for i in range(60)))
    szilard("fit", "--data", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "run").refused(
        "leave it out with --drop-constant"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--max-drop", -1], "--max-drop is in percentage points, from 0 to 100, and not -1"),
        (["--max-bytes", 0], "--max-bytes must be a positive number of bytes"),
        (["--lam", "nan"], "--lam must be a positive number"),
        (["--confidence", 2], "--confidence must be 0 or lie between 0.5 and 1"),
        (["--task", "ranking"], "--task is ranking; take one of classification"),
    ],
)
def test_messages_about_invalid_options(tmp_path, options, sentence):
    szilard("compress", tmp_path / "none.pt", *options).refused(sentence)
