"""Costs: exact counts for known networks, sources of figures, and energy estimates."""

import math
import time
from dataclasses import fields

import pytest
import torch
from torch import nn

from szilard import bayes
from szilard.cost import Cost, Source, Stopwatch, count, joules, training_flops
from szilard.sparse import Support


@pytest.mark.parametrize(
    ("network", "shape", "macs", "parameters"),
    [
        (nn.Linear(7, 5), (7,), 35, 40),
        (nn.Conv2d(4, 6, 3, padding=1), (4, 8, 8), 64 * 6 * 4 * 9, 222),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False), (4, 9, 9), 16 * 6 * 2 * 9, 108),
        (nn.Conv1d(2, 3, 5, dilation=2), (2, 20), 12 * 3 * 2 * 5, 33),
    ],
)
def test_known_networks(network, shape, macs, parameters):
    cost = count(nn.Sequential(network), shape)
    assert (cost.macs, cost.parameters, cost.nonzeros) == (macs, parameters, parameters)
    assert cost.bits == 32 * parameters


def test_attention_is_counted():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    length, width = 5, 8
    expected = 4 * length * width * width + 2 * length * length * width
    assert count(Attend(), (length, width)).macs == expected
    assert count(bayes.bayesianize(Attend()), (length, width)).macs == expected


def mlp():
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))


def test_sparse_networks_are_counted_by_existing_entries():
    network = bayes.bayesianize(mlp(), 0.1, fresh=True)
    cost = count(network, (20,))
    nnz = 60 + 12
    assert cost.macs == nnz
    assert cost.nonzeros == nnz + 34
    assert cost.parameters == 720 + 34
    indices = (31 + 60) + (5 + 12)
    assert cost.bits == 32 * (2 * nnz + 34 + indices)
    held = bayes.bayesianize(mlp(), 1.0)
    assert count(held, (20,)).bits == 32 * (2 * 720 + 34)  # a full support needs no indices


@pytest.mark.parametrize(
    ("pattern", "shape", "density", "entries", "bits"),
    [
        ("unstructured", (8, 16), 0.25, 32, 32 * (9 + 32)),
        ("neuron", (8, 16), 0.25, 32, 32 * (4 + 8)),
        ("neuron", (8, 16, 3, 3), 0.25, 288, 32 * (4 + 8)),
        ("block4", (8, 16), 0.25, 32, 32 * (3 + 2)),
        ("2:4", (8, 16), 0.5, 64, 2 * 64),
        ("1:8", (8, 16), 0.125, 16, 3 * 16),
        ("fan-in", (8, 16), 0.25, 32, 32 * 32),
        ("fan-in", (8, 16), 0.03125, 4, 32 * (4 + 4)),  # four rows of one entry
        ("neuron", (8, 16), 1.0, 128, 0),
    ],
)
def test_bits_of_an_index_are_those_that_its_pattern_needs(pattern, shape, density, entries, bits):
    count_of = round(density * math.prod(shape))
    support = Support.random(shape, count_of, torch.Generator().manual_seed(0), pattern)
    assert (support.nnz, support.index_bits) == (entries, bits)


def test_a_network_of_neurons_takes_less_memory_than_the_dense_one():
    network = bayes.bayesianize(mlp(), 0.5, point=True, pattern="neuron", fresh=True)
    supports = [weight.support for weight in bayes.weights(network).values()]
    kept = len(supports[0].kept_rows) + len(supports[1].kept_channels)  # data and outputs are whole
    cost = count(network, (20,))
    assert cost.bits == 32 * (sum(s.nnz for s in supports) + 34 + kept)
    assert cost.bits < 0.6 * count(mlp(), (20,)).bits


def test_training_flops_follow_the_specification():
    f = 2 * 720
    assert training_flops(mlp(), (20,), examples=100) == 3 * f * 100
    assert training_flops(bayes.bayesianize(mlp()), (20,), examples=100) == 6 * f * 100
    sparse = bayes.bayesianize(mlp(), 0.1, fresh=True)
    assert training_flops(sparse, (20,), examples=100) == 6 * 2 * 72 * 100
    assert training_flops(sparse, (20,), examples=100, growth_examples=3) == 6 * 2 * 72 * 100 + 3 * f


def test_counting_does_not_change_the_network():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    training_flops(network, (6,), examples=10)
    count(network, (6,))
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert network.training
    assert torch.equal(state, torch.get_rng_state())


def test_costs_add_up():
    a = Cost(macs=3, seconds=1.0, peak_bytes=10, seconds_per_step=0.1)
    b = Cost(macs=4, seconds=2.0, peak_bytes=7, seconds_per_step=0.2, bits=9)
    total = a + b
    assert (total.macs, total.seconds, total.peak_bytes) == (7, 3.0, 10)
    assert total.bits is None  # unknown in one, so unknown in the sum
    assert total.seconds_per_step is None


def test_a_measured_inference_has_its_conditions():
    cost = Cost(macs=3).with_(seconds_per_inference=0.25, inference_batch=8, inference_threads=2)
    assert cost.to_dict() == {
        "macs": {"value": 3, "source": "counted"},
        "seconds_per_inference": {"value": 0.25, "source": "measured", "batch": 8, "threads": 2},
    }
    assert "batch" not in Cost(seconds_per_inference=0.25).to_dict()["seconds_per_inference"]
    assert Cost(macs=3, inference_batch=8).to_dict() == {"macs": {"value": 3, "source": "counted"}}
    total = cost + cost
    assert (total.macs, total.seconds_per_inference, total.inference_batch) == (6, None, None)


def test_every_figure_has_a_source():
    cost = joules(count(mlp(), (20,)).with_(train_flops=1000, seconds=2.0), steps=5, trained_values=754)
    labels = {name: entry["source"] for name, entry in cost.to_dict().items()}
    assert labels["macs"] == labels["train_flops"] == "counted"
    assert labels["joules_inference"] == labels["joules_training"] == "estimated"
    assert labels["seconds"] == "measured"
    assert "peak_bytes" not in labels
    conditions = [name for of_figure in Cost.CONDITIONS.values() for name in of_figure.values()]
    assert sorted([*Cost.SOURCES, *conditions]) == sorted(field.name for field in fields(Cost))
    assert set(Cost.CONDITIONS) < set(Cost.SOURCES)
    assert all(isinstance(source, Source) for source in Cost.SOURCES.values())


def test_joules_by_hand():
    cost = joules(
        Cost(macs=1000, bytes_moved=800, bits=8 * 4096, train_flops=2000), steps=2, trained_values=8
    )
    assert cost.joules_inference == pytest.approx((1000 * 4.6 + 100 * 10) * 1e-12)
    assert cost.joules_training == pytest.approx((1000 * 4.6 + 2 * 8 * 28 / 8 * 1300) * 1e-12)
    large = joules(Cost(macs=1000, bytes_moved=800, bits=8 * 2**21))
    assert large.joules_inference == pytest.approx((1000 * 4.6 + 100 * 1300) * 1e-12)


def test_stopwatch_measures():
    begun = time.perf_counter()
    with Stopwatch() as watch:
        inside = time.perf_counter()
        while time.perf_counter() < inside + 0.051:  # busy wait on the same clock
            pass
        block = torch.ones(50_000_000)
    assert 0.05 <= watch.seconds <= time.perf_counter() - begun
    assert watch.peak_bytes > block.numel() * 4
