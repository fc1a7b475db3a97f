"""Lottery tickets: counts, masks and rewound values of every level, controls, and runs that continue."""

from __future__ import annotations

import copy
import json
from itertools import islice

import pytest
import torch
from cli_tools import szilard as typed
from torch import nn

import szilard
from szilard import bayes, data, interrupts, methods
from szilard.errors import SzilardError
from szilard.model import checkpoint
from szilard.topology import Levels
from szilard.topology.rewind import snapshot

PHASE = 6
DENSE = 12 * 20 + 20 * 3


def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        x = torch.randn(16, 12, generator=generator)
        yield x, (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 1).long()


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 3))


def start(density=0.8**3, **options):
    options = {"total_steps": 4 * PHASE, "lr": 0.05, "optimizer": "sgd", "seed": 1, "rewind": 0.4, **options}
    method = methods.Tickets(200, density=density, **options)
    network = method.prepare(plain()).train()
    return method, network, method.optimizer(network)


def train(method, network, optimizer, count):
    for x, y in islice(batches(), method.step, method.step + count):
        method.anneal(optimizer)
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)


def masks(network):
    return [weight.support.mask().clone() for weight in bayes.weights(network).values()]


def levels(**options):
    """The network after each level has ended, the values of the rewind step, and the method."""
    method, network, optimizer = start(**options)
    train(method, network, optimizer, 2)  # of 0.4 * 6
    values, found = snapshot(network), []
    train(method, network, optimizer, PHASE - 2)
    for _ in range(method.budget.count):
        assert not optimizer.state
        found.append(copy.deepcopy(network))
        train(method, network, optimizer, PHASE)
    return found, values, method


# -- levels --------------------------------------------------------------------------------------------------


def test_every_level_removes_the_smallest_weights_and_rewinds_all_others():
    found, values, method = levels()
    counts = [sum(int(mask.sum()) for mask in masks(network)) for network in found]
    assert counts == [240, 192, 154] == [round(DENSE * 0.8**level) for level in (1, 2, 3)]
    before = [torch.ones_like(mask) for mask in masks(found[0])]
    for network in found:
        after = masks(network)
        assert all(not bool((new & ~old).any()) for new, old in zip(after, before, strict=True))
        before = after
        kept = dict(zip(("0.weight.mean", "3.weight.mean"), after, strict=True))
        now = snapshot(network)
        assert set(now) == set(values) > {"1.running_var", "1.num_batches_tracked", "0.bias", "0.weight.mean"}
        for name, value in now.items():
            rewound = values[name] * kept[name].flatten() if name in kept else values[name]
            assert torch.equal(value, rewound), name
    assert int(now["1.num_batches_tracked"]) == 2
    assert sum(method.mean_entries) == pytest.approx((DENSE + sum(counts)) / 4)


def test_the_smallest_magnitudes_of_the_whole_network_go():
    method, network, optimizer = start(density=0.5, prune=0.5)
    method.total_steps = 2 * PHASE
    train(method, network, optimizer, PHASE - 1)
    x, y = next(islice(batches(), PHASE - 1, None))
    method.anneal(optimizer)
    method.loss(network, x, y).backward()
    optimizer.step()
    trained = torch.cat([weight.mean.detach().abs() for weight in bayes.weights(network).values()])
    method.after_step(network, optimizer)
    kept = torch.cat([mask.flatten() for mask in masks(network)])
    assert int(kept.sum()) == 150
    assert trained[kept].min() >= trained[~kept].max()


def test_phases_and_densities():
    made = Levels(0.8**8)
    assert made.count == 8
    assert Levels(0.05).count == 14
    assert Levels(0.9).count == 1
    assert Levels(0.05, one_shot=True).count == 1
    assert [step for step in range(101) if made.changes(step, 100)] == [11, 22, 33, 44, 55, 66, 77, 88]
    assert Levels(0.05).density_at(99, 100) == 0.05
    assert Levels(0.05).density_at(12, 100) == pytest.approx(0.8**2)


def test_the_cosine_of_a_later_phase_begins_at_the_rewind_step():
    made = Levels(0.5, 0.5, rewind=0.25)  # two phases: of 20 and 21 steps
    assert made.rewind_step(41) == 5
    assert [made.progress(step, 41) for step in (0, 5, 19, 20, 41)] == [0, 0.25, 0.95, 0.25, 1]
    method, network, optimizer = start(density=0.5, prune=0.5, rewind=0.0, total_steps=4)
    rates = []
    for _ in range(4):
        train(method, network, optimizer, 1)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.05, 0.025, 0.05, 0.025])


# -- controls ------------------------------------------------------------------------------------------------


def test_a_random_mask_has_as_many_entries_in_each_layer():
    ticket, control = levels()[0], levels(mask="random")[0]
    for one, other in zip(ticket, control, strict=True):
        assert [int(mask.sum()) for mask in masks(one)] == [int(mask.sum()) for mask in masks(other)]
    same = [
        [torch.equal(*pair) for pair in zip(masks(one), masks(other), strict=True)]
        for one, other in zip(ticket, control, strict=True)
    ]
    assert same == [[True, True], [True, True], [False, False]]
    values = levels()[1]["0.weight.mean"]
    weight = control[-1][0].weight
    assert torch.equal(weight.mean, values[weight.support.flat()])


def test_fresh_values_are_those_of_other_places():
    found, values, _ = levels(init="random")
    ticket = levels()[0]
    assert all(torch.equal(*pair) for pair in zip(masks(ticket[-1]), masks(found[-1]), strict=True))
    weight, rewound = found[-1][0].weight.mean, ticket[-1][0].weight.mean
    assert bool(torch.isin(weight, values["0.weight.mean"]).all())
    assert float((weight == rewound).float().mean()) < 0.1
    assert torch.equal(found[-1][0].bias, values["0.bias"])


def test_one_shot_has_one_level():
    found, _, _ = levels(one_shot=True, total_steps=2 * PHASE)
    assert [sum(int(mask.sum()) for mask in masks(network)) for network in found] == [154]


def test_frozen_weights_keep_their_entries():
    network = plain()
    network[0].weight.requires_grad_(False)
    method = methods.Tickets(200, density=0.5, total_steps=2 * PHASE, optimizer="sgd", one_shot=True)
    made = method.prepare(network).train()
    train(method, made, method.optimizer(made), 2 * PHASE)
    assert [weight.support.nnz for weight in bayes.weights(made).values()] == [30]
    assert torch.equal(made[0].weight, network[0].weight)


# -- continuing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 9, 18, 21])
def test_a_run_in_two_halves_equals_a_run_in_one(steps):
    """Before the rewind step, at it, in the middle of a level, at the end of one, and in the last."""
    whole, network, optimizer = start(optimizer="adam")
    train(whole, network, optimizer, 4 * PHASE)
    first, half, before = start(optimizer="adam")
    train(first, half, before, steps)
    kept = copy.deepcopy((first.state_dict(), half.state_dict(), before.state_dict()))
    second, again, _ = start(optimizer="adam")
    second.match_supports(again, kept[1])
    after = second.optimizer(again)
    again.load_state_dict(kept[1])
    after.load_state_dict(kept[2])
    second.load_state_dict(kept[0])
    train(second, again, after, 4 * PHASE - steps)
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert second.mean_entries == whole.mean_entries


FIT = (
    "fit", "--data", "digits", "--n-train", "60", "--network", "mlp:5", "--method", "tickets", "--no-baselines",
    "--density", "0.4", "--batch-size", "10", "--epochs", "3", "--checkpoint-steps", "1", "--samples", "1", "--ood",
    "none", "--accelerator", "cpu", "--quiet",
)  # fmt: skip


def result(folder):
    found = json.loads((folder / "tickets" / "result.json").read_text())
    return found["test"], found["density"], found["cost"]["train_flops"], found["steps"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A finished run, a run that was stopped in the middle of a level, and the content of its checkpoint."""
    whole, part = (tmp_path_factory.mktemp("runs") / name for name in ("whole", "part"))
    assert typed(*FIT, "--out", whole).code == 0
    save = checkpoint.save

    def save_and_stop(*given):
        save(*given)
        if given[2].get("step") == 8:
            raise interrupts.Interrupted(15)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_stop)
        assert typed(*FIT, "--out", part).code != 0
    return whole, part, checkpoint.load(part / "tickets" / "checkpoint.pt", "checkpoint")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rewind", 3), ("rewind", {"0.bias": torch.zeros(5)}), ("entries", [1]), ("entries", [-1, 2]),
        ("rewind", lambda kept: {**kept, "1.weight.mean": kept["1.weight.mean"][:3]}),
        ("rewind", lambda kept: {**kept, "1.bias": kept["1.bias"].double()}),
        ("rewind", lambda kept: {**kept, "1.bias": kept["1.bias"] * torch.nan}),
        ("rewind", lambda kept: {**kept, "1.bias": [0.0] * 5}),
        ("rewind", lambda kept: {**kept, "more": torch.zeros(1)}),
    ],
)  # fmt: skip
def test_a_hostile_checkpoint_is_refused(stopped, name, value):
    _, part, content = stopped
    hostile = copy.deepcopy(content)
    state = hostile["processes"][0]["method"]
    assert set(state["rewind"]) == {"1.weight.mean", "1.bias", "3.weight.mean", "3.bias"}
    state[name] = value(state[name]) if callable(value) else value
    path = part / "tickets" / "checkpoint.pt"
    checkpoint.save(path, "checkpoint", hostile)
    try:
        typed(*FIT, "--out", part, "--resume").refused(f"holds another method {name} than this run writes")
    finally:
        checkpoint.save(path, "checkpoint", content)


def test_a_stopped_run_continues_to_the_same_bits(stopped):
    whole, part, content = stopped
    assert (content["step"], content["processes"][0]["method"]["step"]) == (8, 8)
    assert typed(*FIT, "--out", part, "--resume").code == 0
    assert result(part) == result(whole)
    states = [
        checkpoint.load(folder / "tickets" / "checkpoint.pt", "checkpoint")["network"]
        for folder in (part, whole)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune": 0.0}, "prune is the fraction of the remaining weights"),
        ({"prune": 1.0}, "between 0 and 1, not 1"),
        ({"density": 1.0}, "final density between 0 and 1, not 1"),
        ({"rewind": 1.0}, r"rewind is a fraction .* in \[0, 1\), not 1"),
        ({"total_steps": 14}, "needs 15 phases of training, and there are only 14 steps"),
        ({"mask": "best"}, "mask of a lottery ticket must be magnitude or random"),
        ({"init": "zero"}, "init of a lottery ticket must be rewind or random"),
        ({"score": "snr"}, "points without σ"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(SzilardError, match=message):
        methods.Tickets(100, **options)


def test_an_unreachable_density_is_refused():
    with pytest.raises(SzilardError, match="leaves 1 entries, and each of the 2 weights"):
        methods.Tickets(100, density=0.004).prepare(plain())


def test_too_few_steps_are_refused_before_a_file_is_written(tmp_path):
    out = tmp_path / "run"
    typed(*FIT, "--out", out, "--option", "prune=0.01").refused(
        "phases of training, and there are only 18 steps"
    )
    assert not out.exists()
    method, network, optimizer = start(total_steps=None)
    method.total_steps = 3
    with pytest.raises(SzilardError, match="only 3 steps"):
        train(method, network, optimizer, 1)


def test_a_step_without_its_optimizer_is_refused():
    method, network, optimizer = start()
    train(method, network, optimizer, PHASE - 1)
    method.loss(network, *next(batches())).backward()
    with pytest.raises(SzilardError, match=r"call method\.after_step"):
        method.after_step(network)


def test_a_state_without_rewound_weights_is_refused():
    method, network, optimizer = start()
    train(method, network, optimizer, 3)
    with pytest.raises(SzilardError, match="at step 3 holds no weights to rewind to"):
        start()[0].load_state_dict({**method.state_dict(), "rewind": {}})


def test_a_fit_of_too_few_steps_writes_nothing(tmp_path):
    digits = data.load("digits", n_train=60, ood="none")
    with pytest.raises(SzilardError, match="only 2 steps"):
        szilard.fit(
            methods.Tickets(60),
            "mlp:5",
            digits,
            epochs=1,
            batch_size=30,
            out=tmp_path,
            accelerator="cpu",
            progress=False,
        )
    assert not list(tmp_path.iterdir())
