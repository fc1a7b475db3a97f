"""Patterns with fixed numbers of entries in groups: n of m columns, and the same fan-in of every row."""

from __future__ import annotations

import itertools
import math
import tomllib

import pytest
import torch
from cli_tools import szilard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import bayes, methods
from szilard.errors import SzilardError
from szilard.sparse import FanIn, NOfM, Support, budgets, make_pattern
from szilard.topology import GrowthGradient, RandomGrowth, drop_and_grow
from szilard.topology import gradient as growth_module

n_of_m = st.tuples(st.integers(1, 9), st.integers(2, 10)).filter(lambda sides: sides[0] < sides[1])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def grown_by(dense):
    growth = GrowthGradient(None)
    growth.total = dense.clone()  # as it is: add_gradient leaves out what is not finite
    return growth


def random_gradient(support, g):
    return grown_by(torch.randn(support.rows, support.cols, generator=g))


def row_counts(support):
    return support.mask().flatten(1).sum(1).tolist()


def group_counts(support, m):
    return support.mask().flatten().view(-1, m).sum(1).tolist()


# -- exactness ----------------------------------------------------------------------------------------------


@given(n_of_m, st.integers(1, 7), st.integers(1, 5), st.floats(0, 1), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_n_of_m_is_exact_after_moves(sides, rows, groups, fraction, at_random, seed):
    n, m = sides
    g = generator(seed)
    support = Support.random((rows, groups * m), rows * groups * n, g, f"{n}:{m}")
    for step in range(5):
        before = support.mask()
        growth = RandomGrowth(seed + step) if at_random else random_gradient(support, g)
        move = drop_and_grow(support, torch.rand(support.nnz, generator=g), growth, fraction)
        assert set(group_counts(support, m)) == {n}
        assert move.dropped == int((before & ~support.mask()).sum()) <= fraction * support.nnz + 1e-6


@given(
    st.integers(1, 9), st.integers(1, 9), st.floats(0.05, 1), st.floats(0, 1), st.booleans(), st.integers(0, 99)
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_fan_in_is_constant_after_moves(rows, cols, density, fraction, at_random, seed):
    g = generator(seed)
    budget = max(1, round(density * rows * cols))
    support = Support.random((rows, cols), budget, g, "fan-in")
    assert abs(support.nnz - budget) <= rows / 2
    expected = row_counts(support)
    assert len(set(expected) - {0}) == 1
    assert 0 not in expected or max(expected) == 1  # rows are only left out if one entry each is too much
    for step in range(5):
        growth = RandomGrowth(seed + step) if at_random else random_gradient(support, g)
        drop_and_grow(support, torch.rand(support.nnz, generator=g), growth, fraction)
        assert row_counts(support) == expected


@given(st.integers(1, 12), st.integers(1, 9), st.floats(0.05, 1), st.floats(0.01, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_ablation_keeps_the_number_of_entries(rows, cols, density, ablation, seed):
    g = generator(seed)
    pattern = FanIn(ablation=round(ablation, 3))
    support = Support.random((rows, cols), max(1, round(density * rows * cols)), g, pattern)
    entries = support.nnz
    for step in range(5):
        growth = RandomGrowth(seed + step) if step % 2 else random_gradient(support, g)
        drop_and_grow(support, torch.rand(entries, generator=g), growth, 0.5)
        assert sum(row_counts(support)) == entries
        assert len(set(row_counts(support)) - {0}) == 1
        assert support.existing_rows == sum(count > 0 for count in row_counts(support))


@pytest.mark.parametrize("pattern", ["2:4", "1:8", "fan-in", "fan-in:0.5"])
@pytest.mark.parametrize("at_random", [True, False])
def test_a_hundred_moves(pattern, at_random):
    g = generator(3)
    support = Support.random((24, 4, 2, 2), 24 * (2 if pattern == "1:8" else 8), g, pattern)
    entries, first = support.nnz, support.flat()
    for step in range(100):
        growth = RandomGrowth(step) if at_random else random_gradient(support, g)
        drop_and_grow(support, torch.rand(entries, generator=g), growth, 0.3)
    support.check()
    assert support.nnz == entries
    assert not torch.equal(support.flat(), first)
    if ":" in pattern and "fan" not in pattern:
        assert set(group_counts(support, int(pattern[2:]))) == {int(pattern[0])}
    else:
        assert len(set(row_counts(support)) - {0}) == 1


# -- moves with a known answer ------------------------------------------------------------------------------


def flat(*rows):
    return torch.tensor(rows).flatten().nonzero().flatten()


def test_a_move_of_two_of_four(monkeypatch):
    monkeypatch.setattr(growth_module, "BLOCK", 4)  # one row of the gradient at a time
    support = Support.from_flat((2, 4), flat([1, 1, 0, 0], [0, 1, 0, 1]), "2:4")
    # The two lowest scores go: both entries of the second row. That row gets two entries back, of gradients 9 and 5:
    # one of those that went, and a new one.
    score = torch.tensor([4.0, 3.0, 1.0, 2.0])
    gradient = torch.tensor([[0.0, 0.0, 7.0, 8.0], [5.0, 9.0, -4.0, 1.0]])
    move = drop_and_grow(support, score, grown_by(gradient), 0.5)
    assert torch.equal(support.flat(), flat([1, 1, 0, 0], [1, 1, 0, 0]))
    assert move.source.tolist() == [0, 1, -1, 2]


def test_a_move_of_a_constant_fan_in():
    support = Support.from_flat((3, 4), flat([1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]), "fan-in")
    # Of six entries the two of score 1 go, one each of the rows 0 and 2.
    score = torch.tensor([5.0, 1.0, 3.0, 4.0, 1.0, 2.0])
    gradient = torch.tensor([[9.0, 0.0, 1.0, -2.0], [8.0, 8.0, 8.0, 8.0], [1.0, 3.0, 2.0, 7.0]])
    move = drop_and_grow(support, score, grown_by(gradient), 0.34)
    assert torch.equal(support.flat(), flat([1, 0, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1]))
    assert move.source.tolist() == [0, -1, 2, 3, -1, 5]


def test_a_move_with_ablation():
    """Four rows of two entries; half of the entries stay."""
    mask = flat([1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0])
    score = torch.tensor([9.0, 8.0, 1.0, 1.0, 7.0, 6.0, 2.0, 3.0])
    gradient = torch.zeros(4, 6)
    gradient[0, 2:5] = torch.tensor([5.0, 4.0, 3.0])
    gradient[2, 5] = -2.0
    gradient[2, 4] = 1.0
    gradient[1, 0] = 0.5
    # Salient are rows 0 (2 entries and 3 grown) and 2 (2 and 1): two rows of four entries remain, and row 2 takes its
    # two largest gradients.
    support = Support.from_flat((4, 6), mask, FanIn(0.5))
    move = drop_and_grow(support, score, grown_by(gradient), 0.5)
    expected = flat([1, 1, 1, 1, 0, 0], [0] * 6, [1, 1, 0, 0, 1, 1], [0] * 6)
    assert torch.equal(support.flat(), expected)
    assert move.source.tolist() == [0, 1, -1, -1, 4, 5, -1, -1]
    assert support.fan_in == 4
    # The last layer keeps all rows.
    last = Support.from_flat((4, 6), mask, FanIn(0.5, last=True))
    drop_and_grow(last, score, grown_by(gradient), 0.5)
    assert row_counts(last) == [2, 2, 2, 2]
    # A row that is gone comes back where its gradients are the largest.
    gradient = torch.zeros(4, 6)
    gradient[3, :4] = 9.0
    drop_and_grow(support, torch.arange(8.0), grown_by(gradient), 0.5)
    assert row_counts(support) == [0, 0, 4, 4]


def test_the_strongest_entries_of_a_crowded_row_stay():
    """Two rows of six entries become three of four: of the six that stay in one row, the four largest scores remain."""
    mask = flat([1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0] * 6, [0] * 6)
    support = Support.from_flat((4, 6), mask, FanIn(0.5))
    score = torch.tensor([5.0, 9.0, 6.0, 8.0, 4.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    gradient = torch.zeros(4, 6)
    gradient[2, :3], gradient[3, 1:4] = 5.0, 5.0
    drop_and_grow(support, score, grown_by(gradient), 0.5)
    expected = flat([0, 1, 1, 1, 0, 1], [0] * 6, [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0])
    assert torch.equal(support.flat(), expected)


def test_invalid_gradients_keep_the_pattern():
    support = Support.from_flat((1, 4), flat([1, 1, 0, 0]), "2:4")
    gradient = torch.tensor([[math.nan, math.nan, math.inf, 1.0]])
    drop_and_grow(support, torch.tensor([1.0, 2.0]), grown_by(gradient), 0.5)
    assert torch.equal(support.flat(), flat([0, 1, 1, 0]))


# -- the first support --------------------------------------------------------------------------------------


def best_by_search(values, count):
    """The positions of ``count`` values with the largest sum of magnitudes, by trying all."""
    return max(
        itertools.combinations(range(len(values)), count),
        key=lambda chosen: sum(abs(values[i]) for i in chosen),
    )


@given(st.sampled_from([(1, 2), (2, 4), (1, 5), (5, 6)]), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_largest_n_of_m_equals_a_search(sides, seed):
    n, m = sides
    weight = torch.randn(3, 2 * m, generator=generator(seed))
    support = Support.largest(weight, 3 * 2 * n, f"{n}:{m}")
    expected = [best_by_search(group, n) for group in weight.view(-1, m).tolist()]
    found = support.mask().view(-1, m)
    assert [tuple(group.nonzero().flatten().tolist()) for group in found] == expected


@given(st.integers(1, 6), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_largest_fan_in_equals_a_search(fan_in, seed):
    weight = torch.randn(4, 3, 2, generator=generator(seed))
    support = Support.largest(weight, 4 * fan_in, "fan-in")
    expected = [best_by_search(row, fan_in) for row in weight.flatten(1).tolist()]
    found = support.mask().flatten(1)
    assert [tuple(row.nonzero().flatten().tolist()) for row in found] == expected


def test_fewer_entries_than_rows():
    weight = torch.tensor([[4.0, 4.0], [5.0, 0.0], [0.0, -9.0]])
    assert torch.equal(Support.largest(weight, 2, "fan-in").flat(), flat([0, 0], [1, 0], [0, 1]))
    assert row_counts(Support.random((3, 2), 2, generator(), "fan-in")).count(1) == 2


def test_ties_go_to_the_lowest_column():
    assert torch.equal(Support.largest(torch.ones(2, 4), 4, "2:4").flat(), flat([1, 1, 0, 0], [1, 1, 0, 0]))
    assert torch.equal(Support.largest(torch.ones(2, 3), 2, "fan-in").flat(), flat([1, 0, 0], [1, 0, 0]))


def test_random_entries_are_uniform():
    """Each of the 6 sets of two of four columns is drawn in one sixth of 2400 groups, within five standard errors."""
    support = Support.random((600, 16), 600 * 8, generator(1), "2:4")
    sets = (support.mask().view(-1, 4) * torch.tensor([1, 2, 4, 8])).sum(1)
    share = torch.bincount(sets, minlength=13)[[3, 5, 6, 9, 10, 12]] / 2400
    assert float((share - 1 / 6).abs().max()) < 5 * (5 / 36 / 2400) ** 0.5


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=4), st.floats(0.05, 1)
)
@settings(deadline=None, max_examples=40)
def test_fan_in_budgets_are_whole_and_near_the_total(shapes, density):
    plain = budgets([make_pattern("unstructured")] * len(shapes), shapes, density, "erk")
    found = budgets([FanIn()] * len(shapes), shapes, density, "erk")
    nearest = [n if n < rows else rows * round(n / rows) for (rows, _), n in zip(shapes, plain, strict=True)]
    assert abs(sum(found) - sum(plain)) <= abs(sum(nearest) - sum(plain))
    for (rows, cols), entries, wanted in zip(shapes, found, plain, strict=True):
        assert 0 < entries <= rows * cols
        assert entries % rows == 0 or entries == wanted < rows
        assert abs(entries - wanted) < rows
        assert Support.random((rows, cols), entries, generator(), "fan-in").nnz == entries


def test_fan_in_budgets_by_hand():
    """2.5 entries a row in two weights, and 1.6 in three: what one is given more, another is given less."""
    assert budgets([FanIn(), FanIn()], [(10, 10), (10, 10)], 0.25) == [30, 20]
    assert budgets([FanIn()] * 3, [(10, 16)] * 3, 0.1) == [10, 20, 20]  # of 48


# -- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("4:2", "needs 1 <= n < m <= 64, not 4:2; choose one such as 2:4"),
        ("0:4", "needs 1 <= n < m"),
        ("4:4", "needs 1 <= n < m"),
        ("2:65", "needs 1 <= n < m"),
        ("2:", "unknown pattern '2:': choose unstructured, neuron, fan-in, blocks .* such as 2:4"),
        ("2:4:8", "unknown pattern"),
        ("-2:4", "unknown pattern"),
        ("fan-in:", "unknown pattern"),
        ("fan-in:2", r"a share of its entries in \[0.01, 1\] to stay, not 2"),
        ("fan-in:0.001", "choose one such as fan-in:0.3"),
        ("fanin", "unknown pattern"),
    ],
)
def test_unknown_names_are_refused(name, match):
    with pytest.raises(SzilardError, match=match):
        make_pattern(name)


@pytest.mark.parametrize("name", ["2:4", "1:64", "fan-in", "fan-in:0.3"])
def test_a_name_is_that_of_its_pattern(name):
    assert make_pattern(name).name == name
    assert make_pattern(make_pattern(name)) == make_pattern(name)


@pytest.mark.parametrize(
    ("pattern", "wrong", "match"),
    [
        ("2:4", flat([1, 1, 1, 0], [1, 0, 0, 0]), "not every group of 4 columns has 2 entries"),
        ("2:4", flat([1, 1, 0, 0], [1, 0, 0, 0]), "not every group of 4 columns"),
        ("1:3", flat([1, 0, 0, 0], [1, 0, 0, 0]), "3 does not divide the 4 columns"),
        ("fan-in", flat([1, 1, 1, 0], [1, 0, 0, 0]), "rows differ in their numbers of entries"),
    ],
)
def test_entries_that_break_the_pattern_are_refused(pattern, wrong, match):
    with pytest.raises(SzilardError, match=match):
        Support.from_flat((2, 4), wrong, pattern)


def test_refused_entries_leave_a_support_as_it_was():
    support = Support.random((4, 8), 16, generator(), "2:4")
    before = support.flat()
    with pytest.raises(SzilardError, match="not every group"):
        support.replace(torch.arange(16))
    assert torch.equal(support.flat(), before)
    with pytest.raises(SzilardError, match="not every group"):
        support.load_state_dict(Support.from_flat((4, 8), torch.arange(16)).state_dict())
    assert torch.equal(support.flat(), before)


def test_shapes_and_budgets_that_do_not_fit_are_refused():
    with pytest.raises(
        SzilardError, match=r"shape \(3, 6\) cannot have the pattern 2:4: 4 does not divide the 6"
    ):
        Support.random((3, 6), 9, generator(), "2:4")
    with pytest.raises(
        SzilardError, match=r"keeps 12 entries of a weight of shape \(3, 8\), not 9; give density=0.5"
    ):
        Support.largest(torch.ones(3, 8), 9, "2:4")
    with pytest.raises(
        SzilardError,
        match=r"keeps 0\.5 of the entries of every weight, so density cannot be 0\.1; give density=0\.5$",
    ):
        budgets([NOfM(2, 4)], [(4, 8)], 0.1)
    assert budgets([NOfM(1, 3), NOfM(1, 3)], [(4, 3), (5, 6)], 0.333) == [4, 10]


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("ssvi", {"pattern": "2:4", "density": 0.05}, "density cannot be 0.05; give density=0.5$"),
        ("deterministic", {"pattern": "1:8", "density": 1.0}, "density cannot be 1; give density=0.125$"),
        ("rigl", {"pattern": "2:4", "allocation": "erk"}, "cannot be 'erk'; give allocation='uniform'$"),
        (
            "rigl",
            {"pattern": "2:4", "allocation": "global", "density": 0.1},
            "so density cannot be 0.1 and allocation cannot be 'global'; give density=0.5 and allocation='uniform'$",
        ),
        ("gradual", {"pattern": "2:4"}, "takes no pattern 2:4"),
    ],
)
def test_methods_refuse_a_density_that_does_not_fit(name, options, match):
    with pytest.raises(SzilardError, match=match):
        methods.make(name, 100, **options)


@pytest.mark.parametrize("name", ["ssvi", "deterministic", "rigl", "set", "srigl", "free-tickets"])
@pytest.mark.parametrize("given", [{}, {"density": 0.25}, {"allocation": "uniform"}])
def test_n_of_m_sets_density_and_allocation(name, given):
    method = methods.make(name, 100, pattern="1:4", **given)
    assert (method.density, method.allocation) == (0.25, "uniform")
    network = method.prepare(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)))
    found = bayes.density(network)
    assert found.existing * 4 == found.converted > 0


def test_a_run_of_n_of_m_records_what_it_sets(tmp_path):
    tiny = (
        "--data",
        "digits",
        "--n-train",
        40,
        "--network",
        "mlp:8",
        "--epochs",
        1,
        "--accelerator",
        "cpu",
        "--quiet",
    )
    typed = szilard(
        "fit", *tiny, "--method", "rigl", "--option", "pattern=2:4", "--no-baselines", "--out", tmp_path / "r"
    )
    assert typed.code == 0, typed.output
    found = tomllib.loads((tmp_path / "r" / "run.toml").read_text())["method"]["rigl"]
    assert (found["density"], found["allocation"]) == (0.5, "uniform")
    szilard(
        "fit", *tiny, "--method", "rigl", "--option", "pattern=2:4", "--density", 0.1, "--out", tmp_path / "s"
    ).refused("so density cannot be 0.1; give ")


def test_a_class_without_the_options_of_n_of_m_names_both_at_once():
    with pytest.raises(SzilardError, match=r"give density=0\.5 and allocation='uniform'$"):
        methods.RigL(100, pattern="2:4")


def test_a_layer_that_does_not_fit_is_named():
    network = nn.Sequential(nn.Linear(8, 30), nn.ReLU(), nn.Linear(30, 5))
    with pytest.raises(
        SzilardError, match=r"^layer '2' cannot have the pattern 2:4: 4 does not divide the 30 columns.*'2'"
    ):
        bayes.bayesianize(network, 0.5, pattern="2:4")
    found = bayes.weights(bayes.bayesianize(network, 0.5, pattern="2:4", except_="2"))
    assert {name: weight.support.nnz for name, weight in found.items()} == {"0": 120}


# -- networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "conv", "groups"])
@pytest.mark.parametrize("pattern", ["2:4", "fan-in"])
@pytest.mark.parametrize("kernels", ["torch", ""])
def test_products_and_their_gradients_equal_dense(kind, pattern, kernels, monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", kernels)
    torch.manual_seed(0)
    module = {
        "linear": nn.Linear(12, 9),
        "conv": nn.Conv2d(4, 6, (3, 2), padding=1, stride=2),
        "groups": nn.Conv2d(8, 6, 3, groups=2),
    }[kind]
    network = bayes.bayesianize(nn.Sequential(nn.Identity(), module), 0.5, pattern=pattern, dense_stem=False)
    weight = bayes.weights(network)["1"]
    x = torch.randn(
        {"linear": (5, 12), "conv": (3, 4, 7, 6), "groups": (3, 8, 5, 5)}[kind], requires_grad=True
    )
    with torch.no_grad():
        module.weight.copy_(weight.dense_mean())
    with bayes.mode(network, "mean"):
        y, expected = network(x), module(x)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    grad = torch.randn_like(y)
    ours = torch.autograd.grad(y, (x, weight.mean), grad)
    theirs = torch.autograd.grad(expected, (x, module.weight), grad)
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours[1], weight.support.gather(theirs[1]), atol=1e-4, rtol=1e-4)


def trained(name, steps, **options):
    method = methods.make(name, 64, every=4, growth_batches=1, total_steps=20, **options)
    torch.manual_seed(0)
    network = method.prepare(nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 4))).train()
    optimizer = method.optimizer(network)
    first = {key: weight.support.flat() for key, weight in bayes.weights(network).items()}
    g = generator(1)
    for _ in range(steps):
        x = torch.randn(16, 12, generator=g)
        method.loss(network, x, (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    return method, network, optimizer, first


@pytest.mark.parametrize("pattern", ["2:4", "fan-in", "fan-in:0.9"])
def test_training_keeps_the_pattern_and_a_checkpoint_fits(pattern):
    method, network, optimizer, first = trained("ssvi", 18, density=0.5, pattern=pattern)
    found = {key: weight.support for key, weight in bayes.weights(network).items()}
    assert any(not torch.equal(support.flat(), first[key]) for key, support in found.items())
    for key, support in found.items():
        support.check()
        assert support.pattern.name == pattern
        assert support.nnz == len(first[key]) == support.rows * support.cols // 2
    assert found["2"].existing_rows == 4  # outputs of the network stay
    again, other, other_optimizer, _ = trained("ssvi", 0, density=0.5, pattern=pattern)
    for ours, theirs in ((other, network), (again, method), (other_optimizer, optimizer)):
        ours.load_state_dict(theirs.state_dict())
    x = torch.randn(7, 12, generator=generator(5))
    assert torch.equal(method.predict(network, x, 3).mean, again.predict(other, x, 3).mean)


def test_ablation_removes_outputs_in_training():
    _, network, _, _ = trained("srigl", 18, density=0.3, pattern="fan-in:1")
    hidden = bayes.weights(network)["0"].support
    assert hidden.existing_rows < 20
    assert hidden.nnz % hidden.existing_rows == 0
