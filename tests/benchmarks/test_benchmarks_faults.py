"""benchmarks/faults.py detects every kind of fault that it counts, so a figure of zero means that it found none."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
import torch

import audit
import faults
from robustness import hostile_inputs, hostile_szd, mutation_run, odd_json, thread_checks, watch, worker
from robustness.watch import MIB, watched
from szilard import file
from szilard.errors import SzilardError

WORKER = """
import json, os, signal, struct, sys
plan, share, of, begin, folder = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
open(folder + "/faults.jsonl", "a").close()
for number in range(12):
    if number % of == share and number >= begin:
        open(folder + "/at", "r+b").write(struct.pack("<q", number))
        if number == 4:
            os.kill(os.getpid(), signal.SIGSEGV)
open(folder + "/at", "r+b").write(struct.pack("<q", -2))
"""


def raising(error):
    def call():
        raise error

    return call


def test_a_szilard_error_is_a_refusal_and_any_other_exception_is_wrong():
    assert watched(raising(SzilardError("no"))).refusal == "no"
    assert watched(raising(KeyError("x"))).wrong == "KeyError: 'x'"
    assert watched(raising(RecursionError())).wrong is not None
    assert watched(raising(type("Panic", (BaseException,), {})("x"))).wrong == "Panic: x"
    assert watched(lambda: 3).value == 3


def test_a_message_with_terminal_control_characters_is_judged_wrong():
    class ControlCharacters(SzilardError):
        def __str__(self) -> str:
            return "a\x1b[2J"

    assert watched(raising(ControlCharacters())).wrong is not None


def test_peak_memory_is_measured():
    if watch.reset_peak() is None:
        pytest.skip("this system does not report peak memory")
    found = watched(lambda: int(np.ones(200 * MIB, np.uint8)[-1]))
    assert 190 * MIB < found.peak < 400 * MIB
    assert watch.too_much(found, 0)
    assert not watch.too_much(found, 200 * MIB)


def test_opened_and_executed_files_are_recorded(tmp_path):
    allowed, other = tmp_path / "a" / "allowed", tmp_path / "b" / "other"
    for path in (allowed, other):
        path.parent.mkdir()
        path.write_text("x")
    assert watched(allowed.read_text, (allowed,)).touched == []
    assert watched(other.read_text, (allowed,)).touched == [f"opened {other}"]
    payload = tmp_path / "payload.py"
    code = compile("1", str(payload), "exec")
    assert watched(lambda: exec(code)).touched == [f"ran {payload}"]


def test_a_reader_that_returns_wrong_values_is_detected(tmp_path, monkeypatch):
    number = next(
        n for n in range(100) if not hostile_szd.expected(hostile_szd.mutant("szd-deep", n)).refused
    )
    data = hostile_szd.mutant("szd-deep", number)
    right = file.arrays

    def other(document):
        return {
            name: np.concatenate([value.reshape(-1), value.reshape(-1)])
            for name, value in right(document).items()
        }

    monkeypatch.setattr(file, "arrays", other)
    assert "wrong_values" in {key for key, _ in hostile_szd.check(data, tmp_path)}


def test_a_reader_that_refuses_a_valid_file_is_detected(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "loads", lambda data, **_: raising(file.SzilardFileError("no"))())
    data = hostile_szd.seed_files()[1]
    assert "wrong_values" in {key for key, _ in hostile_szd.check(data, tmp_path, all_functions=False)}


def test_an_input_that_kills_its_process_is_counted_and_the_others_are_still_tested(tmp_path, monkeypatch):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"families": {"szd-deep": 12}}))
    (tmp_path / "worker.py").write_text(WORKER)
    popen = mutation_run.subprocess.Popen

    def begin(command, **options):
        return popen([sys.executable, str(tmp_path / "worker.py"), *command[2:]], **options)

    monkeypatch.setattr(mutation_run, "subprocess", types.SimpleNamespace(Popen=begin))
    share = mutation_run.Share(plan, 0)
    while share.look():
        pass
    assert [(fault["key"], fault["family"], fault["number"]) for fault in share.found()] == [
        ("crashes", "szd-deep", 4)
    ]
    assert share.counts() == {"szd-deep": 6}


def test_inputs_of_all_families_are_interleaved():
    found = list(worker.jobs({"families": {"a": 5000, "b": 10, "c": 0}}))
    assert len(found) == len(set(found)) == 5010
    assert {family for family, _ in found[:1100]} == {"a", "b"}


def test_wrong_predictions_of_threads_are_counted():
    class SharedState:
        """Returns the seed that any thread passed last."""

        def predict(self, network, x, *, samples, seed):
            self.seed = seed
            for _ in range(200):
                torch.zeros(3).sum()
            return torch.tensor(float(self.seed))

    inputs = [torch.zeros(1)] * 4
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        calls, wrong = thread_checks.asked_at_once(SharedState(), torch.nn.Identity(), inputs, 10)
    finally:
        sys.setswitchinterval(interval)
    assert calls == 80
    assert wrong > 0


def test_odd_json_inserts_raw_text():
    text = odd_json.text({"a": "@@1e999@@", "b": '@@"\\ud800"@@', "c": 1})
    assert text == b'{"a": 1e999, "b": "\\ud800", "c": 1}'


@pytest.mark.parametrize("family", ["npz", "csv", "idx"])
def test_mutants_of_data_files_are_deterministic(family):
    assert hostile_inputs.mutant(family, 5) == hostile_inputs.mutant(family, 5)


def test_the_table_has_correct_sums():
    rows = [{"family": "pt", "inputs": 3, **dict.fromkeys(faults.KEYS, 1)}]
    section = {"rows": rows, "mutations": 3, "deep_mutations": 3, **dict.fromkeys(faults.KEYS, 1)}
    assert faults.body(section)[-1] == ["all", "3", *["1"] * 6]
    assert set(faults.figures(section)) >= {
        "mutations",
        "deep_mutations",
        *faults.KEYS,
        "thread_errors",
        "double_start_safe",
    }


def test_an_audit_with_skipped_or_no_packages_fails():
    skipped = {"name": "a", "skip_reason": "not found"}
    clean = {"name": "b", "version": "1", "vulns": []}
    bad = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    assert audit.report([clean, clean], 2)[0] == 0
    assert audit.report([clean, skipped], 2)[0] == 3
    assert audit.report([], 2)[0] == 3
    code, lines = audit.report([clean, bad], 2)
    assert code == 1
    assert lines[0] == "c 1: PYSEC-1, fixed in 2"
    assert {"torch", "numpy"} <= set(audit.needed())
