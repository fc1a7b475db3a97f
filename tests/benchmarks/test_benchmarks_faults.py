"""benchmarks/faults.py notices what it looks for; no figure of it is zero because nobody looked."""

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


def test_a_szilard_error_is_a_refusal_and_anything_else_is_wrong():
    assert watched(raising(SzilardError("no"))).refusal == "no"
    assert watched(raising(KeyError("x"))).wrong == "KeyError: 'x'"
    assert watched(raising(RecursionError())).wrong is not None
    assert watched(raising(type("Panic", (BaseException,), {})("x"))).wrong == "Panic: x"
    assert watched(lambda: 3).value == 3


def test_a_sentence_that_a_terminal_would_obey_is_wrong():
    class Loud(SzilardError):
        def __str__(self) -> str:
            return "a\x1b[2J"

    assert watched(raising(Loud())).wrong is not None


def test_memory_is_seen():
    if watch.reset_peak() is None:
        pytest.skip("this system does not say")
    found = watched(lambda: int(np.ones(200 * MIB, np.uint8)[-1]))
    assert 190 * MIB < found.peak < 400 * MIB
    assert watch.too_much(found, 0)
    assert not watch.too_much(found, 200 * MIB)


def test_files_that_are_opened_are_seen(tmp_path):
    allowed, other = tmp_path / "a" / "allowed", tmp_path / "b" / "other"
    for path in (allowed, other):
        path.parent.mkdir()
        path.write_text("x")
    assert watched(allowed.read_text, (allowed,)).touched == []
    assert watched(other.read_text, (allowed,)).touched == [f"opened {other}"]
    payload = tmp_path / "payload.py"
    code = compile("1", str(payload), "exec")
    assert watched(lambda: exec(code)).touched == [f"ran {payload}"]


def test_a_reader_that_gives_other_values_is_found(tmp_path, monkeypatch):
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


def test_a_reader_that_refuses_what_is_good_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "loads", lambda data, **_: raising(file.SzilardFileError("no"))())
    data = hostile_szd.seed_files()[1]
    assert "wrong_values" in {key for key, _ in hostile_szd.check(data, tmp_path, all_doors=False)}


def test_an_input_that_kills_its_process_is_counted_and_the_rest_goes_on(tmp_path, monkeypatch):
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


def test_inputs_of_all_families_take_turns():
    found = list(worker.jobs({"families": {"a": 5000, "b": 10, "c": 0}}))
    assert len(found) == len(set(found)) == 5010
    assert {family for family, _ in found[:1100]} == {"a", "b"}


def test_wrong_predictions_of_threads_are_counted():
    class Forgetful:
        """Answers with what another thread has asked for last."""

        def predict(self, network, x, *, samples, seed):
            self.seed = seed
            for _ in range(200):
                torch.zeros(3).sum()
            return torch.tensor(float(self.seed))

    inputs = [torch.zeros(1)] * 4
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        calls, wrong = thread_checks.asked_at_once(Forgetful(), torch.nn.Identity(), inputs, 10)
    finally:
        sys.setswitchinterval(interval)
    assert calls == 80
    assert wrong > 0


def test_odd_json_has_texts_that_no_writer_writes():
    text = odd_json.text({"a": "@@1e999@@", "b": '@@"\\ud800"@@', "c": 1})
    assert text == b'{"a": 1e999, "b": "\\ud800", "c": 1}'


@pytest.mark.parametrize("family", ["npz", "csv", "idx"])
def test_mutants_of_data_files_are_the_same_every_time(family):
    assert hostile_inputs.mutant(family, 5) == hostile_inputs.mutant(family, 5)


def test_the_table_adds_up():
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


def test_an_audit_that_looked_nothing_up_does_not_say_that_all_is_well():
    skipped = {"name": "a", "skip_reason": "not found"}
    clean = {"name": "b", "version": "1", "vulns": []}
    bad = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    assert audit.report([clean, clean], 2)[0] == 0
    assert audit.report([clean, skipped], 2)[0] == 3
    assert audit.report([], 2)[0] == 3
    code, lines = audit.report([clean, bad], 2)
    assert code == 1
    assert lines[0] == "c 1: PYSEC-1, mended in 2"
    assert {"torch", "numpy"} <= set(audit.needed())
