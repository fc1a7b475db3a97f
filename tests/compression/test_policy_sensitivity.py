"""Sensitivity of options: measured once, kept by content, measured again if the file is not of this network."""

from __future__ import annotations

import json

import pytest
import torch
from support.digits_convnet import trained

from szilard.compression.policies import applied, importance
from szilard.compression.policies.sensitivity import measure
from szilard.compression.policies.space import Decision, Space
from szilard.errors import SzilardError, SzilardWarning


@pytest.fixture(scope="module")
def known():
    network, x, units = trained()
    space = Space(
        (
            Decision("conv3", "channels", ("conv3",), (16, 12, 8)),
            Decision("conv2", "bits", ("conv2",), ((32, 32), (8, 8), (2, 32))),
        ),
        units.of_layer,
        units.fixed | {name: units.layers[name].outputs for name in units.layers if name not in ("conv3",)},
    )
    space = Space(
        space.decisions,
        {name: pools if name == "conv3" else () for name, pools in units.of_layer.items()},
        space.fixed,
    )
    return network, units, space, importance.rank(network, units, x[:32]), x[:64]


@pytest.fixture
def counted(monkeypatch):
    """Policies whose KL was measured."""
    calls, real = [], applied.PolicyEffect.kl

    def kl(self, policy):
        calls.append(policy)
        return real(self, policy)

    monkeypatch.setattr(applied.PolicyEffect, "kl", kl)
    return calls


def test_curves_and_rows(known):
    network, units, space, ranks, x = known
    seen = []
    found = measure(network, units, space, ranks, x, progress=lambda *one: seen.append(one))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    effect = applied.PolicyEffect(network, units, ranks, x)
    assert found.nats[0][2] == effect.kl(space.policy((2, 0)))
    assert [nats[0] for nats in found.nats] == [0.0, 0.0]
    assert found.curve("conv3") == list(zip((16, 12, 8), found.nats[0], strict=True))
    assert found.rows()[4] == {
        "decision": "conv2", "kind": "bits", "layers": ["conv2"], "option": (8, 8), "nats": found.nats[1][1],
    }  # fmt: skip
    with pytest.raises(SzilardError, match="no decision conv9; the decisions are conv3, conv2"):
        found.curve("conv9")


def test_it_is_measured_once_and_goes_on_where_it_was_stopped(known, tmp_path, counted):
    def stop(done, of):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(*known, tmp_path, stop)
    assert len(counted) == 2
    found = measure(*known, tmp_path)
    assert len(counted) == 4
    assert measure(*known, tmp_path) == found
    assert len(counted) == 4
    assert found == measure(*known)


@pytest.mark.parametrize("change", ["weights", "inputs", "space"])
def test_another_network_data_or_space_has_its_own_file(known, tmp_path, counted, change):
    network, units, space, ranks, x = known
    measure(*known, tmp_path)
    before = len(counted)
    if change == "weights":
        network = trained()[0]
        with torch.no_grad():
            network.fc.bias[0] += 0.1
    elif change == "inputs":
        x = x + 0.01
    else:
        space = Space(space.decisions[:1], space.pools, space.fixed)
    measure(network, units, space, ranks, x, tmp_path)
    assert len(counted) > before
    assert len(list(tmp_path.iterdir())) == 2


def cut_short(text):
    return text[: len(text) // 2]


def foreign(text):
    return json.dumps(json.loads(text) | {"hash": "0" * 64})


def other_outputs(text):
    return json.dumps(json.loads(text) | {"outputs": [9.0, 9.0, 9.0, 9.0]})


def below_zero(text):
    table = json.loads(text)
    table["nats"][0][1] = -1.0
    return json.dumps(table)


def a_list(text):
    return "[]"


@pytest.mark.parametrize("damage", [cut_short, foreign, other_outputs, below_zero, a_list])
def test_a_damaged_file_is_measured_again_with_a_warning(known, tmp_path, counted, damage):
    found = measure(*known, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(damage(path.read_text()))
    with pytest.warns(SzilardWarning, match=r"is not a sensitivity of this network .* measured again"):
        again = measure(*known, tmp_path)
    assert len(counted) == 8
    assert again == found
    assert measure(*known, tmp_path) == found
    assert len(counted) == 8
