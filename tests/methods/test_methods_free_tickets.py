"""Free tickets: phases, collected members, predictions of all of them, cost, runs that continue, and files."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

import szilard
from szilard import bayes, cost, data, deploy, interrupts, methods, networks
from szilard.data import DataSet, Split
from szilard.errors import SzilardError, SzilardWarning
from szilard.model import checkpoint, saved_network
from szilard.training import total_cost

STEPS = 18  # exploration up to 6, refinements up to 10, 14 and 18
DENSE = 12 * 20 + 20 * 3


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 3))


def start(optimizer="sgd", network=None, task="classification", **options):
    given = {"density": 0.2, "every": 2, "total_steps": STEPS, "lr": 0.1, "seed": 1}
    method = methods.FreeTickets(200, optimizer=optimizer, **{**given, **options})
    made = method.prepare(plain() if network is None else network, task).train()
    return method, made, method.optimizer(made)


def batch(step, size=16):
    x = torch.randn(size, 12, generator=torch.Generator().manual_seed(step))
    return x, (x[:, 0] > 0).long()


def update(method, network, optimizer):
    method.anneal(optimizer)
    method.loss(network, *batch(method.step)).backward()
    optimizer.step()
    optimizer.zero_grad()


def train(method, network, optimizer, count):
    for _ in range(count):
        update(method, network, optimizer)
        method.after_step(network, optimizer)


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# -- phases --------------------------------------------------------------------------------------------------


def test_rates_of_the_phases():
    method, network, optimizer = start(refinement_lr=0.5)
    rates = []
    for _ in range(STEPS):
        train(method, network, optimizer, 1)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1] * 6 + [0.05, 0.05, 0.025, 0.025] * 3)


# -- members -------------------------------------------------------------------------------------------------


def test_members_are_the_networks_at_the_ends_of_refinements():
    method, network, optimizer = start()
    kept = []
    for step in range(1, STEPS + 1):
        update(method, network, optimizer)
        before = state(network.current)
        method.after_step(network, optimizer)
        if step in (10, 14, 18):
            kept.append(before)
            masks = [weight.support.mask() for weight in bayes.weights(network.current).values()]
            for mask, name in zip(masks, ("0", "3"), strict=True):
                crow, col = (before[f"{name}.weight.support.{part}"] for part in ("crow", "col"))
                old = szilard.sparse.Support(mask.shape, crow, col)
                stayed = int((old.mask() & mask).sum())
                if step < STEPS:  # the large move comes after
                    assert old.nnz - math.floor(0.8 * old.nnz) <= stayed < old.nnz
                else:
                    assert stayed == old.nnz
        assert network.done == int(network.collected) == sum(step >= end for end in (10, 14, 18))
        assert sum(weight.support.nnz for weight in bayes.weights(network.current).values()) == round(
            0.2 * DENSE
        )
    assert all(same(state(member), one) for member, one in zip(network.members, kept, strict=True))
    supports = [[w.support.flat() for w in bayes.weights(member).values()] for member in network.members]
    assert all(
        not torch.equal(one, two) for pair in pairwise(supports) for one, two in zip(*pair, strict=True)
    )
    with pytest.raises(SzilardError, match="all 3 members of this ensemble have been collected"):
        network.collect()


def test_only_one_network_is_trained():
    method, network, optimizer = start()
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.current.parameters()}
    before = state(network.members[0])
    train(method, network, optimizer, 9)
    assert same(state(network.members[0]), before)


def test_predictions_are_those_of_the_members_one_draw_each():
    method, network, optimizer = start()
    x, _ = batch(99)
    train(method, network, optimizer, 8)
    alone = method.predict(network, x)
    assert torch.equal(alone.mean, network.current.eval()(x).softmax(1))
    network.train()
    train(method, network, optimizer, STEPS - 8)
    found = method.predict(network, x)
    assert found.probabilities.shape == (3, 16, 3)
    network.eval()
    for member, drawn in zip(network.members, found.probabilities, strict=True):
        torch.testing.assert_close(member(x).softmax(1), drawn)
    torch.testing.assert_close(network(x).exp(), found.mean)
    assert float(found.epistemic().mean()) > 0


def test_batchnorm_of_every_member_is_computed_by_finish():
    method, network, optimizer = start()
    train(method, network, optimizer, STEPS)
    batches = [batch(step) for step in range(3)]
    method.finish(network, iter(batches))
    for member in network.members:
        hidden = torch.cat([member[0](x) for x, _ in batches])
        torch.testing.assert_close(member[1].running_mean, hidden.mean(0), rtol=1e-4, atol=1e-5)


def test_training_that_ends_early_is_reported():
    method, network, optimizer = start()
    train(method, network, optimizer, 11)
    with pytest.warns(
        SzilardWarning, match="ended at step 11, when 1 of 3 members were collected; train all 18"
    ):
        method.finish(network, [batch(0)])


# -- one output for several networks -------------------------------------------------------------------------


def test_a_likelihood_without_a_known_mixture_is_refused():
    class Own(szilard.likelihood.Likelihood):
        name = "regression"
        score = "x"

        def nll(self, output, y):
            return (output[:, 0] - y).square()

        def moments(self, output):
            return output[:, 0], torch.ones(len(output))

    with pytest.raises(SzilardError, match="outputs of several networks cannot be combined for Own"):
        start(task=Own())


def test_a_regression_has_the_noise_of_each_member():
    network = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 1))
    method, made, optimizer = start(network=network, task="regression")
    for _ in range(STEPS):
        x, _ = batch(method.step)
        method.loss(made, x, x[:, 0]).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(made, optimizer)
    noises = {float(member.log_noise.detach()) for member in made.members}
    assert len(noises) == 3
    x, _ = batch(99)
    found, output = method.predict(made, x), made.eval()(x)
    torch.testing.assert_close(output[:, 0], found.mean)
    torch.testing.assert_close((2 * output[:, 1]).exp(), found.variance)


# -- cost ----------------------------------------------------------------------------------------------------


def test_training_costs_one_network_and_a_prediction_all_of_them():
    method, network, optimizer = start()
    train(method, network, optimizer, STEPS)
    network.eval()
    spent = total_cost.of_run(network, (12,), method, batches=[16], seconds=1.0, peak_bytes=0)
    one, moves = round(0.2 * DENSE), method.moves.gradient_examples([1], STEPS, STEPS)
    assert moves == 8  # before steps 2, 4 and 6, the first of each refinement, and the large ones
    assert spent.train_flops == 3 * 2 * STEPS * 16 * one + 2 * 16 * moves * DENSE
    found = cost.count(network, (12,))
    assert found.macs == 3 * one
    assert found.nonzeros == sum(cost.count(member, (12,)).nonzeros for member in network.members)


# -- continuing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [5, 10, 13])
def test_a_run_in_two_halves_equals_a_run_in_one(steps):
    """In the exploration, at the end of a refinement, and in the next one."""
    whole, network, optimizer = start("adam")
    train(whole, network, optimizer, STEPS)
    first, half, before = start("adam")
    train(first, half, before, steps)
    kept = copy.deepcopy((first.state_dict(), half.state_dict(), before.state_dict()))
    second, again, after = start("adam")
    again.load_state_dict(kept[1])
    after.load_state_dict(kept[2])
    second.load_state_dict(kept[0])
    train(second, again, after, STEPS - steps)
    assert same(state(network), state(again))
    x, _ = batch(99)
    assert torch.equal(whole.predict(network, x).mean, second.predict(again, x).mean)


def test_a_stopped_fit_continues_to_the_same_bits(tmp_path, monkeypatch):
    digits = data.load("digits", n_train=30, ood="none")

    def fit(folder, **more):
        return szilard.fit(
            methods.FreeTickets(30, density=0.4, every=2), "mlp:5", digits, epochs=2, batch_size=5, samples=1,
            out=tmp_path / folder, accelerator="cpu", progress=False, checkpoint_steps=1, **more,
        )  # fmt: skip

    whole = fit("whole")
    save = checkpoint.save

    def save_and_stop(*given):
        save(*given)
        if given[2].get("step") == 9:
            raise interrupts.Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_stop)
        with pytest.raises(interrupts.Interrupted):
            fit("part")
    again = fit("part", resume=True)
    assert same(state(again.network), state(whole.network))
    supports = whole.history[-1]["supports"]  # of the network in training
    assert set(supports["layers"]) == {"1", "3"}
    assert supports["density"] == pytest.approx(0.4, abs=0.002)
    assert supports == again.history[-1]["supports"]
    assert (again.test, again.cost.train_flops) == (whole.test, whole.cost.train_flops)
    found = saved_network.load(tmp_path / "part" / "free-tickets" / "network.pt")
    assert same(state(found.network), state(whole.network))
    one, two = (
        m.predict(n, digits.test.x).probabilities
        for m, n in ((found.method, found.network), (whole.trainer, whole.network))
    )
    assert len(one) == 3
    assert torch.equal(one, two)


# -- files and other uses ------------------------------------------------------------------------------------


def trained():
    method, network, optimizer = start(network=networks.build("mlp:20", (12,), 3, seed=0))
    train(method, network, optimizer, STEPS)
    return method, network.eval()


@pytest.mark.parametrize("stored", [4, -1, torch.zeros(2)])
def test_a_stored_number_of_members_that_cannot_be_is_refused(tmp_path, stored):
    method, network = trained()
    split, statistic = Split(*batch(0)), torch.ones(12)
    known = DataSet(
        "x", "classification", split, split, split, None, None, ("a", "b", "c"), 0 * statistic, statistic
    )
    path = tmp_path / "network.pt"
    saved_network.save(
        path, method, network, known, options={"density": 0.2}, network_spec="mlp:20", source={}
    )
    content = checkpoint.load(path, "network")
    content["state_dict"]["collected"] = torch.as_tensor(stored)
    checkpoint.save(path, "network", content)
    with pytest.raises(SzilardError, match=r"not one from 0 to 3|collected"):
        saved_network.load(path)


def test_a_member_can_be_compressed_and_the_ensemble_cannot():
    _, network = trained()
    with pytest.raises(
        SzilardError, match=r"an ensemble of 3 networks, and one is compressed at a time; give a member"
    ):
        szilard.compress(network, input_shape=(12,), progress=False)
    assert szilard.compress(network.members[0], lam=1e-6, input_shape=(12,), progress=False).data


def test_a_compiled_ensemble_has_the_predictions_of_its_members():
    method, network = trained()
    x, _ = batch(99, size=8)
    run = deploy.compile(network, x, backend="eager")
    assert run.mode == "ensemble"
    found = method.predict(network, x)
    predicted = run(x)
    torch.testing.assert_close(predicted.answer, found.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(predicted.aleatoric, found.aleatoric(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(predicted.epistemic, found.epistemic(), rtol=1e-3, atol=1e-5)


def test_one_pass_is_refused():
    method, network = trained()
    with pytest.raises(SzilardError, match="several networks, whose weights have no variance"):
        method.predict_one_pass(network, batch(0)[0])


def test_a_step_in_eval_mode_is_refused():
    method, network, optimizer = start()
    train(method, network, optimizer, 5)
    update(method, network.eval(), optimizer)
    with pytest.raises(SzilardError, match=r"network in eval mode, which is that of all members together"):
        method.after_step(network, optimizer)


def test_a_network_that_is_no_ensemble_is_refused():
    method, network, _ = start()
    with pytest.raises(SzilardError, match="free tickets train an ensemble, and this network is none"):
        method.loss(network.current, *batch(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "members must be at least 1, not 0"),
        ({"exploration": 1.0}, r"exploration is a fraction of all steps and must be in \[0, 1\), not 1"),
        ({"escape": 1.2}, r"replaced between two refinements and must be in \[0, 1\], not 1.2"),
        (
            {"refinement_lr": 0.0},
            r"refinement_lr is a fraction of the learning rate and must be in \(0, 1\], not 0",
        ),
        ({"total_steps": 3}, "3 steps are too few for 3 refinements after an exploration of 0.333"),
        ({"temperature_scaling": True}, "free tickets are several; leave it out"),
        ({"last": 0.9}, "never become larger"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(SzilardError, match=message):
        start(**options)
