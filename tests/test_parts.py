"""The suite's own tools: splitting the files into parts, and measuring processor time."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts import ROOT, SECONDS, USUAL, share
from processor_time import ProcessorTime, spent


@given(st.sets(st.text(max_size=5), max_size=40), st.integers(1, 5))
def test_every_file_is_in_exactly_one_part(files, parts):
    shares = [share(sorted(files), number, parts) for number in range(1, parts + 1)]
    assert set().union(*shares) == files
    assert sum(map(len, shares)) == len(files)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_all_processes_agree_on_the_parts():
    """The order of sets differs between processes, and sums of numbers depend on their order."""
    code = "from parts import *; print(sorted(share(sorted({*SECONDS, *sum(TOGETHER, ())}), 1, 2)))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": str(seed)}, cwd=ROOT / "tests",
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in range(1, 9)
    }  # fmt: skip
    assert len(found) == 1


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_have_as_much_to_do(parts):
    files = {file.relative_to(ROOT).as_posix() for file in (ROOT / "tests").rglob("test_*.py")}
    assert files >= SECONDS.keys()  # each is there
    loads = [sum(SECONDS.get(x, USUAL) for x in share(sorted(files), i + 1, parts)) for i in range(parts)]
    assert max(loads) - min(loads) <= USUAL + 1e-6  # sums of rounded numbers


def test_no_example_has_a_deadline():
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


def item(name, *, slow=False):
    return types.SimpleNamespace(nodeid=f"tests/test_x.py::{name}", get_closest_marker=lambda _: slow or None)


def test_tests_over_the_time_limit_are_reported_unless_marked_slow():
    counted = ProcessorTime(limit=0.02)
    for one in (item("busy"), item("marked", slow=True)):
        hook = counted.pytest_runtest_call(one)
        next(hook)
        until = spent() + 0.05
        while spent() < until:
            pass
        with pytest.raises(StopIteration):
            hook.send(None)
    idle = counted.pytest_runtest_call(item("idle"))
    next(idle)
    with pytest.raises(StopIteration):
        idle.send(None)
    assert counted.files["tests/test_x.py"] >= 0.1
    assert counted.table()[1:-1] == ["}"]
    counted.files["tests/test_y.py"] += 2.34
    assert counted.table()[1:-1] == ['    "tests/test_y.py": 2.3,', "}"]
    [line] = counted.over()
    assert line.startswith("tests/test_x.py::busy takes 0.")
    assert "must be marked slow" in line
