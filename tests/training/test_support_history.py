"""The log of a run says which entries of sparse weights have existed, also after it was stopped and continued."""

from __future__ import annotations

import json

import pytest
import torch

import szilard
from szilard import methods, networks
from szilard.bayes.network_weights import weights
from szilard.training.loop import Loop
from szilard.training.support_history import SupportHistory


def _network(method="set", **options):
    made = methods.make(method, 100, density=0.2, seed=3, **options)
    return made.prepare(networks.build("mlp:8", (6,), 3))


def _move(weight, flat):
    weight.support.replace(torch.tensor(sorted(flat)))


def test_counts_of_moves():
    network = _network()
    name, weight = next(iter(weights(network).items()))
    size, start = weight.support.mask().numel(), weight.support.flat().tolist()
    absent = [place for place in range(size) if place not in start]
    history = SupportHistory(network)
    history.observe()
    assert history.epoch()["supports"]["replaced"] == 0
    _move(weight, [*start[1:], absent[0]])  # within one epoch an entry comes and goes
    history.observe()
    _move(weight, [*start[1:], absent[1]])
    history.observe()
    density, replaced, ever = history.epoch()["supports"]["layers"][name]
    assert (density, replaced, ever) == (len(start) / size, 1 / len(start), (len(start) + 2) / size)
    assert history.epoch()["supports"]["layers"][name][1] == 0  # nothing since the last epoch
    _move(weight, start)  # an entry that returns counts once
    history.observe()
    assert history.epoch()["supports"]["layers"][name] == [density, 1 / len(start), ever]


def test_totals_are_of_all_entries():
    network = _network()
    line = SupportHistory(network).epoch()["supports"]
    held = [weight.support for weight in weights(network).values()]
    assert line["density"] == sum(s.nnz for s in held) / sum(s.mask().numel() for s in held)
    assert line["ever_alive"] == line["density"]


def test_state_returns():
    network = _network()
    weight = next(iter(weights(network).values()))
    history = SupportHistory(network)
    absent = (~weight.support.mask().flatten()).nonzero().flatten().tolist()
    _move(weight, [*weight.support.flat().tolist()[1:], absent[-1]])
    history.observe()
    other = SupportHistory(network)
    other.load_state_dict(history.state_dict())
    assert other.epoch() == history.epoch()
    assert all(part.dtype is torch.uint8 for pair in other.state_dict().values() for part in pair)


def test_dense_networks_have_no_history():
    network = methods.make("deterministic", 100).prepare(networks.build("mlp:8", (6,), 3))
    history = SupportHistory(network)
    assert history.epoch() == {}
    assert history.state_dict() == {}
    assert SupportHistory(network, resizes=True).epoch() == {} or weights(network)


def test_a_checkpoint_without_history_leaves_it_out_of_the_log():
    history = SupportHistory(_network())
    history.load_state_dict(None)
    assert history.epoch() == {}
    assert history.state_dict() == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda pair: pair[:1],
        lambda pair: [pair[0][:-1], pair[1]],
        lambda pair: [pair[0].float(), pair[1]],
        lambda pair: [None, pair[1]],
        lambda pair: "masks",
    ],
)
def test_masks_that_do_not_fit(damage):
    network = _network()
    history = SupportHistory(network)
    state = history.state_dict()
    assert history.fits(state)
    name = next(iter(state))
    assert not history.fits({**state, name: damage(state[name])})
    assert not history.fits({**state, "other": state[name]})
    assert not history.fits({})


@pytest.mark.parametrize("method", ["rigl", "granet"])
def test_a_continued_run_logs_the_same(method, tmp_path, monkeypatch):
    data = szilard.data.load("digits")
    options = {"density": 0.05, "every": 4}

    def fit(out, **more):
        made = methods.make(method, len(data.train), seed=1, **options)
        return szilard.fit(
            made, "mlp:16", data, epochs=2, batch_size=128, out=out, samples=1, progress=False,
            checkpoint_steps=5, **more,
        ).folder  # fmt: skip

    def lines(folder):
        return [json.loads(line)["supports"] for line in (folder / "metrics.jsonl").read_text().splitlines()]

    whole = fit(tmp_path / "whole")
    step, count = Loop._step, 0

    def stop(self, x, y):
        nonlocal count
        count += 1
        if count == 14:
            raise KeyboardInterrupt
        step(self, x, y)

    monkeypatch.setattr(Loop, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "part")
    monkeypatch.setattr(Loop, "_step", step)
    part = fit(tmp_path / "part", resume=True)
    found = lines(whole)
    assert lines(part) == found
    assert found[-1]["ever_alive"] > found[-1]["density"] > 0
    assert method == "granet" or found[0]["replaced"] > 0
