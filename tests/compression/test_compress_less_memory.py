"""Measures that save memory do not change the result by a single bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import szilard
from szilard import file
from szilard.coding import LARGEST
from szilard.compression import copies, packed, scaled, sequential_rounding
from szilard.compression.copies import emptied
from szilard.compression.draft import Draft, Quantised
from szilard.compression.hooked import Curvature
from szilard.compression.job import Job
from szilard.compression.layer_walk import Fitting
from szilard.compression.packed import Packed, pack
from szilard.compression.passes import refit
from szilard.compression.passes.correct import mean_by_channel
from szilard.errors import SzilardError


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sizes(network):
    return {name: t.untyped_storage().nbytes() for name, t in network.state_dict(keep_vars=True).items()}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([np.int16, np.int32]),
    st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from([-30000, -129, -128, 127, 128, 30000])), max_size=9
    ),
    st.integers(0, 99),
)
def test_packed_levels_are_unpacked_exactly(kind, odd, seed):
    values = np.random.default_rng(seed).integers(-128, 128, (40, 70)).astype(kind)
    for place, value in odd:
        values.reshape(-1)[place % values.size] = value
    before, packed.LARGE = packed.LARGE, 100
    try:
        kept = pack(values)
    finally:
        packed.LARGE = before
    assert kept is not None
    assert kept.shape == values.shape
    assert kept.wide().dtype == values.dtype
    assert np.array_equal(kept.wide(), values)
    assert kept.small.nbytes + kept.places.nbytes + kept.large.nbytes < 0.6 * values.nbytes


@pytest.mark.parametrize(
    "values",
    [
        np.full((10, 10), 300, np.int16),  # too few to pack
        np.full((300, 300), 300, np.int16),  # many large levels
        np.full((300, 300), 3, np.int8),  # already int8
    ],
)
def test_levels_are_not_packed_if_it_does_not_help(values):
    assert pack(values) is None
    one = Quantised(values, 0)
    assert one.packed() is one.narrowed()


def test_a_draft_packs_levels_and_keeps_the_weight():
    levels = np.random.default_rng(0).integers(-100, 100, (256, 300)).astype(np.int32)
    levels[3, 4], levels[255, 299] = 40000, -200
    row = np.arange(-128, 128).astype(np.int8)
    col = (np.arange(300) % 7).astype(np.int8)
    made = Quantised(levels, -40, row, col)
    draft = Draft(nn.Linear(300, 256, bias=False))
    draft.set("weight", made)
    kept = draft.quantised["weight"]
    assert isinstance(kept._levels, Packed)
    assert np.array_equal(kept.levels, levels)
    again = kept.dense(draft.network.weight.detach())
    assert torch.equal(again, made.dense(again))
    assert torch.equal(draft.network.weight, again)
    draft.set("weight", kept)  # as when a change is reverted
    assert draft.quantised["weight"] is kept


def test_a_working_copy_is_emptied_while_its_file_is_encoded():
    network = nn.ModuleDict(
        {"large": nn.Linear(200, 200), "small": nn.Linear(3, 3), "tied": nn.Linear(200, 200)}
    )
    network["tied"].weight = network["large"].weight
    network.part = nn.Parameter(torch.ones(200, 200)[:150])  # a view of a larger storage
    before, kept = sizes(network), network.part.detach().clone()
    names = ["large.weight", "large.bias", "tied.weight", "part", "nothing"]

    def fails():
        with emptied(network, names):
            assert sizes(network) == {**before, "large.weight": 0, "tied.weight": 0}
            raise SzilardError("no file; try again")

    with pytest.raises(SzilardError):
        fails()
    assert sizes(network) == before
    assert torch.equal(network.part, kept)


def test_scripted_networks_are_not_emptied():
    network = torch.jit.script(nn.Sequential(nn.Linear(200, 200)))
    with emptied(network, ["0.weight"]):
        assert sizes(network)["0.weight"] == 160000


class Tied(nn.Module):
    """An embedding tied to the output layer, and a layer with weight norm."""

    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(500, 64)
        self.l = parametrizations.weight_norm(nn.Linear(64, 300))
        self.o = nn.Linear(300, 64)
        self.e.weight.requires_grad_(False)

    def forward(self, x):
        return self.o(torch.tanh(self.l(self.e(x).mean(1)))) @ self.e.weight.T


@pytest.mark.parametrize(
    "make", [Tied, lambda: nn.Sequential(nn.Embedding(600, 64), nn.GRU(64, 80, batch_first=True))]
)
def test_the_working_copy_equals_the_file_after_every_attempt(make, monkeypatch):
    """Every attempt overwrites the working copy; the original is unchanged."""
    seen = []
    real = copies.fill

    def fill(network, data):
        real(network, data)
        wanted = file.to_state_dict(file.loads(data))
        state = network.state_dict()
        assert list(state) == list(wanted)
        assert all(torch.equal(state[name], wanted[name]) for name in wanted)
        seen.append(len(data))

    monkeypatch.setattr("szilard.compression.job.fill", fill)
    monkeypatch.setattr("szilard.compression.job.BYTES_TRIALS", 2)
    monkeypatch.setattr("szilard.compression.job.BITS", (8,))
    torch.manual_seed(0)
    network = make().eval()
    original = {name: t.clone() for name, t in network.state_dict().items()}
    x = torch.randint(0, 500, (64, 5), generator=torch.Generator().manual_seed(1))
    forward = None if isinstance(network, Tied) else (lambda net, given: net(given)[0].mean(1))
    made = szilard.compress(
        network,
        x,
        max_bytes=90000,
        forward=forward,
        task="regression",
        evaluate=lambda net: 1.0,
        progress=False,
    )
    assert len(seen) >= 3
    wanted = file.to_state_dict(file.loads(made.data))
    assert all(torch.equal(made.network.state_dict()[name], t) for name, t in wanted.items())
    assert all(torch.equal(network.state_dict()[name], t) for name, t in original.items())


def test_a_failed_attempt_leaves_no_wrong_network(monkeypatch):
    """The working copy holds the failed attempt, so the earlier network is loaded from its file again."""
    network = nn.Sequential(nn.Linear(100, 200), nn.Tanh(), nn.Linear(200, 3)).eval()
    x = normal(64, 100)
    job = Job(
        network, [x], szilard.compression.default_passes(refit=False), 0, {}, None, 1e-6, lambda text: None
    )
    made = job.attempt(1e-9, job.passes)
    wanted = file.to_state_dict(file.loads(made.data))

    def no_file(document):
        raise SzilardError("no file; try again")

    monkeypatch.setattr("szilard.file.encode", no_file)
    with pytest.raises(SzilardError):
        job.attempt(1e-4, job.passes)
    found = job.network(made).state_dict()
    assert all(torch.equal(found[name], t) for name, t in wanted.items())


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((90, 32, 700), 2),
        ((33, 200, 57), 1),
        ((513, 2500), 1),
        ((8, 130, 40, 40), 1),
        ((20, 48, 5, 6, 7), 1),
        ((3, 0), 1),
    ],
)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_means_by_channel_are_bit_identical(shape, axis, kind):
    output = normal(*shape).to(kind)
    others = [d for d in range(len(shape)) if d != axis]
    assert torch.equal(mean_by_channel(output, others, axis), output.double().mean(others))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(0, 99))
def test_solving_in_place_is_bit_identical(groups, n, m, symmetric, seed):
    root = normal(groups, n, n, seed=seed).double()
    matrices = root @ root.mT + torch.eye(n) if symmetric else root + 3 * torch.eye(n)
    matrices = (matrices + matrices.mT) / 2 if symmetric else matrices
    wanted = normal(groups, n, m, seed=seed + 1).double()
    found = refit._solved(matrices.clone(), wanted)
    assert torch.equal(found, torch.linalg.solve(matrices, wanted))


def test_updating_columns_in_parts_gives_the_same_levels(monkeypatch):
    weight, root = normal(150, 130), normal(130, 130, seed=1).double()
    curvature = Curvature((root @ root.T / 130)[None], normal(150, seed=2).double().square(), torch.ones(150))
    levels = [sequential_rounding.quantise(weight, curvature.inputs, curvature.outputs, 1e-4).levels]
    monkeypatch.setattr(sequential_rounding, "SOME", 64)
    levels.append(sequential_rounding.quantise(weight, curvature.inputs, curvature.outputs, 1e-4).levels)
    assert levels[0].any()
    assert np.array_equal(*levels)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_fitting_releases_its_tensors(groups):
    patches, wanted, matrix = normal(groups, 40, 6), normal(40, 4, seed=1), normal(4, 6, seed=2)
    fitting = Fitting(patches.clone(), wanted.clone(), 30)
    known, unseen = fitting.samples(groups, matrix)
    assert fitting.patches.numel() == fitting.wanted.numel() == 0
    rows = wanted.reshape(40, groups, -1).transpose(0, 1)
    missing = rows - patches @ matrix.reshape(groups, -1, 6).transpose(1, 2)
    for sample, part in ((known, slice(0, 30)), (unseen, slice(30, 40))):
        torch.testing.assert_close(sample.x, patches[:, part] - patches[:, part].mean(1, keepdim=True))
        torch.testing.assert_close(sample.missing, missing[:, part] - missing[:, part].mean(1, keepdim=True))


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("cols", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_matrix_divided_by_factors_is_computed_in_parts(rows, cols, kind):
    weight = normal(70, 30).to(kind)
    left = 2.0 ** (torch.arange(70).double() / 8 - 4) if rows else None
    right = 2.0 ** (torch.arange(30).double() / 8 - 2) if cols else None
    wanted = weight if left is None else weight / left[:, None].to(kind)
    wanted = wanted if right is None else wanted / right.to(kind)
    divided = scaled.Divided(weight, left, right)
    assert (divided.shape, len(divided)) == (wanted.shape, 70)
    assert torch.equal(
        torch.cat([divided[part] for part in (slice(0, 20), slice(20, 69), slice(69, 70))]), wanted
    )


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), -300.0])
@pytest.mark.parametrize("place", [(0, 0), (69, 29)])
def test_the_finest_step_is_determined_by_the_largest_entry(odd, place, monkeypatch):
    weight = normal(70, 30)
    if odd is not None:
        weight[place] = odd
    monkeypatch.setattr(sequential_rounding, "MANY", 64)
    largest = float(weight.abs().amax())
    found = sequential_rounding.finest(weight)
    if largest < float("inf"):  # false for NaN as well
        assert largest / 2 ** (found / 16) <= LARGEST / 8 < largest / 2 ** ((found - 1) / 16) * 1.0001
    else:
        assert (
            found
            == sequential_rounding.finest(torch.zeros(2, 2))
            == sequential_rounding.finest(torch.zeros(0, 2))
        )
