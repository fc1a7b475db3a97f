"""The examples run as their README says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*arguments, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_plain_loop(tmp_path):
    out = run(EXAMPLES / "plain_loop.py", cwd=tmp_path)
    assert "'accuracy': 0.9" in out


def test_lightning_module(tmp_path):
    out = run("-W", "ignore", EXAMPLES / "lightning_module.py", cwd=tmp_path)
    assert "'accuracy': 0.9" in out


def test_own_network_and_csv(tmp_path):
    folder = shutil.copytree(EXAMPLES / "own_network", tmp_path / "own_network")
    run("make_csv.py", cwd=folder)
    common = [
        "--data",
        "diabetes.csv",
        "--target",
        "target",
        "--network",
        "network.py:build",
        "--density",
        "0.2",
    ]
    run(
        "-m",
        "szilard",
        "fit",
        *common,
        "--epochs",
        "30",
        "--no-baselines",
        "--quiet",
        "--out",
        "run",
        cwd=folder,
    )
    run("-m", "szilard", "predict", "run", "diabetes.csv", "-o", "predictions.csv", cwd=folder)
    lines = (folder / "predictions.csv").read_text().splitlines()
    assert len(lines) == 443
    assert (folder / "run" / "report.html").exists()
