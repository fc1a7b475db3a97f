"""Every training option has an effect, gives a warning or is refused."""

import math
import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import szilard
from szilard import methods
from szilard.data import load
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Bernoulli, Categorical, Gaussian, NoisyGaussian

WEIGHTS = torch.tensor([0.5, 2.0, 1.0])


def random(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


class Fixed(nn.Module):
    """Returns fixed outputs for all inputs."""

    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x):
        return self.output[: len(x)]


def loss(output, y, task, weights=WEIGHTS):
    method = methods.Deterministic(len(output))
    network = method.prepare(Fixed(output), task)
    method.class_weights = weights
    return float(method.loss(network, torch.zeros(len(output), 1), y).detach())


# -- class weights --------------------------------------------------------------------------------------


def test_class_weights_apply_to_a_given_likelihood():
    z, y = random((6, 3)), torch.tensor([0, 1, 2, 1, 0, 2])
    wanted = float((-z.log_softmax(1).gather(1, y[:, None])[:, 0] * WEIGHTS[y]).mean())
    assert loss(z, y, "classification") == pytest.approx(wanted, rel=1e-5)
    assert loss(z, y, Categorical()) == pytest.approx(wanted, rel=1e-5)
    assert loss(z.softmax(1), y, Categorical(probabilities=True)) == pytest.approx(wanted, rel=1e-5)


def test_positions_are_weighted_by_label_and_ignored_without_one():
    z, y = random((2, 5, 3)), torch.tensor([[0, 1, -100, 2, 1], [2, 2, 0, -100, -100]])
    terms = -z.log_softmax(2).gather(2, y.clamp_min(0)[..., None])[..., 0] * WEIGHTS[y.clamp_min(0)]
    wanted = float((terms * (y != -100)).sum(1).mean())
    assert loss(z, y, Categorical(last=True, ignore=-100)) == pytest.approx(wanted, rel=1e-5)
    assert loss(z.movedim(2, 1), y, "classification") == pytest.approx(wanted, rel=1e-5)


def test_probabilities_of_classes_are_weighted():
    z, y = random((6, 3)), random((6, 3), 1).softmax(1)
    wanted = float(-(z.log_softmax(1) * y * WEIGHTS).sum(1).mean())
    assert loss(z, y, "classification") == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_one_logit_for_two_classes_is_weighted(shape):
    z, y = random(shape), torch.tensor([0, 1, 1, 0, 1, 1])
    two = torch.stack((torch.zeros(6), z.flatten()), 1)
    wanted = loss(two, y, "classification", WEIGHTS[:2])
    assert loss(z, y, "classification", WEIGHTS[:2]) == pytest.approx(wanted, rel=1e-5)
    assert wanted != pytest.approx(loss(two, y, "classification", None), rel=1e-3)


@pytest.mark.parametrize("task", ["multilabel", Bernoulli(), Gaussian(1.0), NoisyGaussian(outputs=3)])
def test_class_weights_are_refused_without_classes(task):
    with pytest.raises(SzilardError, match="class weights are for classification"):
        loss(random((4, 3)), torch.zeros(4, 3), task)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (torch.ones(2), "2 numbers, and the network has 3 classes"),
        (torch.tensor([1.0, 0.0, 1.0]), "above zero"),
        (torch.tensor([1.0, math.nan, 1.0]), "above zero"),
        (torch.ones(3, 1), "above zero"),
    ],
)
def test_invalid_class_weights_are_refused(weights, match):
    for task in ("classification", Categorical()):
        with pytest.raises(SzilardError, match=match):
            loss(random((4, 3)), torch.zeros(4, dtype=torch.long), task, weights)


def test_balanced_weights_of_dense_labels_count_pixels(tmp_path):
    import numpy as np

    draws = np.random.default_rng(0)
    x = draws.random((30, 1, 4, 4)).astype(np.float32)
    y = (x[:, 0] > 0.8).astype(np.int64)
    y[:, 0] = -100
    np.savez(tmp_path / "pixels.npz", x=x, y=y)
    data = load(tmp_path / "pixels.npz", ood="none")
    found = szilard.training.imbalance.weights("balanced", data)
    counts = torch.bincount(data.train.y[data.train.y >= 0])
    assert torch.allclose(found, counts.sum() / (2.0 * counts))


# -- options without effect -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: methods.Deterministic(9, temperature=0.1), "temperature changes nothing"),
        (
            lambda: methods.Deterministic(9, warmup=0.1, lr_log_std=3.0),
            "lr_log_std and warmup change nothing",
        ),
        (lambda: methods.make("sparse-deterministic", 9, temperature=0.5), "temperature changes nothing"),
        (lambda: methods.BayesianCompression(9, tau=0.5), "tau changes nothing"),
        (lambda: methods.make("ssvi-published", 9, initial_std=0.1), "initial_std changes nothing"),
        (
            lambda: methods.Deterministic(9, temperature_scaling=True).prepare(nn.Linear(2, 1), "regression"),
            "temperature_scaling changes nothing",
        ),
    ],
)
def test_an_option_that_changes_nothing_is_warned_about(make, match):
    with pytest.warns(SzilardWarning, match=match):
        make()


@pytest.mark.parametrize("name", methods.names())
def test_no_method_warns_about_its_defaults(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        defaults = {k: v for k, v in methods.options(name).items() if v is not None}
        methods.make(name, 9, **defaults)


def test_unused_prior_options_are_refused():
    network = nn.Linear(4, 4)
    with pytest.raises(SzilardError, match="prior_scale is for priors given by name"):
        szilard.bayesianize(network, prior=szilard.bayes.FixedPrior(1.0), prior_scale=0.5)
    for unused in ({"prior": "fixed"}, {"prior_scale": 2.0}, {"initial_std": 0.3}):
        with pytest.raises(SzilardError, match="point=True"):
            szilard.bayesianize(network, 0.5, point=True, **unused)


@pytest.mark.parametrize(
    "option", [{"resume": True}, {"overwrite": True}, {"tensorboard": True}, {"checkpoint_steps": 3}]
)
def test_file_options_need_an_output_folder(option):
    data = load("digits", n_train=40, ood="none")
    with pytest.raises(SzilardError, match=f"{next(iter(option))} needs an output folder"):
        szilard.fit(methods.Deterministic(40), "mlp:4", data, epochs=1, progress=False, **option)


def test_data_options_that_do_not_apply_are_refused(tmp_path):
    import numpy as np

    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((30, 3)), y=np.arange(30) % 2)
    for option, match in (({"target": "y"}, "--target is for CSV"), ({"split": 1}, "split 1 is for UCI")):
        with pytest.raises(SzilardError, match=match):
            load(tmp_path / "a.npz", **option)
    (tmp_path / "a.csv").write_text("a,y\n" + "".join(f"{i}.5,{i % 2}\n" for i in range(40)))
    with pytest.raises(SzilardError, match="split 2 is for UCI"):
        load(tmp_path / "a.csv", target="y", split=2)
    with pytest.raises(SzilardError, match="drop-constant is for feature columns"):
        load("digits", drop_constant=True)


def test_a_multilabel_network_is_calibrated():
    z = random((200, 3))
    y = (torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) < z.sigmoid()).long()
    method = methods.Deterministic(200, temperature_scaling=True)
    network = method.prepare(Fixed(3 * z), "multilabel")
    x = torch.zeros(200, 1)
    method.finish(network, [], szilard.data.Split(x, y))
    assert method.calibration == pytest.approx(3, rel=0.3)
    nll = F.binary_cross_entropy(method.predict(network, x).mean, y.float())
    assert nll < F.binary_cross_entropy_with_logits(3 * z, y.float()) - 0.05


@pytest.mark.parametrize(
    "name", ["deterministic", "free-tickets", "gradual", "granet", "itop", "rigl", "set", "ssvi"]
)
def test_growth_rules_in_the_help_are_those_that_are_accepted(name):
    meaning = next(one.meaning for one in methods.describe(name) if one.name == "growth")
    with pytest.raises(SzilardError, match="growth must be one of") as refused:
        methods.make(name, 9, growth="nearest")
    listed = str(refused.value).split("one of ")[1].split(", or in Python")[0].split(", ")
    assert re.findall(r"[\"'`]([a-z]+)[\"'`]", meaning) == listed
