"""The whole search: from a network and a target to a file."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from szilard.compression import Policy, galen
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import harm, policy_file
from szilard.compression.policies.budget import cheapest
from szilard.compression.policies.checked import Given
from szilard.compression.policies.job import HISTORY, Job
from szilard.compression.policies.measured_search import Search
from szilard.compression.policies.options import RUNTIME_BITS, space_of
from szilard.compression.policies.policy import LayerPolicy
from szilard.compression.policies.problem import Problem
from szilard.compression.policies.search_progress import progress_of
from szilard.compression.policies.target import Target
from szilard.deploy import Units
from szilard.deploy.int8 import Evaluation
from szilard.errors import SzilardError


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.a, self.norm_a = nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.b, self.norm_b = nn.Conv2d(12, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.norm_b(self.b(torch.relu(self.norm_a(self.a(x))))))
        return self.last(x.mean((2, 3)))


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        made = Residual()
        made.last.weight.data.mul_(20)
    return made.eval()


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(48, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def parameters(network: nn.Module) -> float:
    return float(sum(p.numel() for p in network.parameters()))


def searched(network, inputs, **changed):
    """A search without its last part, the file."""
    arguments = {
        "target": 0.6, "measure": parameters, "search": "evolution", "evaluations": 12, "policy": None, "finetune": 0,
        "trial_steps": None, "training": None, "evaluation": None, "task": None, "threads": 1, "folder": None,
        "table": None, "deployed": None, "meta": None, "noisy": False, "seed": 0,
    }  # fmt: skip
    job = Job(Given.checked(network, inputs, **arguments | changed), progress_of(False))
    return job._searched(Target.of(arguments["target"], "units").share(job.cost.reference))


def test_the_file_computes_what_is_reported(network, inputs, tmp_path):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    y = network(inputs).argmax(1)
    found = galen(
        network, inputs, target=0.4, measure="energy", evaluations=8, evaluation=Evaluation(inputs, y),
        task="classification", folder=tmp_path, progress=False,
    )  # fmt: skip
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert found.cost <= found.target == pytest.approx(0.4 * found.reference)
    assert len(found.trials) == 8
    assert found.before["accuracy"] == 1
    given = found.compiled(inputs).answer
    assert found.after["accuracy"] == pytest.approx(float((given.argmax(1) == y).double().mean()))
    # The network with simulated integers is the one in the runtime, up to a few steps of 8 bits.
    probabilities = found.network(inputs).detach().softmax(1)
    assert float((probabilities - given).abs().max()) < 0.06
    found.save(tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == found.content
    with pytest.raises(SzilardError, match=r"ends in \.onnx"):
        found.save(tmp_path / "net.szd")

    (tmp_path / "p.toml").write_text(policy_file.to_toml(found.policy))
    again = galen(
        network, inputs, measure="energy", policy=tmp_path / "p.toml", task="classification", progress=False
    )
    assert again.policy == found.policy
    assert again.content == found.content
    assert math.isinf(again.target)


def test_a_file_of_bytes_opens_in_the_original_class(network, inputs):
    found = galen(
        network, inputs, target=0.5, measure="bytes", evaluations=4, search="greedy", progress=False
    )
    assert len(found.content) == found.cost <= found.target
    assert type(found.network).__name__ == "Residual"
    assert found.compiled is None


def test_a_search_that_is_stopped_gives_the_same_policy(network, inputs, tmp_path, monkeypatch):
    whole = searched(network, inputs, folder=tmp_path / "whole")
    tried = []

    def stop(job_search, *given):
        tried.append(given)
        if len(tried) == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Search, "_tell", stop)
        with pytest.raises(KeyboardInterrupt):
            searched(network, inputs, folder=tmp_path / "stopped")
    lines = (tmp_path / "stopped" / HISTORY).read_text().splitlines()
    assert 7 <= len(lines) - 1 < 12 + 4
    again = searched(network, inputs, folder=tmp_path / "stopped")
    assert again.best == whole.best
    assert again.trials == whole.trials
    assert (tmp_path / "stopped" / HISTORY).read_text() == (tmp_path / "whole" / HISTORY).read_text()


def test_the_best_policy_meets_the_target_as_measured(network, inputs):
    found = searched(network, inputs, target=0.6)
    assert found.best.measured is not None
    assert found.best.measured <= 0.6
    better = [one for one in found.trials if one.measured is not None and one.measured <= 0.6]
    assert found.best.kl == min(one.kl for one in better)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"target": 1e-4}, "below what the smallest policy of the search reaches"),
        ({"target": None}, "no target"),
        ({"target": 1.5}, "not a share"),
        ({"target": "2parsec"}, "not a share"),
        ({"measure": "watts"}, "choose one of latency, energy, bytes"),
        ({"search": "oracle"}, "choose one of evolution"),
        ({"evaluations": 0}, "evaluations must be a whole number"),
        ({"finetune": -1}, "finetune must be"),
        ({"folder": __file__}, "is a file, and a search keeps its history in a folder"),
        ({"policy": Policy((LayerPolicy("other", 4),))}, "a layer other, which the network does not have"),
        ({"training": (torch.zeros(3, 1, 5, 5), None)}, "give inputs of one shape"),
        ({"training": (torch.zeros(3, 1, 6, 6), torch.zeros(2))}, "3 training inputs and 2 labels"),
    ],
)  # fmt: skip
def test_what_is_refused(network, inputs, changed, message):
    with pytest.raises(SzilardError, match=message):
        galen(network, inputs, **{"target": 0.5, "measure": "energy", "progress": False} | changed)


def test_a_policy_that_misses_its_target_is_refused(network, inputs):
    shapes = ChannelUnits.of(network, inputs).layers
    whole = Policy(tuple(LayerPolicy(name, shape.outputs) for name, shape in shapes.items()))
    with pytest.raises(
        SzilardError, match=r"the policy costs 1\.000 of the original, more than the target 0\.500"
    ):
        galen(network, inputs, target=0.5, measure=parameters, policy=whole, progress=False)


def test_a_target_below_reach_is_told_in_the_units_that_were_given(network, inputs):
    with pytest.raises(SzilardError, match=r"the target of 10 units is below .* about [\d.]+ units; give"):
        galen(network, inputs, target="10", measure=parameters, progress=False, evaluations=2)


def test_a_network_that_lost_much_is_said(network, inputs):
    shapes = ChannelUnits.of(network, inputs).layers
    little = Policy(tuple(LayerPolicy(n, s.outputs if n == "last" else 1) for n, s in shapes.items()))
    found = galen(network, inputs, measure=parameters, policy=little, progress=False)
    assert any("far from the original's (KL of" in note for note in found.notes)
    assert math.isnan(found.predicted)
    assert harm.notes(0.1, {"accuracy": 0.9}, {"accuracy": 0.7}) == [
        "accuracy fell by 20.0 points on the held-out examples; fine-tune the network, or give a larger target or more "
        "evaluations"
    ]
    assert not harm.notes(0.1, {"accuracy": 0.9}, {"accuracy": 0.88})


def test_calibration_data_are_needed(network):
    with pytest.raises(SzilardError, match="no calibration data"):
        galen(network, None, target=0.5)
    with pytest.raises(SzilardError, match="give at least 16"):
        galen(network, torch.zeros(3, 1, 6, 6), target=0.5)
    with pytest.raises(SzilardError, match="no calibration inputs"):
        galen(network, torch.zeros(0, 1, 6, 6), target=0.5)


def test_bits_that_the_runtime_does_not_have_are_refused_before_anything_is_measured(network, inputs):
    shapes = ChannelUnits.of(network, inputs).layers
    odd = Policy(tuple(LayerPolicy(name, shape.outputs, 5, 5) for name, shape in shapes.items()))

    def never(network):
        pytest.fail("it was measured")

    with pytest.raises(SzilardError, match="5-bit weights"):
        galen(network, inputs, policy=odd, measure=never, progress=False)


class Coupled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.layer(x - x.mean(0, keepdim=True)).mean((2, 3))


def test_networks_that_the_search_is_not_for_are_named(inputs):
    with pytest.raises(SzilardError, match="depend on the other inputs of a batch"):
        galen(Coupled(), inputs, target=0.5, progress=False)
    with pytest.raises(SzilardError, match="no convolution and no linear layer"):
        galen(nn.Flatten(), inputs, target=0.5, measure="energy", progress=False)


def test_the_cheapest_policy_may_have_floats(network, inputs):
    """Fewer bits can be slower in small layers."""
    space = space_of(ChannelUnits.of(network, inputs), RUNTIME_BITS)

    def slower_in_integers(choice):
        policy = space.policy(choice)
        integers = sum(layer.weight_bits == 8 for layer in policy.layers)
        mixed = 0.1 * (0 < integers < len(policy.layers))
        return sum(layer.channels for layer in policy.layers) / 32 * 0.5 + 0.3 * (integers > 0) + mixed

    problem = Problem(space, [[0.0] * len(one.options) for one in space.decisions], slower_in_integers, 0.35)
    assert slower_in_integers(space.smallest) > 0.35
    assert slower_in_integers(cheapest(problem)) <= 0.35


def test_the_assumed_meaning_of_outputs_is_said(network, inputs):
    found = galen(network, inputs, policy=original(network, inputs), measure="energy", progress=False)
    assert any(note.startswith("outputs are read as") for note in found.notes)


def test_quality_of_a_file_of_bytes_is_in_the_units_of_the_data(network, inputs):
    y = network(inputs).detach() + 0.1
    units = {"targets": Units(5.0, 10.0)}
    found = galen(
        network, inputs, target=0.9, measure="bytes", search="greedy", evaluations=2, deployed=units,
        evaluation=Evaluation(inputs, y), task="regression", progress=False,
    )  # fmt: skip
    assert found.before["rmse"] == pytest.approx(1.0, rel=1e-3)  # 0.1 of the network's units


def original(network, inputs):
    shapes = ChannelUnits.of(network, inputs).layers
    return Policy(tuple(LayerPolicy(name, shape.outputs) for name, shape in shapes.items()))


def test_a_policy_that_prunes_outputs_names_the_layer(network, inputs):
    units = ChannelUnits.of(network, inputs)
    layers = [LayerPolicy(name, shape.outputs) for name, shape in units.layers.items()]
    layers[-1] = LayerPolicy("last", 2)
    with pytest.raises(SzilardError, match="2 channels for last, but all 4 of its channels have to stay"):
        galen(network, inputs, policy=Policy(tuple(layers)), measure="energy", progress=False)


@pytest.mark.parametrize(
    ("given", "unit", "share"),
    [(0.4, "seconds", 0.4), ("9000", "units", 0.9),
     ("1.5ms", "seconds", 0.75), ("0.4", "joules", 0.4), ("1kB", "bytes", 0.5),
     (1000, "bytes", 0.5)],
)  # fmt: skip
def test_targets_are_shares_or_amounts(given, unit, share):
    reference = {"seconds": 0.002, "joules": 1.0, "bytes": 2000, "units": 10_000}[unit]
    assert Target.of(given, unit).share(reference) == pytest.approx(share)


def test_the_original_may_not_meet_the_target_already():
    with pytest.raises(SzilardError, match=r"the original takes 0\.001"):
        Target.of("1.5ms", "seconds").share(0.001)


def test_the_history_holds_finite_numbers(network, inputs, tmp_path):
    searched(network, inputs, folder=tmp_path, evaluations=4)
    for line in (tmp_path / HISTORY).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
