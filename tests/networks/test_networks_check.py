"""Checks that a network fits a data set, and the learned noise of a regression."""

import pytest
import torch
from torch import nn

from szilard import networks
from szilard.data import DataSet, Split
from szilard.errors import SzilardError


def dataset(task: str) -> DataSet:
    regression = task == "regression"
    split = Split(torch.randn(20, 4), torch.randn(20) if regression else torch.arange(20) % 5)
    classes = () if regression else tuple("abcde")
    return DataSet("mine", task, split, split, split, None, None, classes, torch.zeros(4), torch.ones(4))


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("task", "network"),
    [
        ("classification", nn.Linear(4, 5)),
        ("regression", nn.Linear(4, 1)),
        ("regression", nn.Linear(4, 2)),
        ("regression", networks.WithNoise(nn.Linear(4, 1))),
        ("classification", nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 5))),
    ],
)
def test_networks_that_fit_pass(task, network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    networks.check_fits(network, dataset(task))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("task", "network", "message"),
    [
        (
            "classification",
            nn.Linear(4, 6),
            r"returns \[3, 6\] for 3 inputs of mine; classification needs \[B, 5\]",
        ),
        ("classification", Returns(lambda x: torch.zeros(5)), r"returns \[5\]"),
        ("classification", Returns(lambda x: torch.zeros(3, 5, 1)), r"returns \[3, 5, 1\]"),
        ("classification", Returns(lambda x: torch.zeros(1, 5)), r"returns \[1, 5\]"),
        ("regression", nn.Linear(4, 3), r"returns \[3, 3\] .* regression needs \[B, 1\], or \[B, 2\]"),
        ("regression", Returns(lambda x: x[:, 0]), r"returns \[3\]"),
        ("classification", nn.Linear(7, 5), r"cannot take inputs of mine, \[4\] each: mat1 and mat2"),
        ("classification", Returns(lambda x: (x, x)), "returns tuple"),
        ("classification", Returns(lambda x: torch.zeros(3, 5).long()), "returns torch.int64"),
        ("classification", Returns(lambda x: torch.full((3, 5), torch.nan)), "NaN or infinite"),
        ("classification", nn.Flatten(), "has no parameters"),
    ],
)
def test_networks_that_do_not_fit_give_one_line(task, network, message):
    with pytest.raises(SzilardError, match=message) as caught:
        networks.check_fits(network, dataset(task))
    assert "\n" not in str(caught.value)


def test_modes_are_restored_module_by_module():
    network = nn.Sequential(nn.Dropout(), nn.Linear(4, 5)).train()
    network[0].eval()
    networks.check_fits(network, dataset("classification"))
    assert network.training
    assert not network[0].training
    with pytest.raises(SzilardError):
        networks.check_fits(network.append(nn.Linear(9, 5)), dataset("classification"))
    assert network.training


def test_noise_is_an_output_beside_the_mean_and_is_learned():
    torch.manual_seed(0)
    network = networks.WithNoise(nn.Linear(4, 1), log_noise=-0.5)
    x = torch.randn(7, 4)
    out = network(x)
    assert torch.equal(out[:, :1], network.network(x))
    assert out[:, 1].tolist() == [-0.5] * 7
    out[:, 1].sum().backward()
    assert network.log_noise.grad.item() == 7


def test_a_network_with_its_own_noise_is_unchanged():
    own = nn.Linear(4, 2)
    x = torch.randn(7, 4)
    assert torch.equal(networks.WithNoise(own)(x), own(x))
    with pytest.raises(SzilardError, match=r"\[B, 1\] or \[B, 2\], not \[7, 3\]"):
        networks.WithNoise(nn.Linear(4, 3))(x)


def test_the_learned_noise_finds_the_spread_of_the_targets():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 1, generator=random)
    y = 2 * x[:, 0] + 0.3 * torch.randn(1000, generator=random)
    linear = nn.Linear(1, 1)
    nn.init.zeros_(linear.weight)
    network = networks.WithNoise(linear)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(300):
        mean, log_noise = network(x).unbind(1)
        loss = (log_noise + 0.5 * ((y - mean) / log_noise.exp()).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    spread = (y - network(x)[:, 0]).square().mean().sqrt()  # the maximum-likelihood estimate, in closed form
    assert abs(network.log_noise.exp() / spread - 1) < 1e-3
    assert abs(spread - 0.3) < 0.02


def test_a_network_for_sequences_is_told_how_to_read_images_of_one_channel():
    """Arrays [N, 2, 9] of a file are images [1, 2, 9]."""
    split = Split(torch.randn(20, 1, 2, 9), torch.arange(20) % 5)
    images = DataSet(
        "mine",
        "classification",
        split,
        split,
        split,
        None,
        None,
        tuple("abcde"),
        torch.tensor(0.0),
        torch.tensor(1.0),
    )
    layers = [nn.Conv1d(2, 3, 4), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 5)]
    with pytest.raises(
        SzilardError, match=r"arrays \[N, 2, 9\] are images of one channel: .* nn.Flatten\(1, 2\)"
    ):
        networks.check_fits(nn.Sequential(*layers), images)
    networks.check_fits(nn.Sequential(nn.Flatten(1, 2), *layers), images)
