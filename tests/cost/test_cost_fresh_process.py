"""Jobs in a fresh process: what they know, what they give back, and how they fail."""

from __future__ import annotations

import os
import sys

import pytest

from szilard.cost import fresh_process
from szilard.cost.fresh_process import THREAD_VARIABLES, in_fresh_process
from szilard.errors import OwnCodeError, SzilardError

JOBS = """
import os
from szilard.errors import OwnCodeError, SzilardError

def where(mark):
    print("noise on standard output")
    import torch
    from szilard.cost.fresh_process import THREAD_VARIABLES
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {"pid": os.getpid(), "mark": mark, "threads": torch.get_num_threads(), "processors": affinity,
            "variables": [os.environ[name] for name in THREAD_VARIABLES]}

def refuses(): raise SzilardError("no")
def own(): raise OwnCodeError("theirs")
def breaks(): raise ZeroDivisionError
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    (tmp_path / "jobs_of_a_test.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "jobs_of_a_test"


def test_a_function_runs_elsewhere_with_its_threads(jobs):
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    found = in_fresh_process(f"{jobs}:where", {"mark": ["é", 1]}, threads=1)
    assert found["pid"] != os.getpid()
    assert found["mark"] == ["é", 1]
    assert found["threads"] == 1
    assert found["variables"] == ["1"] * len(THREAD_VARIABLES)
    if before is not None:
        assert found["processors"] == 1
        assert os.sched_getaffinity(0) == before


def test_errors_come_back(jobs):
    with pytest.raises(SzilardError, match=r"^no$"):
        in_fresh_process(f"{jobs}:refuses")
    with pytest.raises(SzilardError, match=r"fresh process for jobs_of_a_test:breaks ended with exit code 1"):
        in_fresh_process(f"{jobs}:breaks")


def test_errors_of_the_users_code_come_back(jobs):
    with pytest.raises(OwnCodeError, match=r"^theirs$"):
        in_fresh_process(f"{jobs}:own")


def test_a_command_line():
    command = [sys.executable, "-c", "import json, sys; print(json.dumps(json.load(sys.stdin)['a'] + 1))"]
    assert in_fresh_process(command, {"a": 1}) == 2
    with pytest.raises(SzilardError, match="printed no JSON value"):
        in_fresh_process([sys.executable, "-c", "print('1 2')"])
    with pytest.raises(SzilardError, match="ended with exit code 3"):
        in_fresh_process([sys.executable, "-c", "raise SystemExit(3)"])


def test_processors(monkeypatch, tmp_path):
    """Four cores of two processors each, 4 to 7 faster: 4 and 6 are two fast cores."""
    for number in range(8):
        folder = tmp_path / f"cpu{number}"
        (folder / "topology").mkdir(parents=True)
        first = number // 2 * 2
        (folder / "topology" / "thread_siblings_list").write_text(f"{first}-{first + 1}\n")
        (folder / "cpufreq").mkdir()
        (folder / "cpufreq" / "cpuinfo_max_freq").write_text("5000000" if number >= 4 else "3000000")
    monkeypatch.setattr(fresh_process, "_TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert fresh_process._processors(1) == [4]
    assert fresh_process._processors(2) == [4, 6]
    assert fresh_process._processors(5) == [4, 6, 5, 7, 0]
    monkeypatch.setattr(fresh_process, "_TOPOLOGY", tmp_path / "none")
    assert fresh_process._processors(2) == [0, 1]
    with pytest.raises(SzilardError, match="threads is 9, and this process may use 8 processors"):
        fresh_process._processors(9)
    with pytest.raises(SzilardError, match="threads must be at least 1"):
        in_fresh_process(["true"], threads=0)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert fresh_process._processors(9) is None
