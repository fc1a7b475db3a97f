"""The file of a search: what it holds, what it refuses, and searches that are killed and continue."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import pytest

from policies import toy
from szilard import SzilardError
from szilard.compression.policies.by_name import SEARCHERS, make
from szilard.compression.policies.history import History, header
from szilard.compression.policies.problem import Proposal, Trial
from szilard.compression.policies.running import search

TRIALS = [
    Trial((0, 3, 1), 0.1 + 0.2, 1 / 3, (0.1, 1 / 7, 0.9)),
    Trial((1, 1, 1), math.inf, 0.25, measured=0.26),
    Trial((2, 0, 0), 1e-17, 0.4),
]


def opened(path, given, **options):
    with History.open(path, given, **options) as found:
        return found.trials


def test_trials_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "new" / "history.jsonl"
    with History.open(path, {"a": (1, 2)}) as history:
        for trial in TRIALS:
            history.append(trial)
        assert history.measure(2, 0.41) == replace(TRIALS[2], measured=0.41)
        assert history.trials == [*TRIALS[:2], replace(TRIALS[2], measured=0.41)]
    assert opened(path, {"a": [1, 2]}, resume=True) == history.trials
    assert all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines())


def test_a_history_in_memory_needs_no_file():
    history = History()
    history.append(TRIALS[0])
    history.measure(0, 0.5)
    assert history.trials == [replace(TRIALS[0], measured=0.5)]


def test_a_line_is_on_disk_when_append_returns(tmp_path, monkeypatch):
    path, synced, sync = tmp_path / "h.jsonl", [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), sync(handle)))
    with History.open(path, {}) as history:
        assert path.read_bytes().count(b"\n") == 1
        for number, trial in enumerate(TRIALS, 2):
            history.append(trial)
            assert path.read_bytes().count(b"\n") == number
            assert synced[-1] == path.stat().st_size


def test_another_search_is_refused_by_the_entry_that_differs(tmp_path):
    path = tmp_path / "h.jsonl"
    problem = toy.toy().problem
    given = header(problem, "greedy", network="abc")
    opened(path, given)
    assert opened(path, given, resume=True) == []
    others = {
        "target": header(replace(problem, target=0.5), "greedy", network="abc"),
        "seed": header(replace(problem, seed=3), "greedy", network="abc"),
        "searcher": header(problem, "random", network="abc"),
        "network": header(problem, "greedy", network="xyz"),
        "runtime": header(problem, "greedy", network="abc", runtime="onnx"),
        "sensitivity": header(replace(problem, sensitivity=[[1.0], [1.0], [1.0]]), "greedy", network="abc"),
        "space": header(
            replace(problem, space=replace(problem.space, fixed={"last": 9})), "greedy", network="abc"
        ),
    }
    for key, other in others.items():
        with pytest.raises(
            SzilardError, match=f"another search: its {key} is .* name another folder, or pass overwrite"
        ):
            opened(path, other, resume=True)
    assert opened(path, others["seed"], overwrite=True) == []
    assert opened(path, others["seed"], resume=True) == []


def test_what_is_not_a_history_stays_as_it_is(tmp_path):
    path = tmp_path / "h.jsonl"
    for content in (b"notes", b"notes\n", b'{"format": 1}\n', b'{"format": 2, "search": {}}\n', b"[]\n{}\n"):
        path.write_bytes(content)
        with pytest.raises(SzilardError, match="history"):
            opened(path, {}, resume=True)
        assert path.read_bytes() == content
    opened(path, {}, overwrite=True)
    with pytest.raises(SzilardError, match="pass resume=True to continue it, or overwrite=True"):
        opened(path, {})
    path.write_bytes(path.read_bytes() + b'{"choice": [0.5], "kl": 1, "cost": 1, "actions": []}\n')
    with pytest.raises(SzilardError, match=r"line 2 of .* is not a trial"):
        opened(path, {}, resume=True)
    with pytest.raises(SzilardError):
        opened(tmp_path, {}, resume=True)


def test_a_file_in_use_is_refused(tmp_path):
    with (
        History.open(tmp_path / "h.jsonl", {}),
        pytest.raises(SzilardError, match="another process is writing"),
    ):
        History.open(tmp_path / "h.jsonl", {}, resume=True)


@pytest.mark.parametrize("name", ["evolution", "greedy", "random"])
def test_a_search_that_is_killed_anywhere_in_its_last_line_gives_the_same_trials(name, tmp_path):
    problem = toy.toy(seed=5).problem
    path = tmp_path / "h.jsonl"
    given = header(problem, name)
    with History.open(path, given) as history:
        whole = search(make(name, problem), problem, toy.kl, history, 8)
    content = path.read_bytes()
    last = content[:-1].rfind(b"\n") + 1
    for size in (*range(last, len(content)), len(content)):
        path.write_bytes(content[:size])
        with History.open(path, given, resume=True) as history:
            assert len(history.trials) == (8 if size == len(content) else 7)
            assert search(make(name, problem), problem, toy.kl, history, 8) == whole
        assert path.read_bytes() == content
    for size in (0, 5, content.find(b"\n")):  # killed in the header
        path.write_bytes(content[:size])
        with History.open(path, given, resume=True) as history:
            assert search(make(name, problem), problem, toy.kl, history, 8) == whole


def test_repeated_choices_count_and_are_not_evaluated_again():
    problem = toy.toy().problem
    evaluated, told = [], []

    class Stubborn:
        def propose(self, history):
            return Proposal(problem.space.smallest, (1.0, 1.0, 1.0))

    def evaluate(choice):
        evaluated.append(choice)
        return math.nan

    history = History()
    found = search(Stubborn(), problem, evaluate, history, 3, lambda trials: told.append(len(trials)))
    assert evaluated == [problem.space.smallest]
    assert told == [1, 2, 3]
    assert [trial.kl for trial in found] == [math.inf] * 3
    assert found[0] == Trial(
        problem.space.smallest, math.inf, toy.cost(problem.space.smallest), (1.0, 1.0, 1.0)
    )
    search(Stubborn(), problem, evaluate, history, 4)
    assert len(evaluated) == 1
    assert len(history.trials) == 4


def test_a_proposal_above_the_target_is_refused():
    problem = toy.toy().problem

    class Blind:
        def propose(self, history):
            return Proposal(problem.space.original)

    with pytest.raises(SzilardError, match=r"Blind proposed a policy of cost 1, above the target 0\.4"):
        search(Blind(), problem, toy.kl, History(), 1)


def test_searchers_have_names():
    problem = toy.toy().problem
    for name, kind in SEARCHERS.items():
        assert isinstance(make(name, problem), kind)
        assert kind.name == name
        assert kind.summary
    with pytest.raises(
        SzilardError, match=r"no searcher 'best'; use one of agent, evolution, greedy, random"
    ):
        make("best", problem)
