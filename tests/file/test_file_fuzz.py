"""The atheris target finds no fault in a short run; see ``tests/fuzz/szd.py`` for longer runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import environment

pytest.importorskip("atheris")
TARGET = Path(__file__).parents[1] / "fuzz" / "szd.py"


def fuzz(corpus: Path, runs: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(TARGET),
            str(corpus),
            f"-runs={runs}",
            "-seed=1",
            "-max_len=4096",
            "-rss_limit_mb=1024",
        ],
        env=environment(),
        cwd=corpus.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {runs} runs" in done.stderr


def test_short_fuzzing(tmp_path):
    fuzz(tmp_path / "corpus", 100)


@pytest.mark.slow
def test_long_fuzzing(tmp_path):
    fuzz(tmp_path / "corpus", 20_000)
