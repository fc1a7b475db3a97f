"""Cells, uniform policies, toys and judging of benchmarks/galen.py, without data and without its searches."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import galen as command
from files.accuracy import Images
from files.pretrained import Source
from policies import collected, finished_networks, plan, ranking, searching, timing, toys, uniform_policies
from policies.kept import Kept
from policies.material import Material
from policies.plan import DEFAULT, INT8, MATCHED, PRUNED, Cell, Finish
from szilard import flock
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import policy_file
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.problem import Trial
from szilard.compression.policies.sensitivity import Sensitivity
from szilard.compression.policies.space import Decision, Space
from szilard.data.dataset import Split
from szilard.errors import SzilardError

SMALL = replace(plan.QUICK, calibration=16, short=32, long=48, epochs=2, judged=20)
BOUNDS = {
    "int8": 0.5,
    "uniform": [
        {"share": share, "float32": 0.2 + 0.8 * share, "int8": 0.1 + 0.4 * share}
        for share in (0.75, 0.5, 0.25)
    ],
}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 10),
    ).eval()


@pytest.fixture
def material() -> Material:
    generator = torch.Generator().manual_seed(0)
    parts = [
        Split(torch.randint(256, (count, 3, 4, 4), generator=generator).byte(), torch.arange(count) % 10)
        for count in (64, 24)
    ]
    torch.manual_seed(0)
    return Material(network(), Source("tiny", *parts, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))


@pytest.fixture
def kept(tmp_path) -> Kept:
    return Kept(tmp_path / "cells", SMALL.as_json())


class Search:
    """In place of szilard.compression.galen: remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[dict] = []

    def __call__(self, network, calibration, **given):
        self.calls.append({"calibration": calibration, **given})
        space = Space((Decision("0", "channels", ("0",), (8, 4)),), {"0": ("0",)})
        if given.get("folder"):
            given["folder"].mkdir(parents=True, exist_ok=True)
            (given["folder"] / "sensitivity-1.json").touch()
        return SimpleNamespace(
            network=network, policy=Policy((LayerPolicy("0", 4),)), sizes={"0": 8}, kl=0.2, kl_before=0.3, ratio=0.41,
            predicted=2.0, reference=5.0, table_error=3.0, seconds={"search": 6.0, "finishing": 2.0}, notes=[],
            trials=[Trial((1,), 0.123456789, 0.39), Trial((0,), float("inf"), 1.0, measured=0.9)], space=space,
            sensitivity=Sensitivity(space, ((0.0, 0.1),), 16), content=b"12345",
            save=lambda path: path.write_bytes(b"12345"),
        )  # fmt: skip


def test_a_cell_is_made_once_and_read_again(kept):
    made = []
    for number in range(2):
        assert kept.make("a", lambda number=number: made.append(number) or {"number": number}) == {
            "number": 0
        }
    assert made == [0]
    again = Kept(kept.folder, SMALL.as_json())
    again.fill({"a": lambda: {"number": 9}, "b": lambda: {"number": 1}})
    assert (again.get("a"), again.get("b"), again.get("c")) == ({"number": 0}, {"number": 1}, None)


def test_results_of_other_settings_are_refused(kept):
    with pytest.raises(SzilardError, match=r"other settings .*epochs"):
        Kept(kept.folder, replace(SMALL, epochs=7).as_json())


def test_a_cell_that_another_process_makes_is_left_until_the_others_are_done(kept):
    order = []
    with open(kept.path("held", ".lock"), "a") as held:
        assert flock.take(held.fileno())

        def other():
            order.append("other")
            kept.path("held").write_text(json.dumps({"by": "another process"}))
            held.close()  # which releases the lock
            return {}

        kept.fill({"held": lambda: order.append("held") or {}, "other": other})
    assert order == ["other"]
    assert kept.get("held") == {"by": "another process"}


def test_cells_that_fail_do_not_stop_the_others(kept):
    def fails():
        raise SzilardError("too noisy")

    with pytest.raises(SzilardError, match="1 cells failed; a: too noisy"):
        kept.fill({"a": fails, "b": lambda: {"made": True}})
    assert kept.get("b") == {"made": True}
    kept.fill({"a": lambda: {"made": True}})
    assert kept.get("a") == {"made": True}


@pytest.mark.parametrize("quick", [False, True])
def test_every_figure_has_its_networks(quick):
    settings = plan.QUICK if quick else plan.FULL
    finishes = plan.finishes(settings, quick)
    assert len({one.name for one in finishes}) == len(finishes)
    known = {(one.cell.searcher, one.cell.target, one.level) for one in finishes}
    assert known >= {(DEFAULT, target, plan.LONG) for target in ("0.4", "0.6")}
    assert known >= {(name, "0.4", plan.SHORT) for name in (*plan.SEARCHERS, PRUNED)}
    assert known >= {
        (DEFAULT, "0.6", plan.UNLABELLED),
        (INT8, "", plan.SHORT),
        (DEFAULT, MATCHED, plan.SHORT),
    }
    assert {one.cell for one in finishes} == set(plan.cells(settings, quick))
    assert sum(one.level == plan.LONG for one in finishes) == 2 * len(settings.seeds)


def test_a_search_gets_its_target_and_no_labels(material, kept):
    search = Search()
    row = searching.found(Cell(DEFAULT, "0.4", 1), material, SMALL, kept, BOUNDS, search)
    call = search.calls[0]
    assert (call["target"], call["search"], call["seed"]) == (0.4, DEFAULT, 1)
    assert "evaluation" not in call
    assert "training" not in call
    assert torch.equal(call["calibration"], material.calibration(1, 16))
    assert row["trials"] == [[0.39, 0.12346, None], [1.0, None, 0.9]]
    assert (row["ratio"], row["predicted"], row["table_error"]) == (0.41, 0.4, 3.0)
    json.dumps(row, allow_nan=False)
    policy = policy_file.read(searching.policy_path(kept, Cell(DEFAULT, "0.4", 1)))
    assert policy == Policy((LayerPolicy("0", 4),))
    searching.found(Cell("random", "0.4", 1), material, SMALL, kept, BOUNDS, search)
    assert (search.calls[1]["folder"] / "sensitivity-1.json").exists()  # that of the first search


def test_the_matched_search_has_the_latency_of_uniform_int8_as_target(material, kept):
    search = Search()
    searching.found(Cell(DEFAULT, MATCHED, 0), material, SMALL, kept, BOUNDS, search)
    assert search.calls[0]["target"] == 0.5
    row = searching.found(Cell(DEFAULT, MATCHED, 1), material, SMALL, kept, {**BOUNDS, "int8": 1.2}, search)
    assert len(search.calls) == 1  # the original is faster than int8
    assert row["policy"] == [["0", 8, 32, 32], ["2", 4, 32, 32], ["5", 10, 32, 32]]


def test_a_search_that_misses_its_target_as_measured_is_made_with_a_smaller_one(material, kept):
    works = Search()
    targets = []

    def search(*given, target, **others):
        targets.append(target)
        if len(targets) == 1:
            raise SzilardError("no policy that was measured meets the target 0.4; the cheapest took 0.41")
        if others["seed"] == 1:
            raise SzilardError("another reason")
        return works(*given, target=target, **others)

    row = searching.found(Cell(DEFAULT, "0.4", 0), material, SMALL, kept, BOUNDS, search)
    assert targets == [0.4, pytest.approx(0.388)]
    assert row["share"] == pytest.approx(0.388)
    with pytest.raises(SzilardError, match="another reason"):
        searching.found(Cell(DEFAULT, "0.4", 1), material, SMALL, kept, BOUNDS, search)
    assert len(targets) == 3


def test_uniform_policies_are_the_largest_that_meet_the_target(material, kept):
    row = searching.found(Cell(PRUNED, "0.4", 0), material, SMALL, kept, BOUNDS)
    assert (row["share"], row["policy"]) == (0.25, [["0", 2, 32, 32], ["2", 1, 32, 32], ["5", 10, 32, 32]])
    row = searching.found(Cell(plan.PRUNED_INT8, "0.4", 0), material, SMALL, kept, BOUNDS)
    assert (row["share"], row["policy"]) == (0.75, [["0", 6, 8, 8], ["2", 3, 8, 8], ["5", 10, 8, 8]])
    row = searching.found(Cell(INT8, "", 0), material, SMALL, kept, BOUNDS)
    assert row["policy"] == [["0", 8, 8, 8], ["2", 4, 8, 8], ["5", 10, 8, 8]]
    assert uniform_policies.largest([(0.5, 0.7), (0.25, 0.5)], 0.4) == 0.25


def test_a_uniform_policy_keeps_a_channel_of_every_pool(material):
    units = ChannelUnits.of(material.network, material.calibration(0, 2))
    assert [one.channels for one in uniform_policies.policy(units, 0.0).layers] == [1, 1, 10]
    assert uniform_policies.shares(4) == [0.75, 0.5, 0.25]


def test_levels_of_fine_tuning_have_their_data(material, kept):
    search = Search()
    cell = Cell(DEFAULT, "0.6", 2)
    for level in plan.LEVELS:
        row = finished_networks.trained(Finish(cell, level), material, SMALL, kept, search)
        assert (row["level"], row["bytes"]) == (level, 5)
        assert finished_networks.file_of(kept, Finish(cell, level)).read_bytes() == b"12345"
    short, long, unlabelled = search.calls
    assert [call["finetune"] for call in search.calls] == [1, 2, SMALL.unlabelled]
    assert [len(call["training"][0]) for call in search.calls] == [32, 48, 16]
    assert torch.equal(short["training"][1], material.source.train.y[:32])
    assert torch.equal(long["training"][0][:32], short["training"][0])
    assert unlabelled["training"][1] is None
    assert {call["measure"] for call in search.calls} == {finished_networks.later}
    assert {call["policy"] for call in search.calls} == {searching.policy_path(kept, cell)}


class Network:
    """In place of a compiled network for batches of one size."""

    def __init__(self, batch: int | None) -> None:
        self.batch, self.sizes = batch, []

    def __call__(self, x):
        self.sizes.append(len(x))
        return SimpleNamespace(labels=x.argmax(1))


@pytest.mark.parametrize(("batch", "sizes"), [(None, [5]), (1, [1] * 5)])
def test_accuracy_is_that_of_the_labels(batch, sizes):
    network = Network(batch)
    images = Images("", torch.eye(5), torch.tensor([0, 1, 2, 0, 0]))
    assert finished_networks.accuracy(network, images) == pytest.approx(0.6)
    assert network.sizes == sizes


def test_ratios_are_of_the_original(monkeypatch):
    noise = SimpleNamespace(quiet=False, text="busy")
    seconds = {"original": 2e-3, "small": 1e-3}

    def latencies(runs, *, threads, budget, noisy=False):
        assert (threads, budget) == (1, 3.0)
        if not noisy:
            raise SzilardError("too noisy")
        return {name: SimpleNamespace(median=seconds[name], p10=1e-3, p90=3e-3, noise=noise) for name in runs}

    monkeypatch.setattr(timing, "latencies", latencies)
    networks = {name: SimpleNamespace(run=None) for name in seconds}
    found = timing.timed(networks, torch.zeros(1, 2), 3.0)
    assert found["small"] == {"ms": 1.0, "p10": 1.0, "p90": 3.0, "ratio": 0.5, "noise": "busy"}


def test_collected_results_join_what_is_known_of_a_network(material, kept):
    search = Search()
    jobs = {cell.name: cell for cell in plan.cells(SMALL, True)[:2]}
    for name, cell in jobs.items():
        kept.make(name, lambda cell=cell: searching.found(cell, material, SMALL, kept, BOUNDS, search))
    finish = Finish(next(iter(jobs.values())), plan.LONG)
    kept.make(finish.name, lambda: finished_networks.trained(finish, material, SMALL, kept, search))
    kept.make(collected.judged_name(finish), lambda: {"accuracy": 0.9, "images": 20})
    short = Finish(next(iter(jobs.values())), plan.SHORT)
    kept.make(collected.judged_name(short), lambda: {"accuracy": 0.8, "images": 20})
    kept.make(ranking.name(short.cell), lambda: {"kls": [0.3, 0.2, 0.1]})
    kept.make(collected.LATENCIES, lambda: {finish.name: {"ratio": 0.4}, "original": {"ms": 2.0}})
    collected.note_run(kept, "search", 5.0, 2, {"load": "0.1"})
    collected.note_run(kept, "search", 6.0, 2, {"load": "0.1"})
    found = collected.found(kept, SMALL, True)
    assert [(row["accuracy"], row["ratio"], row["kl"]) for row in found["networks"]] == [(0.9, 0.4, 0.2)]
    assert ["sensitivity" in row for row in found["searches"]] == [True, False]
    assert found["original"] == {"ms": 2.0}
    assert found["runs"]["search"]["seconds"] == 11
    assert [(row["seed"], row["kls"], row["accuracy"]) for row in found["ranking"]] == [
        (0, [0.3, 0.2, 0.1], 0.8)
    ]
    json.dumps(found, allow_nan=False)


def test_kls_of_the_ranking_are_those_of_the_search(material, kept):
    cell = Cell(INT8, "", 0)
    searching.found(cell, material, SMALL, kept, BOUNDS)
    found = ranking.measured(cell, ranking.Effects(material, SMALL), kept)["kls"]
    assert len(found) == len(ranking.STEPS)
    assert found[0] > 0
    assert max(found[1:]) <= found[0]  # the lower one of before and after
    assert ranking.chosen(SMALL, True)[0].level == plan.SHORT


def test_searchers_meet_the_toy():
    rows = toys.measured(4, (0,), (1, 3))
    assert {(row["space"], row["searcher"]) for row in rows} == {
        (space, name) for space in ("toy", "chain") for name in plan.SEARCHERS
    }
    chains = {(row["searcher"], row["evaluations"]): row["kl"] for row in rows if row["space"] == "chain"}
    assert all(chains[name, 3] <= chains[name, 1] for name in plan.SEARCHERS)
    small = [row for row in rows if row["space"] == "toy"]
    assert all(row["kl"] >= row["optimum"] > 0 for row in small)


def test_the_command_has_all_parts():
    assert {name for name in command.PARTS if hasattr(command.Run, name)} == set(command.PARTS)
    assert set(command.SHARED) < set(command.PARTS)
