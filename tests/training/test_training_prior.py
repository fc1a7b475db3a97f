"""szilard.fit with a prior from a run: sources, controls, normalisation and resuming."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import pytest
import torch
from killed_run import killed_after
from torch import nn

import szilard
from szilard import SzilardError, SzilardWarning, bayes, methods, networks
from szilard.data import DataSet, Split, load
from szilard.file import SzilardFileError
from szilard.model import checkpoint
from szilard.model import prior as priors
from szilard.model.prior import of_run
from szilard.run.folder import MethodFolder
from szilard.training import prior_folds
from szilard.training.with_prior import prepared

pytestmark = pytest.mark.usefixtures("few_ways")
STEPS = {"batch_size": 5, "checkpoint_steps": 2}
SHAPE = {"epochs": 2, "samples": 2, "progress": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def few_ways():
    """Two folds of: the prior with 2 σ and no transfer, each at two temperatures, and fine-tuning at two rates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_folds, "FOLDS", 2)
        patch.setattr(prior_folds, "WIDEN", (2.0,))
        yield


def digits(n_train: int, seed: int = 0) -> DataSet:
    data = load("digits", n_train=n_train, seed=seed, ood="none")
    few = Split(
        data.test.x[:40], data.test.y[:40]
    )  # their intervals take most of the time of a short training
    return replace(data, test=few, valid=few)


def table(n: int = 24, shift: float = 0.0, scale: float = 1.0, outputs: int = 1) -> DataSet:
    """A regression y = x₀ + noise, with names of features."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3 * n, 2, generator=generator)
    y = x[:, 0] + 0.1 * torch.randn(3 * n, generator=generator)
    y = y if outputs == 1 else y[:, None].repeat(1, outputs)
    parts = [Split(x[k * n : (k + 1) * n], y[k * n : (k + 1) * n]) for k in range(3)]
    return DataSet(
        "table", "regression", *parts, None, None, (), torch.full((2,), shift).double(), torch.ones(2).double(),
        target_shift=shift, target_scale=scale, feature_names=("a", "b"),
        targets=tuple(f"y{i}" for i in range(outputs)) if outputs > 1 else (),
    )  # fmt: skip


def run_of(method: str, out, data: DataSet, spec: str = "mlp:6", **options) -> MethodFolder:
    made = methods.make(method, len(data.train), **options)
    szilard.fit(made, spec, data, out=out, **SHAPE)
    return MethodFolder(out / method)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The folder of a run of SSVI on 100 digits."""
    out = tmp_path_factory.mktemp("source")
    return run_of("ssvi", out, digits(100), density=0.3).path


def few(prior, out=None, data=None, spec="mlp:6", **more):
    data = digits(20, seed=1) if data is None else data
    method = more.pop("method", None) or methods.SSVI(len(data.train), density=0.3, every=3)
    return szilard.fit(method, spec, data, prior=prior, out=out, **(SHAPE | more))


@pytest.fixture(scope="module")
def whole(source, few_ways, tmp_path_factory):
    """An uninterrupted run, and its folder. Folds have two steps an epoch, the run four."""
    out = tmp_path_factory.mktemp("whole")
    return few(source, out, **STEPS), out


def assert_same(one, two):
    for name in ("ssvi", "fan-in/ssvi", "fine-tuning/deterministic"):
        states = [checkpoint.load(out / name / "network.pt", "network")["state_dict"] for out in (one, two)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert (one / "ssvi" / "folds.jsonl").read_text() == (two / "ssvi" / "folds.jsonl").read_text()


def test_the_run_has_controls_and_says_what_folds_chose(source, whole):
    run, out = whole
    assert set(run.controls) == {"fan-in", "fine-tuning"}
    assert run.controls["fine-tuning"].method == "deterministic"
    assert len(run.choice.nll) == 6
    assert all(math.isfinite(value) for value in run.choice.nll.values())
    told = MethodFolder(out / "ssvi").read_result()["prior"]
    assert told["chosen"] == run.choice.best.name
    assert told["nll"] == pytest.approx(run.choice.nll)
    assert told["source"] == "ssvi on unknown data"  # a DataSet that was given as an object
    for name, control in (("fan-in", "ssvi"), ("fine-tuning", "deterministic")):
        assert MethodFolder(out / name / control).read_result()["test"] == run.controls[name].test
    state = checkpoint.load(out / "ssvi" / "checkpoint.pt", "checkpoint")
    kept = priors.load(out / "prior.pt")
    assert state["made_by"]["prior"] == kept.hash
    assert kept.content == priors.read(source).content  # the same source gives the same bytes


def test_the_network_starts_at_the_source_with_its_normalisation(source):
    found = priors.read(source)
    data = digits(20, seed=1)
    matched, notes = priors.matched(found, data)
    assert not notes
    assert torch.equal(matched.shift, found.about.shift)
    torch.testing.assert_close(matched.raw(matched.test.x), data.raw(data.test.x))
    method = methods.SSVI(20, density=0.3)
    made, unknown = prepared(found, method, networks.build("mlp:6", data.input_shape, 10), data, 2.0)
    assert unknown == []
    saved = szilard.model.saved_network.load(source / "network.pt").network
    for name, tensor in saved.state_dict().items():  # support, means, σ and biases
        torch.testing.assert_close(made.state_dict()[name], tensor)
    n = sum(weight.support.nnz for weight in bayes.weights(made).values())
    assert float(bayes.kl(made)) == pytest.approx(n * (math.log(2) + 0.125 - 0.5), rel=1e-3)


@pytest.mark.parametrize(
    ("method", "options"),
    [("mean-field", {}), ("deterministic", {}), ("free-tickets", {"density": 0.3, "members": 2})],
)
def test_priors_from_gaussians_points_and_draws(method, options, tmp_path):
    folder = run_of(method, tmp_path, digits(60), **options)
    found = priors.read(folder.path)
    saved = szilard.model.saved_network.load(folder.network)
    values = found.weights
    assert values.keys() == {"1", "3"}
    if method == "mean-field":
        assert all(
            torch.equal(values[name].mean, w.dense_mean()) for name, w in bayes.weights(saved.network).items()
        )
    elif method == "deterministic":
        weight = dict(saved.network.named_parameters())["1.weight"].detach()
        assert torch.equal(values["1"].mean, weight)
        sigma = of_run.POINT * weight.square().mean().sqrt()
        torch.testing.assert_close(values["1"].log_std.exp(), sigma.expand_as(weight))
    else:
        members = [bayes.weights(member)["1"] for member in saved.network.in_use()]
        assert len(members) == 2
        stack = torch.stack([member.dense_mean() for member in members])
        known = torch.stack([member.support.mask() for member in members]).any(0)
        torch.testing.assert_close(values["1"].mean, stack.mean(0))
        assert torch.equal(values["1"].known, known)
        assert bool((values["1"].log_std.exp() >= stack.std(0)).all())
    made = bayes.bayesianize(nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10)))
    assert bayes.set_source_prior(made, values) == []


def test_a_regression_takes_units_of_inputs_and_targets(tmp_path):
    folder = run_of("mean-field", tmp_path, table())
    data = table(shift=2.0, scale=3.0)
    matched, _ = priors.matched(priors.read(folder.path), data)
    assert (matched.target_shift, matched.target_scale) == (0.0, 1.0)
    torch.testing.assert_close(matched.train.y, data.train.y * 3 + 2)
    torch.testing.assert_close(matched.train.x, data.train.x + 2)
    assert not any("in units in which" in note for note in priors.matched(priors.read(folder.path), data)[1])
    (note,) = priors.matched(priors.read(folder.path), table(shift=50.0, scale=0.1))[1]
    assert "targets of table have a mean of up to 50" in note
    assert "compare with a run without the prior" in note
    run = few(folder.path, data=data, method=methods.MeanField(len(data.train)))
    assert run.choice.best.lr is None
    assert math.isfinite(run.test["nll"])


def test_features_are_found_by_name(tmp_path):
    found = priors.read(run_of("mean-field", tmp_path, table()).path)
    data = table()
    swapped = data.reordered(("b", "a"))
    assert torch.equal(priors.matched(found, swapped)[0].train.x, data.train.x)
    with pytest.raises(SzilardError, match="is for the features a, b, and table has a, c"):
        priors.matched(found, replace(data, feature_names=("a", "c")))
    with pytest.raises(SzilardError, match="predicts 1 quantities, and table has 2"):
        priors.matched(found, table(outputs=2))


def test_layers_of_another_shape_are_named(source):
    """Five of the classes under other names: the last layer starts afresh."""
    data = digits(20, seed=1)

    def part(split: Split) -> Split:
        chosen = split.y < 5
        return Split(split.x[chosen], split.y[chosen])

    fewer = replace(
        data, train=part(data.train), valid=part(data.valid), test=part(data.test), classes=tuple("abcde")
    )
    with pytest.warns(
        SzilardWarning, match=r"^3 \(has shape \[10, 6\] there and \[5, 6\] here\): the prior \(ssvi on"
    ):
        run = few(source, data=fewer, epochs=1)
    assert run.test["nll"] > 0
    known = replace(fewer, classes=tuple("01234"))  # by name they are classes of the source
    assert priors.matched(priors.read(source), known)[0].n_outputs == 10
    renamed = replace(data, classes=tuple("abcdefghij"))
    assert "they count as the same in this order" in priors.matched(priors.read(source), renamed)[1][0]


def test_a_run_killed_after_the_folds_resumes_to_the_same_bits_without_its_source(source, whole, tmp_path):
    gone, killed = tmp_path / "gone", tmp_path / "killed"
    shutil.copytree(source, gone)
    with killed_after(6):  # folds have four steps
        few(gone, killed, **STEPS)
    assert (killed / "fan-in" / "ssvi" / "checkpoint.pt").is_file()
    shutil.rmtree(gone)
    few(gone, killed, resume=True, **STEPS)
    assert_same(whole[1], killed)


def test_another_prior_is_not_mixed_into_a_run(whole, tmp_path):
    other = run_of("mean-field", tmp_path / "other", digits(30)).path
    shutil.copytree(whole[1], tmp_path / "run")
    with pytest.raises(SzilardError, match="is another prior than the given one"):
        few(other, tmp_path / "run", resume=True, **STEPS)
    with pytest.raises(SzilardError, match="holds a finished run"):
        few(other, tmp_path / "run", **STEPS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.pop("weights"), "is damaged: weights is not"),
        (
            lambda content: content["weights"]["1"].pop("log_std"),
            "is damaged: 1 is not a pair of finite mean",
        ),
        (lambda content: content["weights"]["1"]["mean"].fill_(math.nan), "is damaged: 1 is not"),
        (lambda content: content["weights"]["1"]["log_std"].fill_(300.0), "is damaged: 1 is not"),
        (lambda content: content["weights"]["1"].update(known=torch.zeros(3)), "is damaged: 1 is not"),
        (
            lambda content: content["weights"]["1"].update(mean=torch.zeros(6, 64).int()),
            "is damaged: 1 is not",
        ),
        (
            lambda content: content["rest"].update({"1.bias": torch.tensor(math.inf)}),
            "is damaged: 1.bias is not",
        ),
        (lambda content: content["rest"].update({"1.bias": "text"}), "is damaged: 1.bias is not"),
        (lambda content: content.update(about=3), "network must be a table of fields"),
        (lambda content: content["about"].update(shift=[1e50]), "shift"),
        (lambda content: content.update(weights={}), "has no weight"),
        (lambda content: content.update(szilard="network"), "is a network, not a prior"),
    ],
)
def test_hostile_priors_are_refused_in_one_sentence(source, tmp_path, change, sentence):
    path = tmp_path / "prior.pt"
    path.write_bytes(priors.read(source).content)
    content = checkpoint.load(path, "prior")
    change(content)
    torch.save(content, path)
    with pytest.raises(SzilardFileError, match=sentence) as caught:
        priors.read(path)
    assert "\n" not in str(caught.value)


def test_a_prior_cut_short_or_exchanged_is_refused(source, tmp_path):
    path = tmp_path / "prior.pt"
    content = priors.read(source).content
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SzilardFileError, match="is truncated or damaged"):
        priors.read(path)
    path.write_bytes(content)
    with pytest.raises(SzilardFileError, match=r"is not the prior that run\.toml beside it names"):
        priors.load(path, "0" * 64)
    path.write_bytes(b"\x80\x04\x95")
    with pytest.raises(SzilardFileError, match="is not a prior"):
        priors.read(path)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"spec": "mlp:7"}, "is of the network mlp:6, and this run has mlp:7"),
        (
            {"spec": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))},
            "is of another network: no weight of the prior fits",
        ),
        ({"data": table()}, "is of classification, and table is regression"),
        (
            {"data": load("digits", n_train=20, ood="none"), "method": methods.RigL(20)},
            "rigl takes no prior from a run",
        ),
        ({"prior": "nowhere"}, "the prior nowhere does not exist"),
    ],
)
def test_priors_that_cannot_be_used(source, more, sentence):
    with pytest.raises(SzilardError, match=sentence):
        few(more.pop("prior", source), **more)
