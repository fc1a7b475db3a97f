"""Shared by all tests: one thread, and an empty data folder of the test's own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from szilard import SzilardError

_ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(_ROOT / name) for name in ("benchmarks", "release", "tests/support")]

# Before any fixture of a module: signing keys that commands create must not go into the user's configuration.
_CONFIG = tempfile.TemporaryDirectory(prefix="szilard-config-")
os.environ["XDG_CONFIG_HOME"] = _CONFIG.name

# No deadline for a Hypothesis example and no limit on generating inputs: both would fail on a busy machine.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = (
        "1"  # set before Triton is imported: its kernels then run in the interpreter
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--processor-seconds", type=float, metavar="S",
        help="fail over tests that are not marked slow and take more processor time than this",
    )  # fmt: skip

    parser.addoption(
        "--part", metavar="I/N", help="run the I-th of N shares of the files, as tests/parts.py does"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--part") is None:
        return
    from parts import share

    number, parts = map(int, config.getoption("--part").split("/"))
    chosen = share([item.nodeid.split("::")[0] for item in items], number, parts)
    config.hook.pytest_deselected(items=[x for x in items if x.nodeid.split("::")[0] not in chosen])
    items[:] = [x for x in items if x.nodeid.split("::")[0] in chosen]


def pytest_configure(config: pytest.Config) -> None:
    from szilard.kernels import dispatch

    try:
        dispatch.describe()
    except SzilardError as error:  # report it once; otherwise every test would fail with it
        raise pytest.UsageError(str(error)) from None
    limit = config.getoption("--processor-seconds")
    if limit is not None:
        from processor_time import ProcessorTime

        config.pluginmanager.register(ProcessorTime(limit))


@pytest.fixture(autouse=True)
def _quiet_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("SZILARD_DATA", str(tmp_path_factory.getbasetemp() / "no-data"))


@pytest.fixture(params=["avx512", "avx2", "neon", "baseline"])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every instruction set of the C++ kernels that this machine runs."""
    from szilard.kernels import native

    monkeypatch.delenv("SZILARD_KERNELS", raising=False)
    before = native.isa()
    if native.library().szilard_use_isa(request.param.encode()):
        pytest.skip(f"this machine does not run {request.param}")
    yield request.param
    native.library().szilard_use_isa(before.encode())
