"""Early-Bird tickets: when they are drawn, which channels go, and that a run continues from any step."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from cli_tools import szilard as typed
from torch import nn

from szilard import bayes, compression, methods, networks
from szilard.errors import SzilardError, SzilardWarning
from szilard.networks.silent_channels import useless
from szilard.training import load_network

NETWORK = """
from torch import nn

def make(input_shape, n_outputs):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, n_outputs)
    )
"""


def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        x = torch.randn(8, 2, 6, 6, generator=generator)
        yield x, (x[:, 0].sum((1, 2)) > 0).long()


def convolutions():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8),
        nn.ReLU(), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip


def start(network=None, **options):
    options = {"every": 2, "total_steps": 40, "optimizer": "sgd", "lr": 0.02, "threshold": 0.3, **options}
    method = methods.EarlyBird(80, **options)
    prepared = method.prepare(convolutions() if network is None else network).train()
    return method, prepared, method.optimizer(prepared)


def train(method, network, optimizer, count):
    for x, y in islice(batches(), method.step, method.step + count):
        method.anneal(optimizer)
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)


def shapes(network):
    return [(len(w.support.crow.diff().nonzero()), w.support.nnz) for w in bayes.weights(network).values()]


def silent(network):
    return [
        int((m.weight == 0).sum())
        for m in network.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]


def test_a_ticket_is_drawn_from_five_masks_that_agree():
    method, network, optimizer = start()
    train(method, network, optimizer, 9)
    assert (method.drawn_at, method.distances, silent(network)) == (0, [], [0, 0])
    assert method.last_cost == pytest.approx(1e-4 * 14, rel=0.1)
    before = {name: value.clone() for name, value in network.named_parameters()}
    train(method, network, optimizer, 1)
    assert (method.drawn_at, len(method.distances)) == (10, 1)
    assert method.distances[0] <= 0.3
    gone = silent(network)
    assert sum(gone) == 7
    first, second, last = (w.support for w in bayes.weights(network).values())
    assert shapes(network) == [
        (6 - gone[0], (6 - gone[0]) * 18), (8 - gone[1], (8 - gone[1]) * (6 - gone[0])), (2, 2 * 4 * (8 - gone[1])),
    ]  # fmt: skip
    kept = network[1].weight != 0
    assert torch.equal(first.mask().flatten(1).any(1), kept)
    assert torch.equal(second.mask().flatten(1).any(0), kept)
    assert torch.equal(last.mask().any(0), (network[5].weight != 0).repeat_interleave(4))
    largest = before["1.weight"].abs()  # of one step before
    assert largest[kept].min() > largest[~kept].max() - 0.05
    train(method, network, optimizer, 20)
    assert method.last_cost == 0
    assert silent(network) == gone
    assert bool((network[1].bias[~kept] == 0).all())
    smaller = compression.shrink(bayes.point_network(network).eval(), next(batches())[0])
    assert smaller[0].weight.shape == (6 - gone[0], 2, 3, 3)
    assert smaller[8].in_features == 4 * (8 - gone[1])


def test_the_outputs_stay_the_same_in_a_residual_network():
    method, network, optimizer = start(networks.build("resnet8", (2, 6, 6), 2), prune=0.7, threshold=0.9)
    seen = {}
    silence = method._silence

    def watched(given):
        silence(given)
        with bayes.evaluating(given):
            seen.setdefault("before", given(next(batches())[0]))

    method._silence = watched
    train(method, network, optimizer, 10)
    assert method.drawn_at == 10
    with bayes.evaluating(network):
        torch.testing.assert_close(network(next(batches())[0]), seen["before"], rtol=1e-4, atol=1e-5)
    gone = silent(network)
    assert sum(gone) == round(0.7 * 240)  # channels of a stem and six normalisations
    # The stream behind a shortcut keeps its channels, and those between two convolutions go on both sides.
    one, two = network.layer3[0].conv1.weight.support, network.layer3[0].conv2.weight.support
    assert len(one.kept_rows) == len(two.kept_channels) == 64 - gone[5]
    held = sum(w.support.nnz for w in bayes.weights(network).values())
    assert held < 0.25 * sum(w.support.rows * w.support.cols for w in bayes.weights(network).values())
    assert sum(method.mean_entries) > held
    ours = {id(p) for p in network.parameters()}
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == ours


@pytest.mark.parametrize("steps", [3, 11])
def test_a_run_in_two_halves_equals_a_run_in_one(steps):
    whole, network, optimizer = start(optimizer="adam")
    train(whole, network, optimizer, 20)
    first, half, before = start(optimizer="adam")
    train(first, half, before, steps)
    kept = copy.deepcopy((first.state_dict(), half.state_dict(), before.state_dict()))
    second, again, _ = start(optimizer="adam")
    second.match_supports(again, kept[1])
    after = second.optimizer(again)
    again.load_state_dict(kept[1])
    after.load_state_dict(kept[2])
    second.load_state_dict(kept[0])
    train(second, again, after, 20 - steps)
    assert second.drawn_at == whole.drawn_at > 0
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_the_command_trains_and_opens_a_ticket(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    fit = (
        "fit", "--data", "digits", "--n-train", "40", "--network", f"{tmp_path}/net.py:make", "--method", "early-bird",
        "--no-baselines", "--batch-size", "20", "--epochs", "14", "--samples", "1", "--ood", "none", "--accelerator",
        "cpu", "--quiet", "--option", "threshold=0.5", "--out", tmp_path / "run",
    )  # fmt: skip
    assert typed(*fit).code == 0
    opened = load_network(tmp_path / "run" / "early-bird" / "network.pt").network
    rows = [weight.support.nnz // weight.support.cols for weight in bayes.weights(opened).values()]
    assert rows[0] == 6
    assert silent(opened) == [6]
    typed(*fit[:-1], tmp_path / "other", "--epochs", "5").refused("and 2 come in the first 0.5 of 10 steps")


def test_masks_that_never_agree_are_warned_about():
    method, network, optimizer = start(prune=0.3, every=3)
    for _ in range(17):
        train(method, network, optimizer, 1)
        if method._masks:
            method._masks[0] = ~method._masks[-1]
    assert (method.drawn_at, len(method.distances)) == (0, 1)
    with pytest.warns(SzilardWarning, match="at step 18 although its last 5 masks differ in up to"):
        train(method, network, optimizer, 1)
    assert method.drawn_at == 18


def test_a_layer_that_is_read_elsewhere_keeps_its_outputs():
    class Twice(nn.Module):
        def __init__(self, both):
            super().__init__()
            self.both, self.shift = both, nn.Parameter(torch.zeros(4))
            self.one, self.norm, self.two = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, x):
            y = self.one(x)
            z = self.two(self.norm(y) + (self.shift if self.both == "shift" else 0))
            return z + y[:, :2] if self.both == "outputs" else z

    channels = torch.tensor([True, False, True, False])
    found = {}
    for both in ("", "outputs", "shift"):
        network = Twice(both)

        def run(change, network=network):
            return network(change(torch.randn(5, 3)))

        one, two = useless(network, run, [network.one, network.two], {network.norm: channels})
        found[both] = (one.outputs is not None, two.inputs.tolist())
        assert not bool(one.inputs.any())
    assert found == {
        "": (True, channels.tolist()), "outputs": (False, channels.tolist()), "shift": (True, [False] * 4),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune": 0.0}, "prune of an Early-Bird ticket must be above 0 and below 1"),
        ({"threshold": 1.0}, "threshold of an Early-Bird ticket"),
        ({"every": 0}, "every is the number of steps between two masks"),
        ({"penalty": -1.0}, "penalty must be zero or positive"),
        ({"every": 10}, "and 2 come in the first 0.5 of 40 steps"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(SzilardError, match=message):
        train(*start(**options), 1)


def test_a_network_without_batchnorm_is_refused():
    with pytest.raises(SzilardError, match="the network has no BatchNorm with slopes to train"):
        start(networks.build("mlp:4", (2,), 2))


@pytest.mark.parametrize(
    "wrong", [{"masks": [3]}, {"masks": [torch.zeros(3)]}, {"drawn_at": 3}, {"interval": 2.5}]
)
def test_a_damaged_state_is_refused(wrong):
    method, network, optimizer = start()
    train(method, network, optimizer, 4)
    with pytest.raises(SzilardError, match="masks in this state of an Early-Bird ticket are damaged"):
        start()[0].load_state_dict({**method.state_dict(), **wrong})
