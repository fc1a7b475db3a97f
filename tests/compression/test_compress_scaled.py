"""Scale factors of rows and columns, exponents of G, and rounding by row as a candidate."""

import copy
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import szilard
from szilard import file
from szilard.compression import Quantise, scaled, sequential_rounding
from szilard.compression.document import to_document
from szilard.compression.draft import Draft, Setting
from szilard.compression.hooked import Curvature
from szilard.compression.no_data import LOSS, RELATIVE, SAFE, without_data
from szilard.compression.no_data_comparison import relative_difference
from szilard.compression.row_exponents import exponents
from szilard.compression.row_rounding import by_row
from szilard.compression.scaled import PLAIN, Scaling
from szilard.errors import SzilardError, SzilardWarning


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def curvature(rows: int, cols: int, *, spread: float = 0.0, full: bool = True, seed: int = 0) -> Curvature:
    """A curvature of random inputs; that of rows and columns varies log-normally by ``spread``."""
    x = normal(4 * cols, cols, seed=seed) * (spread / 2 * normal(cols, seed=seed + 1)).exp()
    a = (x.T @ x / len(x)).double()
    g = (spread * normal(rows, seed=seed + 2)).exp().double()
    return Curvature(a[None] if full else a.diagonal()[None].clone(), g, g)


@pytest.mark.parametrize("full", [True, False])
def test_without_factors_the_levels_are_those_of_sequential_rounding(full: bool) -> None:
    known = curvature(8, 12, spread=1.0, full=full)
    weight = normal(8, 12, seed=9)
    made = scaled.quantise(weight, known, 1e-3, sequential_rounding.inverse_roots(known.inputs), PLAIN)
    other = sequential_rounding.quantise(weight, known.inputs, known.outputs, 1e-3)
    assert made.step == other.step
    assert (made.levels == other.levels).all()
    assert made.row is None
    assert made.col is None


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_a_small_lambda_reproduces_the_weight(
    rows: int, cols: int, by_rows: bool, by_cols: bool, full: bool, seed: int
) -> None:
    """At a small λ the error is small, and the file gives the tensor of the draft."""
    known = curvature(rows, cols, spread=2.0, full=full, seed=seed)
    weight = normal(rows, cols, seed=seed)
    made = scaled.quantise(
        weight, known, 1e-9, sequential_rounding.inverse_roots(known.inputs), Scaling(by_rows, by_cols)
    )
    assert torch.allclose(made.dense(weight), weight, atol=0.02 * float(weight.abs().max()))
    network = nn.Linear(cols, rows, bias=False)
    draft = Draft(network)
    draft.set("weight", made)
    back = file.to_state_dict(file.loads(file.encode(to_document(draft, {}))[0]))["weight"]
    assert torch.allclose(back, network.weight.detach(), rtol=1e-5, atol=0)


def test_factors_are_used_only_if_curvatures_differ() -> None:
    lam = 1e-5
    for spread, expected in ((0.0, False), (2.0, True)):
        known = curvature(64, 64, spread=spread)
        weight, roots = normal(64, 64, seed=5), sequential_rounding.inverse_roots(known.inputs)
        scaling = scaled.best_scaling(weight, known, lam, roots)
        assert (scaling != PLAIN) == expected
        costs = []
        for one in (PLAIN, scaling):
            made = scaled.quantise(weight, known, lam, roots, one)
            bits = scaled.rate(made.levels) + scaled.side(made.row) + scaled.side(made.col)
            costs.append(scaled.predicted(weight, made, known) + lam * bits)
        assert costs[1] <= costs[0]
        if expected:
            assert costs[1] < 0.85 * costs[0]


def test_predicted_is_the_loss_of_a_linear_map() -> None:
    x, weight = normal(50, 6), normal(4, 6, seed=1)
    g = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    known = Curvature((x.T @ x / 50).double()[None], g, g)
    made = sequential_rounding.nearest(weight, -16)
    error = x.double() @ (made.dense(weight.double()) - weight.double()).T
    assert scaled.predicted(weight, made, known) == pytest.approx(
        float((error.square().mean(0) * g).sum() / 2), rel=1e-5
    )


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9), st.sampled_from([0.0, 0.5, 1.0]))
def test_flattening_keeps_the_mean(values: list[float], exponent: float) -> None:
    g = torch.tensor(values, dtype=torch.float64)
    flat = scaled.flattened(g, exponent)
    assert float(flat.mean()) == pytest.approx(float(g.mean()), rel=1e-9)
    if exponent == 0:
        assert torch.allclose(flat, flat[0].expand_as(flat))


@pytest.mark.parametrize("correct", [True, False])
def test_wrong_curvature_of_rows_is_corrected_by_the_exponent(correct: bool) -> None:
    """One layer whose outputs have the curvature G. G is correct, or wrongly nearly zero for half of the rows."""
    network = nn.Linear(16, 32, bias=False).eval()
    with torch.no_grad():
        network.weight.copy_(normal(32, 16))
    share = torch.ones(32)
    share[::2] = 0.1 if correct else 1e-3

    def forward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return net(x) * (share if correct else 1.0)

    x = normal(128, 16, seed=3)
    a = (x.T @ x / len(x)).double()[None]
    g = share.square().double()
    known = {"weight": Curvature(a, g, g)}
    setting = Setting(
        1e-2, list(x.split(64)), network, forward=forward, likelihood=szilard.likelihood.Gaussian()
    )
    before = network.weight.detach().clone()
    draft = Draft(network)

    def rounded(name: str, matrix: torch.Tensor, scaling: Scaling) -> sequential_rounding.Quantised:
        return scaled.quantise(matrix, known[name], 1e-2, sequential_rounding.inverse_roots(a), scaling)

    found = exponents(draft, setting, known, ["weight"], {"weight": Scaling(rows=True)}, rounded)["weight"]
    assert torch.equal(before, network.weight)
    if correct:
        assert found.exponent == 1
    else:
        assert found.exponent < 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from([4, 6, 8]), st.integers(0, 99))
def test_rounding_by_row(rows: int, cols: int, bits: int, seed: int) -> None:
    weight = normal(rows, cols, seed=seed) * 10.0 ** normal(rows, 1, seed=seed + 1)
    made = by_row(weight, bits)
    top = 2 ** (bits - 1) - 1
    assert abs(made.levels).max() <= top
    steps, most = made.steps(), weight.double().abs().amax(1)
    assert bool(((made.dense(weight.double()) - weight.double()).abs().amax(1) <= 0.5 * steps * 1.001).all())
    # At most one grid point above the exact scale.
    fine = most > 2.0**-14 * most.max()
    assert bool((steps <= most / top * 2 ** (1 / 8 + 1 / 16) * 1.001)[fine].all())


def test_rounding_by_row_of_nothing_but_zeros() -> None:
    assert not by_row(torch.zeros(3, 4), 8).levels.any()


def test_rounding_by_row_is_used_if_the_curvature_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The given curvature is nearly zero for all rows but one, so that rounding by it removes those rows."""
    monkeypatch.setattr("szilard.compression.search.FARTHEST", 6.0)
    network = nn.Sequential(nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 24)).eval()
    with torch.no_grad():
        for number, p in enumerate(network.parameters()):
            p.copy_(normal(*p.shape, seed=number))
    x = normal(300, 24, seed=8)
    g = torch.full((24,), 1e-12, dtype=torch.float64)
    g[0] = 1.0
    wrong = Curvature(torch.eye(24, dtype=torch.float64)[None], g, g)
    quantise = Quantise(curvature={"0.weight": wrong, "2.weight": wrong})
    with pytest.warns(SzilardWarning, match="rounding each row to"):
        made = szilard.compress(network, x, max_drop=0.02, passes=[quantise], task="regression", confidence=0)
    assert any("rounding each row to" in note for note in made.notes)
    assert made.drop is not None
    assert made.drop <= 0.02


@pytest.mark.parametrize("rows", [1, 20])
def test_without_data_the_noise_is_that_of_eight_bits(rows: int) -> None:
    """At the default λ of a network with only this tensor."""
    weight = normal(rows, 40) * torch.linspace(0.5, 2, rows)[:, None]
    inputs, outputs = without_data(weight, 1.0)
    lam = 2 * math.log(2) * LOSS / weight.numel()
    known = Curvature(inputs, outputs, outputs)
    made = scaled.quantise(weight, known, lam, sequential_rounding.inverse_roots(inputs), Scaling(rows=True))
    noise = float((made.dense(weight) - weight).square().sum())
    eight = float((weight.abs().amax(1) / (2 ** (SAFE - 1) - 1)).square().sum() * 40 / 12)
    assert noise < 1.3 * min(eight, RELATIVE**2 * float(weight.square().sum()) / 12)
    assert noise > 0.5 * min(eight, RELATIVE**2 * float(weight.square().sum()) / 12)


def test_without_data_a_note_states_the_difference_of_outputs() -> None:
    network = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # eight bits are close enough
        made = szilard.compress(network)
    note = next(note for note in made.notes if "random inputs" in note)
    share = relative_difference(network, made.network, lambda net, x: net(x))
    assert share is not None
    assert share < 0.05
    assert f"{100 * share:.2g} %" in note
    with pytest.warns(SzilardWarning, match="outputs on random inputs differ"):
        szilard.compress(copy.deepcopy(network), lam=1e-1)


def test_unknown_input_shapes_are_warned_about() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.dim() != 5:
                raise SzilardError("five dimensions are wanted")
            return self.inner(x)

    with pytest.warns(SzilardWarning, match="no random inputs are known"):
        made = szilard.compress(Odd())
    assert len(made.data) > 0
