"""Shared by all tests: one thread, and an empty data folder of the test's own."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from szilard import SzilardError
from szilard.cli import deployed_uncertainty, deployment_summary
from szilard.compression import Distil, imagine
from szilard.cost.latency import latencies
from szilard.data import ood
from szilard.metrics import confidence_intervals

gc.disable()  # until all tests are collected
_ROOT = Path(__file__).resolve().parent.parent
_SHARE = pytest.StashKey[set[Path]]()
_STEPS = {function: function.__kwdefaults__["steps"] for function in (Distil.__init__, imagine)}
sys.path[:0] = [str(_ROOT / name) for name in ("benchmarks", "release", "tests/support")]
sys.modules.setdefault("sparse", None)  # type: ignore[arg-type]  # Dask would take the folder tests/sparse for a package

# Before any fixture of a module: signing keys that commands create must not go into the user's configuration.
_CONFIG = tempfile.TemporaryDirectory(prefix="szilard-config-")
os.environ["XDG_CONFIG_HOME"] = _CONFIG.name

# No deadline for a Hypothesis example and no limit on generating inputs: both would fail on a busy machine.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The default suite gives the same result each time; `make test-all` draws new examples each time, and more of them.
settings.register_profile("suite", patient, max_examples=50, derandomize=True)
settings.register_profile("thorough", patient, max_examples=200)
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
        "--seconds-table",
        action="store_true",
        help="with --processor-seconds: print the table of tests/parts.py",
    )
    parser.addoption(
        "--part", metavar="I/N", help="run the I-th of N shares of the files, as tests/parts.py does"
    )


def _in_another_part(path: Path, config: pytest.Config) -> bool:
    """Whether a file of tests is another process's share of what was asked for."""
    from parts import share

    if _SHARE not in config.stash:
        asked = [Path(argument.split("::")[0]).resolve() for argument in config.args]
        files = [file for one in asked for file in (one.rglob("test_*.py") if one.is_dir() else [one])]
        number, parts = map(int, config.getoption("--part").split("/"))
        names = [file.relative_to(_ROOT).as_posix() for file in files]
        config.stash[_SHARE] = {_ROOT / name for name in share(names, number, parts)}
    return path not in config.stash[_SHARE]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A process imports the files of its own part alone: to rewrite their assertions takes seconds."""
    if config.getoption("--part") is None or not collection_path.is_file():
        return None
    return _in_another_part(collection_path, config) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--part") is None:
        return
    # Files that were named themselves are collected all the same.
    config.hook.pytest_deselected(items=[x for x in items if _in_another_part(x.path, config)])
    items[:] = [x for x in items if not _in_another_part(x.path, config)]


def pytest_collection_finish() -> None:
    """Modules and collected tests stay until the end: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 50)  # the usual 700 objects would take a twentieth of the time of all tests


def pytest_configure(config: pytest.Config) -> None:
    from szilard.kernels import dispatch

    try:
        dispatch.describe()
    except SzilardError as error:  # report it once; otherwise every test would fail with it
        raise pytest.UsageError(str(error)) from None
    limit = config.getoption("--processor-seconds")
    if limit is not None:
        from processor_time import ProcessorTime

        config.pluginmanager.register(ProcessorTime(limit, config.getoption("--seconds-table")))


_PHOTOGRAPHS = functools.cache(ood._photographs)


def _photographs(n: int, shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    """Patches of photographs, cut once: most runs on digits ask for the same ones."""
    return _PHOTOGRAPHS(n, tuple(shape), seed).clone()


#: Modules of the report whose plots are left out, because drawing them takes most of the time of a page.
_PLOTTING = (
    "calibration_section",
    "curves",
    "galen_plots",
    "one_pass_section",
    "stream_plots",
    "support_section",
    "weights",
)


def _leave_out(plots: Iterable[str], patch: pytest.MonkeyPatch) -> None:
    """Empty drawings in place of the plots of these modules of the report."""
    for name in plots:
        module = importlib.import_module(f"szilard.report.{name}")
        patch.setattr(module, "svg", lambda name, *_, **__: f'<svg id="{name}"></svg>')


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of a file marked ``pictures`` that looks at no plot."""
    _leave_out(_PLOTTING, monkeypatch)


@pytest.fixture(scope="module", autouse=True)
def _short_work(request: pytest.FixtureRequest) -> Iterator[None]:
    """What takes most of the time of small runs, compressions and deployments is left out or shortened.

    A file marked ``pictures`` draws plots (of the modules that the mark names, or all), and one marked ``intervals``
    takes all bootstrap samples; a test that uses ``usual_steps`` takes all steps.
    """
    with pytest.MonkeyPatch.context() as patch:
        pictures = request.node.get_closest_marker("pictures")
        drawn = () if pictures is None else pictures.args or _PLOTTING
        _leave_out(set(_PLOTTING) - set(drawn), patch)
        for function, steps in _STEPS.items():
            patch.setitem(function.__kwdefaults__, "steps", steps // 10)
        if request.node.get_closest_marker("intervals") is None:
            patch.setattr(confidence_intervals, "_DRAWS", confidence_intervals._DRAWS // 5)
        patch.setattr(ood, "_photographs", _photographs)
        # The speed that `szilard deploy` prints takes a second a network; its figures cannot be checked.
        patch.setattr(deployment_summary, "_BUDGET", 0.02)
        patch.setattr(deployed_uncertainty, "_MOST_DRAWS", 60)  # small networks get a thousand
        quick = functools.partial(latencies, warm_up=0.005, turn=0.002, least_rounds=3)
        patch.setattr(deployment_summary, "latencies", quick)
        yield


@pytest.fixture(scope="session")
def one_registry() -> Iterator[None]:
    """The tables of operators, which torch makes anew for each exported file in half a second, are made once."""
    registration = pytest.importorskip("torch.onnx._internal.exporter._registration")
    from torch._export import utils

    make = functools.cache(registration.ONNXRegistry.from_torchlib)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration.ONNXRegistry, "from_torchlib", staticmethod(make))
        if hasattr(
            utils, "_materialize_cpp_cia_ops"
        ):  # of torch 2.9 and later: all operators, for each namespace
            patch.setattr(utils, "_materialize_cpp_cia_ops", functools.cache(utils._materialize_cpp_cia_ops))
        yield


@pytest.fixture
def usual_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compression trains levels and imagined inputs for as many steps as by default."""
    for function, steps in _STEPS.items():
        monkeypatch.setitem(function.__kwdefaults__, "steps", steps)


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
