"""Units of inputs and targets that become part of a compiled network, and the comparison with PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import szilard
from szilard import SzilardError, SzilardWarning, deploy
from szilard.deploy import Units, checking
from szilard.deploy.uncertainty import OfQuantities
from szilard.likelihood import Gaussian, NoisyGaussian


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.fixture
def network():
    return szilard.bayesianize(plain(), density=0.8).eval()


X = Units(torch.tensor([500.0, -2.0, 0.1]), torch.tensor([80.0, 0.5, 3.0]))
Y = Units(torch.tensor([1000.0, -7.0]), torch.tensor([300.0, 0.25]))


def raw(count: int = 5) -> torch.Tensor:
    noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    return noise * X.scale + X.shift


@pytest.mark.parametrize("backend", ["eager", "native"])
@pytest.mark.parametrize("mode", ["point", "moments"])
def test_two_targets_in_their_units(network, backend, mode):
    likelihood, x = NoisyGaussian(outputs=2), raw()
    inner = deploy.compile(network, (x - X.shift) / X.scale, backend="eager", mode=mode, task=likelihood)
    outer = deploy.compile(network, x, backend=backend, mode=mode, task=likelihood, inputs=X, targets=Y)
    wanted, found = inner((x - X.shift) / X.scale), outer(x)
    torch.testing.assert_close(found.answer, wanted.answer * Y.scale + Y.shift, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.aleatoric, wanted.aleatoric * Y.scale**2, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.epistemic, wanted.epistemic * Y.scale**2, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-4, atol=1e-5)  # the network's own outputs


def test_samples_and_known_noise_have_units(network):
    x, units = raw(2), Units(torch.tensor([1.0, 2.0, 3.0, 4.0]), 2.0)
    likelihood = Gaussian(torch.tensor([0.5, 1.0, 1.5, 2.0]))
    arguments = {"backend": "eager", "mode": "samples", "samples": 6, "task": likelihood}
    wanted = deploy.compile(network, x, **arguments)(x)
    found = deploy.compile(network, x, **arguments, targets=units)(x)
    torch.testing.assert_close(found.answer, wanted.answer * 2 + units.shift)
    torch.testing.assert_close(found.epistemic, wanted.epistemic * 4)
    torch.testing.assert_close(found.aleatoric, torch.tensor([1.0, 4.0, 9.0, 16.0]).expand(2, 4))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"inputs": Units(torch.zeros(4), 1.0)}, r"units of shape \[4\] do not fit inputs of shape \[3\]"),
        ({"targets": Units(torch.zeros(3), 1.0)}, "units of 2 targets must have 1 or 2 numbers, not 3"),
        ({"targets": Y, "task": "classification"}, "only the targets of a regression have units"),
    ],
)
def test_units_that_do_not_fit(network, arguments, sentence):
    with pytest.raises(SzilardError, match=sentence):
        deploy.compile(network, raw(), backend="eager", **{"task": NoisyGaussian(outputs=2), **arguments})


def test_an_example_in_wrong_units_is_refused(network):
    with pytest.raises(
        SzilardError, match="infinite values in aleatoric for the example; give inputs in the units"
    ):
        deploy.compile(network, raw(), backend="eager", task=NoisyGaussian(outputs=2))


def test_tokens_have_no_units():
    network = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3)).eval()
    x = torch.ones(2, 2, dtype=torch.long)
    assert deploy.compile(network, x, backend="eager")(x).answer.shape == (2, 3)
    with pytest.raises(SzilardError, match="inputs of type int64 have no units"):
        deploy.compile(network, x, backend="eager", inputs=Units(0.0, 2.0))


def test_draws_are_those_of_predict():
    method, x = szilard.methods.SSVI(n_data=10, density=0.5), raw(4)
    network = method.prepare(plain(), "classification").eval()
    wanted = method.predict(network, x, samples=5, seed=3)
    found = deploy.compile(network, x, backend="eager", mode="samples", samples=5, seed=3)(x)
    torch.testing.assert_close(found.answer, wanted.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.epistemic, wanted.epistemic(), rtol=1e-4, atol=1e-5)


def outputs(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    usual = {
        "answer": torch.tensor([100.0]),
        "aleatoric": torch.tensor([4.0]),
        "epistemic": torch.tensor([1e-7]),
    }
    return usual | changed


def test_the_size_of_a_difference():
    near = outputs(epistemic=torch.tensor([2e-7]))  # rounding of a difference of entropies
    assert checking.difference(near, outputs(), in_nats=True)[0] < 1e-6
    assert checking.difference(near, outputs(), in_nats=False)[0] < 1e-6
    far = outputs(answer=torch.tensor([101.0]))
    assert checking.difference(far, outputs(), in_nats=False) == (pytest.approx(0.01), "answer")
    small = {name: value * 1e-6 for name, value in outputs().items()}  # variances of a small unit
    wrong = small | {"epistemic": small["aleatoric"]}
    assert checking.difference(wrong, small, in_nats=False) == (pytest.approx(1.0), "epistemic")
    vanishing = outputs(mean=torch.tensor([1.0]), variance=torch.tensor([1e-31]))  # float32 rounds 1 by 1e-7
    assert checking.difference(vanishing | {"variance": torch.zeros(1)}, vanishing, in_nats=True)[0] < 1e-6
    small_variance = outputs(mean=torch.tensor([1.0]), variance=torch.tensor([1e-12]))
    zero = small_variance | {"variance": torch.zeros(1)}
    assert checking.difference(zero, small_variance, in_nats=True) == (pytest.approx(1.0), "variance")
    nan = outputs(answer=torch.tensor([float("nan")]))
    assert checking.difference(nan, outputs(), in_nats=True) == (float("inf"), "answer")
    assert checking.difference(outputs(answer=torch.zeros(2)), outputs(), in_nats=True)[0] == float("inf")


def test_a_backend_that_differs_is_refused_or_passed_over(network, monkeypatch):
    from szilard.deploy.backends import native

    compiles = native.Native.compile

    def wrong(self, job):
        run = compiles(self, job)
        return lambda x: [part + 1 for part in run(x)]

    monkeypatch.setattr(native.Native, "compile", wrong)
    with pytest.raises(SzilardError, match=r"backend native computes another .* than PyTorch"):
        deploy.compile(network, raw(), backend="native", task=NoisyGaussian(outputs=2), inputs=X)
    monkeypatch.setattr(deploy.compiling, "_ORDER", ("native", "eager"))
    monkeypatch.setattr(deploy.backends, "installed", lambda: ["native", "eager"])
    found = deploy.compile(network, raw(), task=NoisyGaussian(outputs=2), inputs=X)
    assert found.backend == "eager"
    assert "backend native was not used: backend native computes another" in found.decisions[0]
    assert found.difference == 0


def test_a_mode_that_the_network_cannot_run():
    torch.manual_seed(0)

    class Checked(nn.Module):
        """It refuses weights that a prediction by draws has and the mean network has not."""

        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(3, 2)
            self.mean = self.out.weight.detach().clone()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not torch.equal(self.out.weight, self.mean):
                raise ValueError("other weights")
            return self.out(x)

    network = szilard.bayesianize(Checked(), density=1.0).eval()
    deploy.compile(network, torch.randn(2, 3), backend="eager", mode="point")
    with pytest.raises(
        SzilardError, match=r"does not run in mode samples: .*other weights; choose another mode"
    ):
        deploy.compile(network, torch.randn(2, 3), backend="eager", mode="samples", samples=2)


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ((0, 0), "a finite, positive scale in float32, not 0 and 0"),
        ((float("nan"), 1.0), "a finite shift and"),
        ((0.0, torch.tensor([1.0, float("nan")])), "positive scale"),
        ((1e300, 1.0), "a finite shift"),
        ((0.0, 1e-60), "positive scale"),
        ((0.0, -1.0), "positive scale"),
        ((None, 1.0), "the shift of units must be a number or a tensor of numbers, not None"),
        ((0.0, "1"), "the scale of units must be a number or a tensor of numbers, not '1'"),
        ((0.0, True), "the scale of units must be a number"),
        ((torch.zeros(0), 1.0), "the shift of units must be a number"),
        ((torch.zeros(2), torch.ones(3)), r"shape \[2\] and the scale \[3\]"),
    ],
)
def test_units_that_are_none(pair, sentence):
    with pytest.raises(SzilardError, match=sentence):
        Units(*pair)


def test_units_that_float32_rounds(network):
    far = Units(torch.tensor([0.0, 1.7e9, 50.0]), torch.tensor([1.0, 1000.0, 3.0]), ("a", "seconds", "b"))
    assert far.coarse().startswith(
        "'seconds' has values near 1.7e+09 with a deviation of 1e+03, where float32 has"
    )
    assert Units(far.shift, far.scale).coarse().startswith("1 has values")
    assert not Units(torch.tensor([2024.0, 1e5]), torch.tensor([5.0, 30.0])).coarse()
    likelihood = NoisyGaussian(outputs=2)
    with pytest.warns(SzilardWarning, match=r"^target 'price' has values near 1e\+09.*; subtract a constant"):
        deploy.compile(
            network, torch.zeros(2, 3), backend="eager", task=likelihood,
            targets=Units(torch.tensor([0.0, 1e9]), 1.0, ("weight", "price")),
        )  # fmt: skip


@pytest.mark.parametrize("scale", [1e-24, 1e24])
def test_squares_of_a_unit_that_leave_float32(network, scale):
    with pytest.raises(SzilardError, match=r"target 'b' has a deviation of 1e[+-]24, and variances"):
        deploy.compile(
            network, torch.zeros(2, 3), backend="eager", task=NoisyGaussian(outputs=2),
            targets=Units(0.0, torch.tensor([1.0, scale]), ("a", "b")),
        )  # fmt: skip


@pytest.mark.parametrize("rule", ["learned noise", "known noise", "one target"])
def test_the_answer_of_a_point_is_that_of_one_draw(rule):
    made = {
        "learned noise": OfQuantities(2, units=Y),
        "known noise": OfQuantities(4, torch.tensor([0.5, 1.0, 1.5, 2.0])),
        "one target": OfQuantities(1, torch.tensor(0.5), Units(3.0, 2.0)),
    }[rule]
    output = torch.randn(5, 1 if rule == "one target" else 4, generator=torch.Generator().manual_seed(2))
    found, wanted = made.of_point(output), made.of_draws(output.unsqueeze(0))
    for name in found._fields:
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=0, atol=0)
    assert not found.epistemic.any()


@pytest.mark.parametrize("deviation", [2e5, 4e6])
def test_milliseconds_since_1970_are_refused_or_warned_of(network, deviation):
    """float32 has steps of 131,072 there."""
    units = Units(torch.tensor([0.0, 1.7e12, 50.0]), torch.tensor([1.0, deviation, 3.0]), ("a", "when", "b"))
    x = torch.tensor([0.0, 1.7e12, 50.0]).expand(2, 3)
    arguments = {"backend": "eager", "task": NoisyGaussian(outputs=2), "inputs": units}
    sentence = r"^input 'when' has values near 1.7e\+12 with a deviation of .*float32 has steps of 1.31e\+05, so that "
    if deviation < 1e6:
        with pytest.raises(
            SzilardError, match=f"{sentence}a compiled network cannot tell its .*; subtract a constant"
        ):
            deploy.compile(network, x, **arguments)
    else:
        with pytest.warns(
            SzilardWarning, match=f"{sentence}the compiled network rounds its .*; subtract a constant"
        ):
            deploy.compile(network, x, **arguments)
