"""The report of ``compress`` agrees with the written file, for networks of every kind; false reports are detected."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odd_networks import ODD, Residual, Twice, settled
from torch import nn

import any_network
import szilard
from szilard.compression import CanonicalBatchNorm, Correct, Draft, Quantise, Setting, default_passes, shrink
from szilard.errors import SzilardError
from szilard.networks import copied, make_plain
from zoo.case import COMPRESS, JUDGE, TRAIN, Data, alike, judging, rows, score
from zoo.networks import ZOO
from zoo_compression import compress_cells, promise

SOME = (
    "MLP, BatchNorm1d",
    "bare parameters",
    "GRU",
    "EmbeddingBag",
    "MultiheadAttention",
    "weight norm",
    "prune",
    "a BatchNorm called twice",
    "a bias in two layers",
    "layers of unequal scales",
    "dead units",
    "one-hot labels",
    "several labels",
    "regression, six targets",
    "regression, without labels",
    "regression with noise",
    "unit vectors",
    "tuple of outputs",
    "float16",
    "float64",
    "odd names",
)
quiet = pytest.mark.filterwarnings("ignore::UserWarning")


# -- compress, save, load -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
@quiet
def test_a_loaded_file_agrees_with_the_report(name):
    case = dataclasses.replace(ZOO[name], train=40)
    data = case.data()
    options = {"lam": 2e-6, "passes": default_passes()}
    made = compress_cells.compressed(case, case.trained(data), data, options)
    assert made.lam == 2e-6


def test_every_network_of_the_zoo_runs():
    assert len(ZOO) >= 50
    for case in ZOO.values():
        data = case.data()
        assert len(data.y) >= TRAIN + COMPRESS + JUDGE
        if case.name != "Lazy module":
            few = rows(judging(data).x, slice(0, 3))
            assert len(compress_cells.answer(case.fresh(), few)) == 3


def test_shrink_refuses_a_network_without_shapes():
    with pytest.raises(SzilardError, match=r"0\.weight has no shape yet"):
        shrink(nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 2)))


@quiet
def test_shrink_leaves_a_network_with_random_outputs_unchanged():
    assert [cell.verdict for cell in compress_cells.cells(ZOO["random outputs"], ("shrink",))] == ["right"]


@pytest.mark.parametrize("name", ["random outputs", "NaN in a weight", "Lazy module"])
@quiet
def test_networks_that_cannot_be_compressed_are_refused_with_a_message(name):
    for cell in compress_cells.cells(ZOO[name], ("data", "no data")):
        assert cell.verdict == "refused"
        assert cell.message


# -- faults are detected ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlp():
    case = dataclasses.replace(ZOO["MLP"], train=40)
    data = case.data()
    return case, case.trained(data), data


FALSE_REPORTS = {
    "a score": lambda made: dataclasses.replace(made, score=made.score + 0.01),
    "the original's score": lambda made: dataclasses.replace(made, original_score=made.original_score + 0.01),
    "other outputs": lambda made: dataclasses.replace(made, network=nn.Sequential(made.network, nn.Tanh())),
}


@pytest.mark.parametrize("fault", FALSE_REPORTS)
def test_a_false_report_is_judged_wrong(mlp, fault, monkeypatch):
    true = szilard.compression.compress

    def false(network, *given, **options):
        return FALSE_REPORTS[fault](true(network, *given, lam=1e-6, passes=default_passes()))

    monkeypatch.setattr(compress_cells.szilard, "compress", false)
    assert compress_cells.cell(*mlp, "data").verdict == "wrong"


def test_a_modified_original_and_a_file_too_large_are_judged_wrong(mlp, monkeypatch):
    case, network, data = mlp
    true = szilard.compression.compress

    def careless(given, *rest, **options):
        made = true(given, *rest, lam=1e-9, passes=default_passes())
        if "max_bytes" not in options:
            with torch.no_grad():
                given[0].bias.add_(1)
        return made

    monkeypatch.setattr(compress_cells.szilard, "compress", careless)
    with pytest.raises(compress_cells.Wrong, match="10 were asked for"):
        compress_cells.compressed(case, network, data, {"max_bytes": 10})
    assert "was changed" in compress_cells.cell(case, copied(network), data, "data").message


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(SzilardError("one sentence"), "refused"), (SzilardError(" "), "wrong"), (KeyError("x"), "crashed")],
)
def test_the_verdict_on_an_exception(mlp, error, verdict, monkeypatch):
    def fails(*given, **options):
        raise error

    monkeypatch.setattr(compress_cells.szilard, "compress", fails)
    assert compress_cells.cell(*mlp, "data").verdict == verdict


def test_accepting_a_case_that_must_be_refused_is_judged_wrong(mlp):
    case, network, data = mlp
    assert (
        compress_cells.cell(dataclasses.replace(case, refusal=True), network, data, "no data").verdict
        == "wrong"
    )


def test_a_reported_error_may_be_off_by_a_factor_of_two():
    messages = ["outputs on random inputs differ by 6.1 % (relative)", "3 tensors keep their bytes"]
    assert compress_cells.admitted(0.12, messages)
    assert not compress_cells.admitted(0.13, messages)
    assert compress_cells.admitted(2.1, ["outputs on random inputs differ by 1.1e+02 % (relative)"])
    assert not compress_cells.admitted(0.12, ["judged on 100 % of them"])


def test_scores_have_known_values():
    y = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    data = Data(y, y, "regression")
    assert score(data, torch.tensor([[1.0, 0.0], [2.0, 4.0]]), y) == pytest.approx(0.75)
    labels = Data(y, torch.tensor([0, 1]), "class")
    assert score(labels, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), y) == 0.5
    vectors = Data(y, y, "embedding", given=False)
    assert score(vectors, torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])) == pytest.approx(2**-0.5)


def test_rows_and_keys_of_the_benchmark():
    cells = [
        compress_cells.Cell("a", "data", "right", "", 1234, 0.0).to_json(),
        compress_cells.Cell("a", "no data", "refused", "12 examples are too few").to_json(),
        compress_cells.Cell("b", "data", "refused", "7 examples are too few").to_json(),
        compress_cells.Cell("b", "no data", "wrong", "score").to_json(),
    ]
    found = any_network.figures({"zoo": cells})
    assert (found["cells"], found["right"], found["refused"], found["wrong"], found["crashed"]) == (
        4,
        1,
        2,
        1,
        0,
    )
    assert found["promise_kept_percent"] is None
    assert found["minilm_vs_rounding"] is None
    assert any_network.zoo_body(cells)[0][:3] == ["a", "1,234", "refused"]
    assert [row[1] for row in any_network.reasons(cells)] == ["2"]


def test_promises_are_checked_on_new_examples():
    rows = [
        {"task": "t", "promised": {"bytes": 110, "drop": 0.01}, "today": {"bytes": 100, "drop": 0.02}},
        {"task": "t", "promised": {"bytes": 130, "drop": 0.011}, "today": {"bytes": 100, "drop": 0.0}},
        {"task": "t", "promised": {"refused": "no"}, "today": {"bytes": 100, "drop": 0.0}},
    ]
    found = promise.figures(rows)
    assert found["promise_kept_percent"] == 50
    assert found["promise_cost_percent"] == 20
    assert found["promise_refused"] == 1
    assert all(len(line) == len(promise.COLUMNS) for line in promise.body(rows))


@pytest.mark.parametrize("task", promise.TASKS)
def test_splits_are_disjoint(task):
    if task != "mixture":
        pytest.importorskip("sklearn")
    found = promise.split(task, 3)
    parts = [{row.tobytes() for row in part[0].numpy()} for part in (found.train, found.judge, found.fresh)]
    assert not parts[2] & parts[1]
    assert not parts[2] & parts[0]


# -- random graphs ------------------------------------------------------------------------------------

WIDTH = 4


class Joined(nn.Module):
    """Two concatenated branches, and a layer that maps back to the width."""

    def __init__(self, a, b, back):
        super().__init__()
        self.a, self.b, self.back = a, b, back

    def forward(self, x):
        return self.back(torch.cat((self.a(x), self.b(x)), 1))


def layer(draw, dims):
    """A map of 4 channels to 4, for ``[B, 4]``, ``[B, 4, L]`` or ``[B, 4, S, S]``."""
    if dims == 2:
        return nn.Linear(WIDTH, WIDTH, bias=draw(st.booleans()))
    conv, transposed = {3: (nn.Conv1d, nn.ConvTranspose1d), 4: (nn.Conv2d, nn.ConvTranspose2d)}[dims]
    groups, bias = draw(st.sampled_from([1, 1, 2, 4])), draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        return transposed(WIDTH, WIDTH, 3, padding=1, groups=groups, bias=bias)
    mode = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    dilation = draw(st.sampled_from([1, 2]))
    return conv(
        WIDTH, WIDTH, 3, padding=dilation, dilation=dilation, groups=groups, padding_mode=mode, bias=bias
    )


def norm(draw, dims):
    made = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[dims]
    return draw(
        st.sampled_from(
            [
                made(WIDTH),
                made(WIDTH, affine=False),
                made(WIDTH, track_running_stats=False),
                nn.GroupNorm(2, WIDTH),
                nn.PReLU(WIDTH),
                nn.Identity(),
            ]
        )
    )


@st.composite
def graphs(draw):
    """Chains, residuals, concatenated branches, shared layers and norms, hooks, channels-last inputs."""
    torch.manual_seed(draw(st.integers(0, 99)))
    dims = draw(st.sampled_from([2, 3, 4]))
    x = torch.randn({2: (16, WIDTH), 3: (16, WIDTH, 6), 4: (16, WIDTH, 5, 5)}[dims])
    if dims == 4 and draw(st.booleans()):
        x = x.to(memory_format=torch.channels_last)
    blocks, known = [], []
    for _ in range(draw(st.integers(1, 3))):
        one = draw(st.sampled_from(known)) if known and draw(st.integers(0, 3)) == 0 else layer(draw, dims)
        if one not in known:
            if draw(st.booleans()):
                with torch.no_grad():
                    one.weight[draw(st.integers(0, 1)) :: 2] = 0
            if type(one) in (nn.Linear, nn.Conv2d) and draw(st.integers(0, 3)) == 0:
                one = ODD[draw(st.sampled_from(["hook", "pre-hook", "weight norm", "parametrisation"]))](one)
        between = draw(st.sampled_from(known)) if known and draw(st.integers(0, 5)) == 0 else norm(draw, dims)
        known += [one, between]
        body = nn.Sequential(one, between, draw(st.sampled_from([nn.ReLU(), nn.Tanh(), nn.Hardswish()])))
        how = draw(st.sampled_from(["chain", "chain", "residual", "twice", "joined"]))
        if how == "joined" and dims != 2:
            back = {3: nn.Conv1d, 4: nn.Conv2d}[dims](2 * WIDTH, WIDTH, 1)
            body = Joined(body, layer(draw, dims), back)
        blocks.append(
            {"residual": Residual, "twice": lambda b: Twice(b, nn.Identity())}.get(how, lambda b: b)(body)
        )
    tail = [nn.Flatten(), nn.Linear(x[0].numel(), 3)] if draw(st.booleans()) else []
    network = settled(nn.Sequential(*blocks, *tail), x)
    with torch.no_grad():
        output = network(x)
    assume(bool(output.isfinite().all()) and float((output - output.mean(0)).abs().max()) > 1e-3)
    return network, x


def gap(a, b, x):
    with torch.no_grad():
        difference, size = (a(x) - b(x)).abs().max(), b(x).abs().max()
        return float(difference if size == 0 else difference / size)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.booleans())
@quiet
def test_passes_that_keep_the_function_do_so_on_random_graphs(graph, data):
    network, x = graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draft = Draft(copied(network))
        CanonicalBatchNorm()(draft, Setting(1e-6, [x] if data else [], network))
        assert gap(draft.network, network, x) < 2e-5
        Correct()(draft, Setting(1e-6, [x], network))  # nothing was rounded, so there is nothing to correct
        assert gap(draft.network, network, x) < 2e-5
        assert gap(shrink(network, x if data else None), network, x) < 2e-5


@settings(max_examples=12, deadline=None)
@given(graphs())
@quiet
def test_files_of_random_graphs_agree_with_the_report(graph):
    network, x = graph
    assume(
        all(getattr(module, "track_running_stats", True) for module in network.modules())
    )  # otherwise the outputs depend on the whole batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passes = [CanonicalBatchNorm(), Quantise(), Correct()]
        try:
            made = szilard.compress(network, x, lam=1e-5, task="regression", passes=passes)
        except SzilardError:
            return
        other = copied(network)
        make_plain(other)
    other.load_state_dict(szilard.file.to_state_dict(szilard.file.loads(made.data)))
    assert gap(other, made.network, x) < 1e-6
    judged = x[12:]  # compress keeps back a quarter of so few examples
    with torch.no_grad():
        outputs, original = other(judged).double(), network(judged).double()
    axes = alike(original)
    scale = (original - original.mean(0)).square().mean(axes, keepdim=True).sqrt()
    size = original.square().mean(axes, keepdim=True).sqrt()
    # Outputs that hardly vary are judged relative to their size.
    scale = torch.maximum(scale, 1e-5 * size) if float(scale.max()) > 0 else size
    largest = float(scale.max())
    scale = torch.where(scale > 0, scale, 1e-4 * largest if largest > 0 else 1.0)
    found = float((1 - ((outputs - original) / scale).square().flatten(1).mean(1)).mean())
    assert made.score == pytest.approx(found, abs=1e-5)
