"""How many files must be written or edited to add a training method or a compression pass.

A file with a minimal method or pass is added to a copy of the package and of the documentation. Then every place that
should list it is checked. A place that does not list it would have to be edited, so that

    files = 1 + number of places that do not list it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

METHOD = '''"""A method in a copy of the package, to count the files that a new method needs."""

from typing import Any

from szilard.methods.deterministic import Deterministic


class PluggedMethod(Deterministic):
    """Trains a deterministic network.

    Args:
        knob: has no effect.
    """

    name = "plugged-method"
    label = "a plugged method"
    summary = "Counts the files of a new method"

    def __init__(self, n_data: int, *, knob: float = 0.25, **options: Any) -> None:
        super().__init__(n_data, **options)
        self.knob = knob
'''

PASS = '''"""A pass in a copy of the package, to count the files that a new pass needs."""

from szilard.compression.draft import Draft, Setting


class PluggedPass:
    """Adds a note that it was called.

    Args:
        knob: has no effect.
    """

    name = "plugged-pass"
    summary = "Counts the files of a new pass"

    def __init__(self, *, knob: float = 0.25) -> None:
        self.knob = knob

    def __call__(self, draft: Draft, setting: Setting) -> None:
        draft.notes.append("plugged pass was here")
'''

# Runs in one process, on the package with the plug-ins. It prints a text for each place, which is searched below.
ASKED = """
import json, sys
from pathlib import Path
import torch
from typer.testing import CliRunner
import szilard
from szilard.cli import app
import {passes} as passes_package

def typed(*words):
    done = CliRunner().invoke(app, list(words), env={{"COLUMNS": "300"}})
    return done.output if done.exit_code == 0 else f"exit code {{done.exit_code}}"

run = Path("plugged-run")
short = ["--n-train", "100", "--network", "mlp:8", "--epochs", "1", "--samples", "2", "--accelerator", "cpu"]
trained = typed("fit", "--data", "digits", "--method", "plugged-method", "--option", "knob=0.5", "--no-baselines",
                "--out", str(run), *short)
page = run / "report.html"
network = torch.nn.Linear(3, 2)
passes = [passes_package.PluggedPass()] if hasattr(passes_package, "PluggedPass") else []
print(json.dumps({{
    "fit --help": typed("fit", "--help"),
    "methods": typed("methods"),
    "methods plugged-method": typed("methods", "plugged-method"),
    "methods plugged-pass": typed("methods", "plugged-pass"),
    "report": page.read_text() if page.is_file() else trained,
    "public names": json.dumps([*szilard.methods.__all__, *passes_package.__all__]),
    "compress": json.dumps(szilard.compress(network, lam=1e-3, passes=passes, progress=False).notes),
}}))
"""


@dataclass(frozen=True)
class Kind:
    """A plug-in, and the texts that each place must contain.

    Attributes:
        package: folder of the file, relative to the library.
        source: content of the file.
        wanted: by place, the texts to find.
    """

    package: str
    source: str
    wanted: dict[str, tuple[str, ...]]


KINDS = {
    "method": Kind(
        "methods",
        METHOD,
        {
            "fit --help": ("plugged-method",),
            "methods": ("plugged-method", "Counts the files of a new method"),
            "methods plugged-method": ("knob = 0.25", "has no effect"),
            "report": ("a plugged method",),
            "public names": ('"PluggedMethod"',),
            "docs: methods": ("plugged-method", "Counts the files of a new method"),
            "docs: api/methods": ("PluggedMethod", "has no effect"),
        },
    ),
    "pass": Kind(
        "compression/passes",
        PASS,
        {
            "methods": ("plugged-pass", "Counts the files of a new pass"),
            "methods plugged-pass": ("knob = 0.25", "has no effect"),
            "public names": ('"PluggedPass"',),
            "compress": ("plugged pass was here",),
            "docs: compress": ("plugged-pass", "Counts the files of a new pass"),
            "docs: api/compress": ("PluggedPass", "has no effect"),
        },
    ),
}


def unaware(root: Path) -> dict[str, list[str]] | None:
    """By kind of plug-in, the places that do not list it.

    Args:
        root: folder of the checkout; nothing in it is changed.

    Returns:
        None if MkDocs is not installed, because the documentation cannot be built.
    """
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="szilard-house-") as folder:
        copy = Path(folder)
        for name in ("src", "docs"):
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "mkdocs.yml", copy)
        for name, kind in KINDS.items():
            (copy / "src" / "szilard" / kind.package / f"plugged_{name}.py").write_text(kind.source)
        answers = json.loads(_python(copy, ASKED.format(passes="szilard.compression")).splitlines()[-1])
        _python(
            copy,
            "from mkdocs.__main__ import cli; cli(['build', '--strict', '--quiet', '--site-dir', 'built'])",
        )
        for page in {place for kind in KINDS.values() for place in kind.wanted if place.startswith("docs: ")}:
            answers[page] = (copy / "built" / page.removeprefix("docs: ") / "index.html").read_text()
    return {
        name: [
            place for place, texts in kind.wanted.items() if any(text not in answers[place] for text in texts)
        ]
        for name, kind in KINDS.items()
    }


def _python(copy: Path, code: str) -> str:
    """Output of Python code that imports the package of the copy.

    Raises:
        RuntimeError: the process failed.
    """
    # An editable installation may have its own import finder before sys.path.
    first = (
        "import sys; sys.path.insert(0, 'src'); "
        "sys.meta_path[:] = [one for one in sys.meta_path if not type(one).__name__.startswith('ScikitBuild')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", first + code], cwd=copy, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the package with plug-ins failed: {done.stderr[-2000:]}")
    return done.stdout
