"""Large networks: memory is bounded, and results do not depend on how."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

from szilard import compress, file
from szilard.compression import memory
from szilard.compression.calibration import Calibration
from szilard.compression.copies import Working, fill, sharing
from szilard.compression.curvature import curvatures
from szilard.compression.shelf import Shelf


class Block(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(width, 64), nn.Linear(64, width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.down(torch.tanh(self.up(x))))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), Block(), Block(), nn.Flatten(), nn.Linear(160, 10)).eval()


def call(network: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = network(x)
    return out


INPUTS = torch.randn(96, 5, 8, generator=torch.Generator().manual_seed(1))


def test_memory_of_an_example_is_measured():
    """In a chain of layers two outputs are alive at once; tanh and the linear layers save tensors for the gradient."""
    chain = nn.Sequential(nn.Linear(10, 1000), nn.Tanh(), nn.Linear(1000, 10), nn.Tanh())
    need = memory.Need.of(chain, [torch.randn(6, 10)], call)
    assert need is not None
    assert need.forward == 4 * 2000  # the output of a linear layer and its tanh
    assert need.saved == 4 * (
        1000 + 10
    )  # both tanh outputs; the first is also the saved input of a linear layer


def test_a_network_that_cannot_be_measured_keeps_its_batches():
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    assert memory.Need.of(Odd(), [INPUTS], call) is None
    assert memory.Need.of(network(), [], call) is None
    with memory.for_gradients(Odd(), [INPUTS], call) as batches:
        assert batches[0] is INPUTS


def test_small_networks_keep_their_batches():
    data = Calibration.of(INPUTS)
    assert memory.fitted(data, network(), call) is data
    with memory.for_gradients(network(), data.inputs, call) as batches:
        assert batches is data.inputs


def test_judging_batches_are_split_together_with_their_labels(monkeypatch):
    monkeypatch.setattr(memory, "LEAST", 0)
    labels = torch.arange(96) % 10
    data = Calibration.of([(INPUTS, labels)])
    parts = memory.fitted(data, network(), call)
    assert max(map(len, parts.judges)) < max(map(len, data.judges))
    assert torch.equal(torch.cat(parts.judges), torch.cat(data.judges))
    assert parts.labels is not None
    assert [len(x) for x in parts.judges] == [len(y) for y in parts.labels]
    assert torch.equal(torch.cat(parts.labels), torch.cat(data.labels))


@pytest.mark.parametrize("least", [1 << 28, 1 << 19, 1 << 17])
def test_curvature_does_not_depend_on_memory(monkeypatch, least):
    """Random directions differ with the batches; A hardly changes, and G only by sampling noise."""
    whole = curvatures(network(), list(INPUTS.split(32)), call)
    monkeypatch.setattr(memory, "LEAST", least)
    monkeypatch.setattr(memory, "LARGE", 1 << 8)
    shelf = Shelf(0)
    with memory.for_gradients(network(), list(INPUTS.split(32)), call) as batches:
        parts = curvatures(network(), batches, call, shelf=shelf)
    assert list(whole) == list(parts)
    for name in whole:
        a, b = whole[name].inputs, parts[name].inputs
        trace, other = (float((m.diagonal(0, 1, 2) if m.dim() == 3 else m).sum()) for m in (a, b))
        assert other == pytest.approx(trace, rel=0.3)
        assert float(parts[name].outputs.sum()) == pytest.approx(float(whole[name].outputs.sum()), rel=0.5)


def test_gradients_are_exact_with_saved_tensors_in_a_file(monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 0)
    net, x = network(), INPUTS.clone().requires_grad_()
    conv = nn.Sequential(nn.Conv1d(5, 7, 3), nn.GELU(), nn.Flatten(), nn.Softmax(1))
    for one in (net, conv):
        (wanted,) = torch.autograd.grad(one(x).square().sum(), x)
        away = memory._SavedToFile(one)
        with away.hooks():
            answer = one(x).square().sum()
        assert away._shelf.written > 0
        (found,) = torch.autograd.grad(answer, x)
        assert torch.equal(found, wanted)
        del answer
        gc.collect()
        assert len(away._shelf) == 0  # tensors that are no longer needed are removed


def test_files_are_the_same_when_everything_spills(monkeypatch):
    """Reading back is exact. Only batch sizes could change results, and they are the same here."""
    options = {"lam": 1e-6, "seed": 3, "passes": [compress.Quantise(), compress.Correct()]}
    plain = compress(network(), INPUTS, **options)
    monkeypatch.setattr("szilard.compression.shelf.ROOM", 0)
    monkeypatch.setattr(Shelf.__init__, "__defaults__", (0,))
    assert compress(network(), INPUTS, **options).data == plain.data


def test_a_copy_with_shared_weights_has_its_own_mode_and_buffers():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    copy = sharing(net).eval()
    assert net.training
    assert copy[0].weight is net[0].weight
    assert copy[1].running_mean is not net[1].running_mean
    net.train()(torch.randn(8, 3))
    assert not torch.equal(copy[1].running_mean, net[1].running_mean)


def test_the_working_copy_is_reset_and_only_recreated_if_its_modules_changed():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    working = Working(net)
    first = working.fresh()
    with torch.no_grad():
        first[0].weight.zero_()
        first[1].running_mean.fill_(7)
    again = working.fresh()
    assert again is first
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), net.state_dict().values(), strict=True)
    )
    again[0] = nn.Linear(3, 4)
    assert not working.intact()
    assert working.fresh() is not first
    third = working.fresh()
    third[1].eps = 0.5
    assert working.fresh()[1].eps == net[1].eps


def test_a_torchscript_network_is_used_for_all_attempts():
    traced = torch.jit.trace(network(), INPUTS[:2])
    assert memory.Need.of(traced, [INPUTS], call) is None
    working = Working(traced)
    first = working.fresh()
    assert working.fresh() is first
    made = compress(traced, INPUTS, lam=1e-6)
    assert torch.equal(made.network(INPUTS[:9]), made.network(INPUTS)[:9])


def test_filling_tensor_by_tensor_equals_loading(monkeypatch):
    monkeypatch.setattr("szilard.compression.copies.AT_ONCE", 100)
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Linear(6, 3)).train()
    net[2].weight = net[0].weight  # tied
    net(torch.randn(20, 6))
    made = compress(net, torch.randn(60, 6), lam=1e-6)
    with torch.no_grad():
        for t in made.network.state_dict().values():
            t.fill_(1)
    fill(made.network, made.data)
    wanted = file.to_state_dict(file.loads(made.data))
    assert {n: t.tolist() for n, t in made.network.state_dict().items()} == {
        n: t.tolist() for n, t in wanted.items()
    }


def test_a_search_uses_one_network_for_all_attempts():
    """The judged networks are kept alive, so that no id is used twice."""
    original, seen = network(), []

    def score(net: nn.Module) -> float:
        seen.append(net)
        return 1 - float((net[0].weight - original[0].weight).norm() / original[0].weight.norm())

    made = compress(original, INPUTS, max_drop=0.05, evaluate=score, passes=[compress.Quantise()])
    assert len(made.trials) >= 4
    assert len({id(net) for net in seen}) == 1  # a working copy, never the user's network
    assert original not in (made.network, seen[0])
    assert torch.equal(made.network[0].weight, file.to_state_dict(file.loads(made.data))["0.weight"])


def test_the_network_of_an_earlier_attempt_is_loaded_again():
    """The returned network is that of the chosen file, even if another attempt was the last."""

    def score(net: nn.Module) -> float:  # only the third trial is good enough
        count.append(1)
        return 1.0 if len(count) in (1, 4) else 0.0

    count: list[int] = []
    made = compress(network(), INPUTS, max_drop=0.5, evaluate=score, passes=[compress.Quantise()])
    assert [trial[1] for trial in made.trials].index(len(made.data)) == 2
    assert len(made.trials) > 3
    state = file.to_state_dict(file.loads(made.data))
    assert all(torch.equal(t, state[name]) for name, t in made.network.state_dict().items())
