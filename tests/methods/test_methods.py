"""The methods: common interface, loss terms, moves of supports, predictions."""

import copy
import math

import pytest
import torch
from torch import nn

from szilard import bayes, methods
from szilard.bayes.draws import Draws
from szilard.data import Split
from szilard.errors import SzilardError
from szilard.likelihood.free_energy import free_energy, negative_log_likelihood
from szilard.methods import SSVI, Deterministic, MeanField, PublishedSSVI
from szilard.sparse import Move
from szilard.topology import carry_optimizer_state
from szilard.topology.scores import SCORES, expected_magnitude

N, D, C = 120, 6, 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs():
    g = generator()
    y = torch.arange(N) % C
    return torch.randn(N, D, generator=g) + 2 * nn.functional.one_hot(y, D), y


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, C))


def train(method, net=None, steps=60, task="classification"):
    x, y = blobs()
    y = y if task == "classification" else x[:, 0] * 2 + 1
    method.total_steps = steps
    net = method.prepare(net or network(), task)
    optimizer = method.optimizer(net)
    g = generator(1)
    for _ in range(steps):
        batch = torch.randint(N, (40,), generator=g)
        method.anneal(optimizer)
        method.loss(net, x[batch], y[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(net, optimizer)
    return net, optimizer


@pytest.mark.parametrize("name", [name for name in methods.names() if name != "elastic-ticket"])
def test_every_method_has_the_same_interface(name):
    original = network()
    if name == "early-bird":
        original.insert(1, nn.BatchNorm1d(16))
    before = copy.deepcopy(original.state_dict())
    dense = ("deterministic", "mean-field", "variational-dropout", "bayesian-compression", "early-bird")
    density = {} if name in dense else {"density": 0.5}
    few = {"positions": 5, "rank": 3} if name == "swag" else {}
    method = methods.make(name, N, lr=2e-2, **density, **few)
    net, _ = train(method, original, steps=120)
    assert all(torch.equal(v, before[k]) for k, v in original.state_dict().items()) or name == "deterministic"
    x, y = blobs()
    method.finish(net, [(x, y)], Split(x, y))
    predictive = method.predict(net, x, samples=4)
    assert predictive.mean.shape == (N, C)
    point = all(weight.is_point for weight in bayes.weights(net).values())
    drawn = isinstance(net, Draws)
    assert predictive.n_samples == (getattr(method, "members", 1) if point and not drawn else 4)
    if name not in ("ssvi-published", "posterior-tickets"):  # which need more steps
        assert (predictive.labels == y).double().mean() > 0.75
    assert math.isfinite(method.last_energy)
    assert (method.last_cost == 0) == (
        point and not drawn and name != "topkast"  # which has a penalty
    )
    assert methods.label(method)
    again = methods.make(name, N)
    again.load_state_dict(method.state_dict())
    assert again.step == method.step == 120


@pytest.mark.parametrize("kind", [Deterministic, MeanField, SSVI])
def test_regression(kind):
    options = {Deterministic: {}, MeanField: {"temperature": 1.0}, SSVI: {"temperature": 1.0, "density": 0.5}}
    method = kind(N, lr=2e-2, **options[kind])
    net = nn.Sequential(nn.Linear(D, 16), nn.Tanh(), nn.Linear(16, 1))
    net, _ = train(method, net, 250, "regression")
    x, _ = blobs()
    predictive = method.predict(net, x, samples=8)
    assert predictive.means.shape == (1 if kind is Deterministic else 8, N)
    rmse = (predictive.mean - (2 * x[:, 0] + 1)).square().mean().sqrt()
    assert rmse < 1.5
    assert (predictive.variance > 0).all()


def test_the_free_energy_counts_the_kl_once_for_all_data():
    method = SSVI(N, temperature=0.5, density=0.5)
    net = method.prepare(network())
    x, y = blobs()
    loss = method.loss(net, x, y)
    assert method.last.cost.item() == pytest.approx(0.5 / N * bayes.kl(net).item(), rel=1e-5)
    assert loss.item() == pytest.approx(method.last_energy + method.last_cost, rel=1e-6)
    warm = SSVI(N, temperature=0.5, warmup=0.5, total_steps=100)
    assert [warm.temperature_at(t) for t in (0, 25, 50, 99)] == [0, 0.25, 0.5, 0.5]


def test_gaussian_likelihood_is_the_normal_density():
    output, y = torch.tensor([[0.5, -0.3], [1.0, 0.2]]), torch.tensor([0.1, 3.0])
    expected = -torch.distributions.Normal(output[:, 0], output[:, 1].exp()).log_prob(y)
    assert torch.allclose(negative_log_likelihood(output, y, "regression"), expected)
    terms = free_energy(output, y, torch.tensor(10.0), task="regression", weight=0.1)
    assert terms.total == pytest.approx(expected.mean().item() + 1.0)
    with pytest.raises(SzilardError, match="WithNoise"):
        negative_log_likelihood(output[:, :1], y, "regression")


def test_each_loss_has_new_noise_and_a_resumed_one_the_same():
    method = MeanField(N, initial_std=1.0)
    net = method.prepare(network())
    x, y = blobs()
    first, second = method.loss(net, x, y).item(), method.loss(net, x, y).item()
    assert first != second
    resumed = MeanField(N, initial_std=1.0)
    resumed.load_state_dict(method.state_dict())
    assert resumed.loss(net, x, y).item() == first


def test_a_run_in_two_halves_equals_a_run_in_one(tmp_path):
    def half(method, net, optimizer, steps):
        x, y = blobs()
        for step in steps:
            batch = torch.randint(N, (40,), generator=generator(step))
            method.loss(net, x[batch], y[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(net, optimizer)

    def make():
        # A break at step 19 falls between the batches that decide the move after step 20.
        method = SSVI(N, density=0.3, every=10, growth_batches=4, total_steps=60, lr=1e-2)
        net = method.prepare(network())
        return method, net, method.optimizer(net)

    whole = make()
    half(*whole, range(40))
    first = make()
    half(*first, range(19))
    torch.save([part.state_dict() for part in first], tmp_path / "half.pt")
    second = make()
    for part, state in zip(second, torch.load(tmp_path / "half.pt", weights_only=True), strict=True):
        part.load_state_dict(state)
    half(*second, range(19, 40))
    for key, value in whole[1].state_dict().items():
        assert torch.equal(value, second[1].state_dict()[key]), key


def test_sigma_changes_by_default():
    method = SSVI(N, density=0.3)
    net = method.prepare(network())
    start = {name: w.log_std.detach().clone() for name, w in bayes.weights(net).items()}
    trained, _ = train(SSVI(N, density=0.3), steps=200)
    for name, weight in bayes.weights(trained).items():
        assert (weight.log_std - start[name]).abs().median() > 0.3


def test_with_published_settings_sigma_hardly_changes():
    """The preset reproduces this published defect, which the defaults of SSVI avoid (specification, pitfall 1)."""
    method = PublishedSSVI(50_000, density=0.3)
    net = method.prepare(network())
    start = {name: w.log_std.detach().clone() for name, w in bayes.weights(net).items()}
    assert method.temperature == 0.01
    assert method.lr == 0.01
    trained, optimizer = train(PublishedSSVI(50_000, density=0.3), steps=100)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [5e-4, 0]
    for name, weight in bayes.weights(trained).items():
        assert (weight.log_std - start[name]).abs().median() < 0.01


def test_the_support_moves_until_the_end_of_the_schedule():
    method = SSVI(N, density=0.3, every=5, end=0.5, lr=1e-2)
    seen = []
    original = method.moves.apply
    method.moves.apply = lambda *a: seen.append((a[2], original(*a)))
    train(method, steps=60)
    moved = [step for step, new in seen if new]
    assert moved
    assert set(moved) <= set(range(5, 30, 5))


def test_growing_by_the_mean_network():
    a, _ = train(SSVI(N, density=0.3, every=5, growth="mean"))
    b, _ = train(SSVI(N, density=0.3, every=5, growth="noisy"))
    assert any(
        not torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )
    with pytest.raises(SzilardError, match="growth"):
        SSVI(N, growth="none")


def test_new_entries_take_adams_second_moment_from_the_survivors():
    parameter = nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    parameter.grad = torch.tensor([1.0, 2.0, 3.0, 4.0])
    optimizer.step()
    before = {k: v.clone() for k, v in optimizer.state[parameter].items()}
    carry_optimizer_state(Move(torch.tensor([-1, 1, 0, 3]), 1), optimizer, parameter)
    after = optimizer.state[parameter]
    survivors = before["exp_avg_sq"][[1, 0, 3]]
    assert torch.allclose(after["exp_avg_sq"], torch.cat([survivors.mean()[None], survivors]))
    assert torch.allclose(after["exp_avg"], torch.cat([torch.zeros(1), before["exp_avg"][[1, 0, 3]]]))
    assert after["step"] == before["step"]


def test_published_score_is_an_alias():
    assert SCORES["SNR_mean_abs"] is SCORES["snr"]
    g = generator(2)
    mean, std = torch.randn(5000, generator=g).double(), torch.rand(5000, generator=g).double() + 0.3
    first = expected_magnitude(mean, std)
    published = first / (mean.square() + std.square() - first.square()).sqrt()
    assert torch.equal(published.argsort(), SCORES["snr"](mean, std).argsort())


def test_predictions_do_not_depend_on_the_batch_size_and_restore_the_mode():
    net, _ = train(method := SSVI(N, density=0.5))
    net[1].eval()
    x, _ = blobs()
    a, b = method.predict(net, x, 3, batch_size=7), method.predict(net, x, 3, batch_size=1000)
    assert torch.allclose(a.probabilities, b.probabilities, atol=1e-6)
    assert net.training
    assert not net[1].training
    assert not torch.equal(a.probabilities, method.predict(net, x, 3, seed=1).probabilities)
    with pytest.raises(SzilardError, match="NaN"):
        method.predict(net, torch.full((2, D), math.nan))


def test_temperature_scaling_lowers_validation_nll():
    method = Deterministic(N, temperature_scaling=True, lr=5e-2)
    net, _ = train(method, steps=300)
    x, y = blobs()
    y = (y + (torch.arange(N) % 5 == 0)) % C  # wrong labels make the network overconfident
    plain = -method.predict(net, x).mean[range(N), y].log().mean()
    method.finish(net, [], Split(x, y))
    assert method.calibration > 1
    assert -method.predict(net, x).mean[range(N), y].log().mean() < plain


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: SSVI(N, density=0), "density"),
        (lambda: SSVI(N, density=1.2), "density"),
        (lambda: SSVI(0), "n_data"),
        (lambda: SSVI(N, temperature=-1), "temperature"),
        (lambda: SSVI(N, score="best"), "score"),
        (lambda: SSVI(N, prior="cauchy"), "prior"),
        (lambda: SSVI(N, growth_batches=0), "batch"),
        (lambda: Deterministic(N, lr=0), "lr"),
        (lambda: methods.make("svi", N), "did you mean 'ssvi'"),
        (lambda: methods.make("ssvi", N, densty=0.1), "did you mean 'density'"),
    ],
)
def test_invalid_options_are_refused(build, what):
    with pytest.raises(SzilardError, match=what):
        build()


def test_options_list_defaults():
    assert methods.options("ssvi")["density"] == 0.05
    assert methods.options("sparse-deterministic")["density"] == 0.05
    assert methods.options("deterministic")["density"] == 1.0
    assert "lr" in methods.options("mean-field")
