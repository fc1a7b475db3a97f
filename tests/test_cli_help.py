"""The first thing a stranger types."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cli_tools import environment, szilard

import szilard as package
from szilard import data, methods, networks


def start(*arguments: str) -> tuple[int, str, float]:
    """Exit code, output and processor seconds of a process: those do not depend on who else is computing."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, output, usage.ru_utime + usage.ru_stime


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="processor time of a child")
def test_help_is_instant():
    found = [start("-m", "szilard", "fit", "--help") for _ in range(3)]
    assert all(code == 0 for code, _, _ in found)
    assert min(seconds for _, _, seconds in found) < 0.5  # the least: the rest is what else the machine does


@pytest.mark.parametrize("module", ["szilard", "szilard.cli"])
def test_importing_loads_nothing_heavy(module):
    heavy = ("torch", "numpy", "sklearn", "matplotlib", "torchmetrics", "lightning_fabric")
    code, output, _ = start("-c", f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])")
    assert (code, output.strip()) == (0, "[]")


def test_the_package_shows_its_names():
    for name in package.__all__:
        assert getattr(package, name) is not None, name
    assert dir(package) == package.__all__
    with pytest.raises(AttributeError, match="no attribute 'fot'"):
        package.fot  # noqa: B018
    from szilard.training import fit, measure

    assert package.fit is fit
    assert package.measure is measure


def test_help_knows_every_data_set_network_and_method(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    typed = szilard("fit", "--help")
    assert typed.code == 0
    words = typed.output
    for name, _ in data.names():
        assert name in words, name
    for name in methods.names():
        assert name in words, name
    for name in ("mlp", "lenet5", "resnet20"):
        assert name in words
        assert any(name == known for known, _ in networks.names())


@pytest.mark.parametrize("command", ["fit", "measure", "predict", "report"])
def test_every_command_has_examples(command):
    typed = szilard(command, "--help")
    assert typed.code == 0
    assert "Examples" in typed.output
    assert f"szilard {command} " in typed.output


def test_version():
    assert szilard("--version").output.startswith(f"szilard {package.__version__} (kernels: ")


def test_a_wrong_option_is_told():
    typed = szilard("fit", "--epoch", "3")
    assert typed.code == 2
    assert "--epoch" in typed.output
    assert "Traceback" not in typed.output
