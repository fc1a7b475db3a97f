"""Top-KAST: nested sets, gradients outside of the forward pass, the penalty, cost, and what is saved."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

import szilard
from szilard import bayes, data, methods, networks
from szilard.data import DataSet, Split
from szilard.errors import SzilardError
from szilard.model import checkpoint, saved_network
from szilard.topology import explored, nested
from szilard.training import total_cost

STEPS = 12
DENSE = 12 * 20 + 20 * 20 + 20 * 3


def plain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3)
    )


def start(network=None, **options):
    given = {"density": 0.2, "every": 4, "total_steps": STEPS, "lr": 0.1, "optimizer": "sgd", "seed": 1}
    method = methods.TopKAST(200, **{**given, **options})
    made = method.prepare(plain() if network is None else network).train()
    return method, made, method.optimizer(made)


def batch(step):
    x = torch.randn(16, 12, generator=torch.Generator().manual_seed(step))
    return x, (x[:, 0] > 0).long()


def update(method, network, optimizer):
    method.loss(network, *batch(method.step)).backward()
    optimizer.step()
    optimizer.zero_grad()


def train(method, network, optimizer, count):
    for _ in range(count):
        update(method, network, optimizer)
        method.after_step(network, optimizer)


def sets(network):
    """A and B without A of each weight, as masks."""
    return [
        (weight.support.mask(), explored.explored_of(weight).support.mask())
        for weight in bayes.weights(network).values()
    ]


def values(network):
    """Values of B of each weight, as dense tensors."""
    found = []
    for weight in bayes.weights(network).values():
        more = explored.explored_of(weight)
        found.append(weight.dense_mean() + more.support.scatter(more.values.detach()))
    return found


# -- the sets ------------------------------------------------------------------------------------------------


def test_the_sets_are_the_largest_and_the_next_largest():
    used, more = nested.chosen(torch.tensor([0.1, -5.0, 2.0, -2.0, 0.3, 1.0]), 2, 2)
    assert (used.tolist(), more.tolist()) == ([1, 2], [3, 5])
    used, more = nested.chosen(torch.arange(100.0), 10, 20, draw=3)
    assert used.tolist() == list(range(90, 100))
    assert len(set(more.tolist())) == 20
    assert not set(more.tolist()) & set(used.tolist())
    assert torch.equal(more, nested.chosen(torch.arange(100.0), 10, 20, draw=3)[1])
    assert not torch.equal(more, nested.chosen(torch.arange(100.0), 10, 20, draw=4)[1])


@pytest.mark.parametrize("exploration", ["magnitude", "random"])
def test_counts_are_exact_and_the_sets_move(exploration):
    method, network, optimizer = start(exploration=exploration, backward_density=0.45)
    seen = []
    for _ in range(STEPS):
        seen.append(sets(network))
        train(method, network, optimizer, 1)
    for found in seen:
        assert sum(int(used.sum()) for used, _ in found) == round(0.2 * DENSE)
        assert sum(int(more.sum()) for _, more in found) == round(0.45 * DENSE) - round(0.2 * DENSE)
        assert not any(bool((used & more).any()) for used, more in found)
    moved = [
        any(not torch.equal(one[0], two[0]) for one, two in zip(before, after, strict=True))
        for before, after in pairwise(seen)
    ]
    assert [step for step, one in enumerate(moved, 1) if one] == [4, 8]
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.parameters()}


def test_the_start_is_one_magnitude_order():
    """A holds the largest values of each layer, B the next, and those outside of B are smaller still."""
    method, network, _ = start()
    for (used, more), reserve in zip(sets(network)[:2], method._reserve, strict=False):
        size = reserve.abs().view(used.shape)
        assert size[used].min() >= size[more].max()
        assert size[more].min() >= size[~(used | more)].max()


def test_pretrained_weights_keep_their_values():
    network = plain()
    _, made, _ = start(network, pretrained=True)
    for value, (used, more), layer in zip(values(made), sets(made), network[::3], strict=False):
        assert torch.equal(value, layer.weight.detach() * (used | more))
        assert layer.weight[used].abs().min() >= layer.weight[~used].abs().max()


# -- gradients -----------------------------------------------------------------------------------------------


def convolutions():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2, groups=2, padding=1,
        padding_mode="reflect"), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 4 * 4, 3),
    )  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


@pytest.mark.filterwarnings("ignore:.*multiplied as dense weights")
@pytest.mark.parametrize(("make", "shape"), [(convolutions, (2, 8, 8)), (Recurrent, (5, 4))])
def test_gradients_are_those_of_the_dense_weights(make, shape):
    """The forward pass uses A; B without A has the gradient of the dense weight there, summed over two batches."""
    method, network, optimizer = start(make(), penalty=0.0)
    x, y = torch.randn(2, 8, *shape, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3
    reference = bayes.point_network(network)
    for one in x:
        loss = method.loss(network, one, y)
        expected = nn.functional.cross_entropy(reference(one), y)
        torch.testing.assert_close(loss, expected)
        (1024 * loss).backward()  # as a gradient scaler does
        (1024 * expected).backward()
    dense = [parameter for parameter in reference.parameters() if parameter.dim() > 1]
    for weight, known in zip(bayes.weights(network).values(), dense, strict=True):
        more = explored.explored_of(weight)
        torch.testing.assert_close(more.values.grad, more.support.gather(known.grad), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(weight.mean.grad, weight.support.gather(known.grad), rtol=1e-4, atol=1e-3)
    assert len({id(p) for group in optimizer.param_groups for p in group["params"]}) == len(
        list(network.parameters())
    )


def test_evaluation_computes_no_gradients_and_does_not_read_explored_values():
    method, network, optimizer = start()
    train(method, network, optimizer, 2)
    x, y = batch(0)
    with torch.no_grad():
        method.loss(network, x, y)
        before = method.predict(network, x).mean
        for weight in bayes.weights(network).values():
            assert weight.growth is None
            explored.explored_of(weight).values.fill_(9.0)
    assert torch.equal(method.predict(network, x).mean, before)


def test_the_penalty_is_in_the_loss_and_its_gradient():
    method, network, _ = start(penalty=0.01)
    free, other, _ = start(penalty=0.0)
    x, y = batch(0)
    loss, without = method.loss(network, x, y), free.loss(other, x, y)
    squares = sum(
        float(weight.mean.detach().square().sum())
        + float(explored.explored_of(weight).values.detach().square().sum()) / 0.2
        for weight in bayes.weights(network).values()
    )
    assert float((loss - without).detach()) == pytest.approx(0.5 * 0.01 * squares, rel=1e-4)
    assert method.last_cost == pytest.approx(0.5 * 0.01 * squares, rel=1e-4)
    loss.backward()
    without.backward()
    for weight, same in zip(bayes.weights(network).values(), bayes.weights(other).values(), strict=True):
        more, known = explored.explored_of(weight), explored.explored_of(same)
        torch.testing.assert_close(
            more.values.grad, known.values.grad + 0.01 / 0.2 * more.values.detach(), rtol=1e-4, atol=1e-6
        )
        torch.testing.assert_close(
            weight.mean.grad, same.mean.grad + 0.01 * weight.mean.detach(), rtol=1e-4, atol=1e-6
        )


# -- a choice of new sets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_choice_carries_values_and_optimiser_state(name):
    method, network, optimizer = start(optimizer=name, lr=0.1 if name == "sgd" else 0.05)
    train(method, network, optimizer, 3)
    update(method, network, optimizer)
    key = "momentum_buffer" if name == "sgd" else "exp_avg"
    held = list(bayes.weights(network).values())

    def state(weight, key):
        more = explored.explored_of(weight)
        return weight.support.scatter(optimizer.state[weight.mean][key]) + more.support.scatter(
            optimizer.state[more.values][key]
        )

    before = values(network), [state(weight, key) for weight in held], sets(network)
    outside = [one.clone() for one in method._reserve]
    method.after_step(network, optimizer)
    for n, weight in enumerate(held):
        old = before[2][n][0] | before[2][n][1]
        used, more = sets(network)[n]
        wanted = torch.where(old, before[0][n], outside[n].view(old.shape))
        chosen = nested.chosen(wanted.flatten(), int(used.sum()), int(more.sum()))
        assert torch.equal(used.flatten().nonzero().flatten(), chosen[0])
        assert torch.equal(more.flatten().nonzero().flatten(), chosen[1])
        assert torch.equal(values(network)[n], wanted * (used | more))
        assert torch.equal(method._reserve[n], wanted.flatten())
        assert torch.equal(state(weight, key), before[1][n] * (old & (used | more)))
        if name == "adam":
            assert bool((state(weight, "exp_avg_sq")[used | more] > 0).all())
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(before[2], sets(network), strict=True))


def test_a_choice_without_its_optimizer_is_refused():
    method, network, optimizer = start()
    train(method, network, optimizer, 3)
    update(method, network, optimizer)
    with pytest.raises(SzilardError, match=r"call method\.after_step\(network, optimizer\)"):
        method.after_step(network)


@pytest.mark.parametrize(("name", "steps"), [("sgd", 2), ("adam", 4), ("adam", 7)])
def test_a_run_in_two_halves_equals_a_run_in_one(name, steps):
    whole, network, optimizer = start(optimizer=name)
    train(whole, network, optimizer, STEPS)
    first, half, before = start(optimizer=name)
    train(first, half, before, steps)
    kept = copy.deepcopy((first.state_dict(), half.state_dict(), before.state_dict()))
    second, again, after = start(optimizer=name)
    assert second.invalid_part(kept[0], again) == ""
    again.load_state_dict(kept[1])
    after.load_state_dict(kept[2])
    second.load_state_dict(kept[0])
    train(second, again, after, STEPS - steps)
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert all(torch.equal(*pair) for pair in zip(whole._reserve, second._reserve, strict=True))


# -- cost, and what is saved ---------------------------------------------------------------------------------


def test_training_flops_are_two_products_of_the_forward_set_and_one_of_the_backward_set():
    method, network, optimizer = start(backward_density=0.5)
    train(method, network, optimizer, STEPS)
    used, both = round(0.2 * DENSE), round(0.5 * DENSE)
    for _ in range(2):  # before and after the network is finished
        spent = total_cost.of_run(network, (12,), method, batches=[16], seconds=1.0, peak_bytes=0)
        assert spent.train_flops == 2 * STEPS * 16 * (2 * used + both)
        method.finish(network, [batch(0)])


def test_a_finished_network_holds_the_forward_set_alone(tmp_path):
    method, network, optimizer = start(networks.build("mlp:20,20", (12,), 3, seed=0))
    train(method, network, optimizer, STEPS)
    split = Split(*batch(0))
    statistic = torch.ones(12)
    known = DataSet(
        "x", "classification", split, split, split, None, None, ("a", "b", "c"), 0 * statistic, statistic
    )
    for finished in (False, True):
        if finished:
            method.finish(network.eval(), [batch(0)])
        names = [name for name in network.state_dict() if "explored" in name]
        assert bool(names) != finished
        path = tmp_path / f"{finished}.pt"
        saved_network.save(
            path, method, network, known, options={"density": 0.2}, network_spec="mlp:20,20", source={}
        )
        found = saved_network.load(path)
        assert found.network.state_dict().keys() == network.state_dict().keys()
        assert torch.equal(
            found.method.predict(found.network, split.x).mean, method.predict(network.eval(), split.x).mean
        )


@pytest.mark.parametrize(
    "hostile",
    [
        lambda reserve: 3, lambda reserve: reserve[:1], lambda reserve: [*reserve[:2], None],
        lambda reserve: [*reserve[:2], reserve[2][:3]], lambda reserve: [*reserve[:2], reserve[2] / 0],
        lambda reserve: [*reserve[:2], reserve[2].double()], lambda reserve: [*reserve[:2], [0.0] * 60],
    ],
)  # fmt: skip
def test_a_hostile_reserve_is_found(hostile):
    method, network, _ = start()
    state = method.state_dict()
    assert method.invalid_part(state, network) == ""
    assert method.invalid_part({**state, "reserve": hostile(state["reserve"])}, network) == "reserve"


def test_a_fit_resumes_and_refuses_a_hostile_checkpoint(tmp_path):
    digits = data.load("digits", n_train=30, ood="none")
    saved, save = [], checkpoint.save

    def fit(**more):
        return szilard.fit(
            methods.TopKAST(30, density=0.2, every=2), "mlp:5", digits, epochs=1, batch_size=6, samples=1,
            out=tmp_path, accelerator="cpu", progress=False, checkpoint_steps=3, **more,
        )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            checkpoint, "save", lambda *given: (saved.append(copy.deepcopy(given[2])), save(*given))[1]
        )
        run = fit()
    (tmp_path / "topkast" / "result.json").unlink()
    path = tmp_path / "topkast" / "checkpoint.pt"
    content = copy.deepcopy(saved[0])
    assert content["step"] == 3
    content["processes"][0]["method"]["reserve"] = []
    save(path, "checkpoint", content)
    with pytest.raises(SzilardError, match="holds another method reserve than this run writes"):
        fit(resume=True)
    save(path, "checkpoint", saved[0])
    again = fit(resume=True)
    assert again.test == run.test
    assert all(
        torch.equal(*pair) for pair in zip(again.network.parameters(), run.network.parameters(), strict=True)
    )


def test_explored_entries_that_are_no_support_are_refused():
    _, network, _ = start()
    state = dict(network.state_dict())
    state["0.weight.explored.values"] = torch.zeros(2)
    with pytest.raises(SzilardError, match=r"explored entries of 0\.weight are not stored as a support"):
        explored.match(network, state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backward_density": 0.2}, r"backward_density must be above density \(0.2\) and at most 1, not 0.2"),
        ({"density": 1.0}, "must be above density"),
        ({"every": 0}, "steps between two choices and must be at least 1"),
        ({"penalty": -1.0}, "penalty must be zero or positive, not -1"),
        ({"exploration": "best"}, "exploration of Top-KAST must be magnitude or random, not 'best'"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(SzilardError, match=message):
        start(**options)
