"""What people do with methods and losses by mistake, or a little differently: right, or refused in one sentence."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import szilard
from szilard import SzilardError, SzilardWarning, methods
from szilard.likelihood import Bernoulli, Categorical, Gaussian, NoisyGaussian


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(16, 6, generator=generator), torch.randint(0, 4, (16,), generator=generator))
        for _ in range(count)
    ]


def step(method, network, optimizer, x, y):
    network.train()
    method.loss(network, x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
    method.after_step(network, optimizer)


def prepared(method, network=None, **options):
    torch.manual_seed(0)
    network = method.prepare(network or mlp(), **options)
    return network, method.optimizer(network)


# -- losses of validation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["no_grad", "eval"])
@pytest.mark.parametrize("kind", [methods.MeanField, methods.SSVI])
def test_validation_losses_change_no_bit_of_training(kind, how):
    seen = batches(6)

    def train(validating: bool):
        method = kind(96, seed=3)
        network, optimizer = prepared(method)
        for x, y in seen:
            step(method, network, optimizer, x, y)
            if validating:
                network.train(how == "no_grad")
                with torch.set_grad_enabled(how == "eval"):
                    method.loss(network, *seen[0])
        return list(network.parameters())

    assert all(torch.equal(a, b) for a, b in zip(train(True), train(False), strict=True))


def test_a_first_loss_without_gradient_sets_no_horizon():
    method = methods.MeanField(1000)
    network, _ = prepared(method)
    with torch.no_grad():
        method.loss(network, *batches(1)[0])
    assert method.total_steps is None
    method.loss(network, *batches(1)[0])
    assert method.total_steps == 30 * 63


def test_losses_of_accumulation_have_noise_of_their_own():
    method = methods.MeanField(96)
    network, _ = prepared(method)
    x, y = batches(1)[0]
    assert method.loss(network, x, y) != method.loss(network, x, y)


# -- frozen weights, and networks that are not the method's -------------------------------------------------


@pytest.mark.parametrize("kind", [methods.SSVI, methods.Deterministic])
def test_a_weight_frozen_after_prepare_is_not_moved(kind):
    method = kind(640, density=0.3, every=5, growth_batches=3, total_steps=60)
    network, _ = prepared(method)
    network[2].requires_grad_(False)
    optimizer = method.optimizer(network)
    frozen, free = network[2].weight, network[0].weight
    before = frozen.support.col.clone(), frozen.mean.detach().clone()
    others = free.support.col.clone()
    for x, y in batches(20):
        step(method, network, optimizer, x, y)
    assert torch.equal(frozen.support.col, before[0])
    assert torch.equal(frozen.mean, before[1])
    assert not torch.equal(free.support.col, others)


def test_a_method_that_has_trained_prepares_no_second_network():
    method = methods.SSVI(96)
    network, optimizer = prepared(method)
    state = method.state_dict()
    step(method, network, optimizer, *batches(1)[0])
    with pytest.raises(SzilardError, match="has trained a network already"):
        method.prepare(mlp())
    method.load_state_dict(state)
    method.prepare(mlp())


@pytest.mark.parametrize(
    "method",
    [
        methods.SSVI(96),
        methods.MeanField(96),
        methods.VariationalDropout(96),
        methods.BayesianCompression(96),
        methods.Deterministic(96, density=0.5),
    ],
    ids=lambda method: method.name,
)
def test_a_network_that_prepare_did_not_make_is_refused(method):
    network = mlp()
    method.prepare(network)  # the answer is dropped
    with pytest.raises(SzilardError, match="this network has none"):
        method.loss(network, *batches(1)[0])


def test_a_dense_method_takes_any_network():
    assert methods.Deterministic(96).loss(mlp(), *batches(1)[0]) > 0


def test_states_of_other_methods_are_refused():
    for method in (methods.SSVI(10), methods.Deterministic(10), methods.MeanField(10)):
        with pytest.raises(SzilardError, match="has no"):
            method.load_state_dict({})
    with pytest.raises(SzilardError, match="has no moves"):
        methods.SSVI(10).load_state_dict(methods.MeanField(10).state_dict())


def test_a_network_made_in_inference_mode_is_refused():
    with torch.inference_mode(), pytest.raises(SzilardError, match="inference_mode"):
        methods.SSVI(10).prepare(mlp())


def test_states_of_another_density_are_named():
    stored = szilard.bayesianize(nn.Linear(24, 6), 0.3).state_dict()
    with pytest.raises(SzilardError, match=r"43 of 144 entries .*this network's 29"):
        szilard.bayesianize(nn.Linear(24, 6), 0.2).load_state_dict(stored)


# -- one logit for each pixel, and labels that are not known ------------------------------------------------


def test_masks_with_one_logit_are_two_classes():
    method = methods.Deterministic(4)
    network = method.prepare(nn.Conv2d(1, 1, 3, padding=1))
    x = torch.randn(4, 1, 5, 5)
    y = torch.randint(0, 2, (4, 5, 5))
    z = network(x).squeeze(1)
    y[0, 0] = -100
    known = y != -100
    terms = F.binary_cross_entropy_with_logits(z, y.clamp_min(0).float(), reduction="none") * known
    for labels in (y, y.unsqueeze(1), y.float()):
        assert torch.allclose(method.loss(network, x, labels), terms.sum() / 4, rtol=1e-5)
    believed = method.predict(network, x)
    assert believed.probabilities.shape == (1, 4, 2, 5, 5)
    assert torch.equal(believed.labels, (z > 0).long())
    found = szilard.metrics.evaluate(believed, y, ignore_index=-100)
    assert found["accuracy"] == pytest.approx(float(((z > 0) == y)[known].double().mean()))
    with pytest.raises(SzilardError, match="ignore_index=-100"):
        szilard.metrics.evaluate(believed, y)


def test_class_weights_count_for_masks():
    method = methods.Deterministic(4)
    network = method.prepare(nn.Conv2d(1, 1, 1))
    x, y = torch.randn(4, 1, 3, 3), torch.randint(0, 2, (4, 3, 3))
    method.class_weights = torch.tensor([0.5, 3.0])
    z = network(x).squeeze(1)
    weights = torch.where(y == 1, 3.0, 0.5)
    expected = (F.binary_cross_entropy_with_logits(z, y.float(), reduction="none") * weights).sum() / 4
    assert torch.allclose(method.loss(network, x, y), expected, rtol=1e-5)


def test_one_class_alone_is_refused():
    with pytest.raises(SzilardError, match="one class alone"):
        Categorical().check(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long))
    with pytest.raises(SzilardError, match="one class alone"):
        Categorical(last=True).check(torch.zeros(3, 5, 1), torch.zeros(3, 5, dtype=torch.long))


def test_labels_that_are_not_known_do_not_count():
    z = torch.tensor([[1.0, -2.0], [0.5, 0.5], [3.0, 1.0]])
    y = torch.tensor([[1, -100], [-100, -100], [0, 1]])
    likelihood = Bernoulli()
    likelihood.check(z, y)
    expected = [F.softplus(-z[0, 0]), 0.0, F.softplus(z[2, 0]) + F.softplus(-z[2, 1])]
    assert torch.allclose(likelihood.nll(z, y), torch.tensor(expected))
    assert likelihood.labelled(z, y).tolist() == [True, False, True]
    assert likelihood.labelled(z, y.clamp_min(0)) is None
    assert likelihood.values(z, y).tolist() == [1.0, 0.0, 0.5]
    assert likelihood.guessing(y) == pytest.approx((0.5 + 1.0) / 2)
    method = methods.Deterministic(3)
    network = method.prepare(nn.Identity().requires_grad_(), "multilabel")
    assert method.loss(network, z, y).item() == pytest.approx(float(likelihood.nll(z, y).sum()) / 2)


def test_metrics_of_labels_that_are_not_known():
    believed = szilard.metrics.Predictive(
        probabilities=torch.tensor([[[0.9, 0.2], [0.3, 0.6]]]), multilabel=True
    )
    y = torch.tensor([[1, -100], [1, 0]])
    with pytest.raises(SzilardError, match="ignore_index=-100"):
        szilard.metrics.evaluate(believed, y)
    found = szilard.metrics.evaluate(believed, y, ignore_index=-100)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["accuracy_all"] == 0.5
    assert szilard.metrics.f1(believed, y)[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("scale", [-1.0, 0.0, float("nan"), torch.tensor([1.0, 0.0])])
@pytest.mark.parametrize("kind", [Gaussian, NoisyGaussian])
def test_deviations_are_above_zero(kind, scale):
    with pytest.raises(SzilardError, match="above zero and finite"):
        kind(scale)


# -- networks ----------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """A classifier of texts whose padding is masked."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 3)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    def forward(self, x):
        padding = x == 0
        y = self.encoder(self.embedding(x), src_key_padding_mask=padding)
        return self.head(y.masked_fill(padding[..., None], 0).sum(1))


@pytest.mark.parametrize("options", [{}, {"except_": "*.self_attn"}, {"only": "*.self_attn"}])
def test_encoders_with_a_padding_mask_predict(options):
    torch.manual_seed(0)
    network = Encoder().eval()
    x = torch.randint(1, 20, (4, 6))
    x[:, 4:] = 0
    method = methods.SSVI(4, density=0.5, **options)
    assert method.predict(method.prepare(network), x, samples=2).probabilities.shape == (2, 4, 3)
    same = szilard.bayesianize(network, **options).eval()
    with torch.no_grad():
        assert torch.allclose(same(x), network(x), atol=1e-5)


class Spectral(nn.Module):
    """Complex numbers beside real ones, as in a Fourier neural operator."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(1, 8), nn.Linear(8, 1)
        self.modes = nn.Parameter(torch.randn(8, 8, 5, dtype=torch.cfloat) / 8)

    def forward(self, x):
        h = self.first(x)
        modes = torch.einsum("bki,iok->bko", torch.fft.rfft(h, dim=1)[:, :5], self.modes)
        return self.last(h + torch.fft.irfft(modes, n=x.shape[1], dim=1))


def test_complex_weights_are_named_and_left():
    with pytest.warns(
        SzilardWarning, match=r"modes \(complex numbers\) stays dense .* 320 of the network's 336"
    ):
        network = szilard.bayesianize(Spectral(), 0.5)
    assert szilard.bayes.density(network).dense == 320
    with pytest.raises(SzilardError, match="complex numbers"):
        szilard.bayesianize(Spectral(), matrices="modes")
    with pytest.raises(SzilardError, match="no linear"):
        szilard.bayesianize(nn.Linear(4, 4, dtype=torch.cfloat))
    assert szilard.cost.count(Spectral(), (16, 1)).macs > 0
    method = methods.SSVI(8, density=0.5, except_="modes")
    network, optimizer = prepared(method, Spectral(), task=Gaussian(1.0))
    step(method, network, optimizer, torch.randn(4, 16, 1), torch.randn(4, 16, 1))


def test_an_image_without_a_batch():
    network = szilard.bayesianize(nn.Sequential(nn.Conv2d(3, 8, 3)), 0.5, dense_stem=False).eval()
    x = torch.randn(3, 8, 8)
    assert torch.allclose(network(x), network(x.unsqueeze(0))[0], atol=1e-6)


def test_shapes_that_are_none():
    with pytest.raises(SzilardError, match=r"give \(4,\)"):
        szilard.cost.count(nn.Linear(4, 3), 4)
    with pytest.raises(SzilardError, match="negative"):
        szilard.cost.count(nn.Linear(4, 3), (-4,))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.bool])
def test_fit_takes_class_numbers_of_any_type(dtype):
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).to(dtype)
    split = szilard.data.Split
    data = szilard.data.DataSet(
        "mine",
        "classification",
        split(x[:40], y[:40]),
        split(x[40:60], y[40:60]),
        split(x[60:], y[60:]),
        None,
        None,
        ("no", "yes"),
        torch.zeros(1),
        torch.ones(1),
    )
    run = szilard.fit(
        methods.Deterministic(40), nn.Linear(6, 2), data, epochs=2, class_weights="balanced", progress=False
    )
    assert 0 <= run.test["accuracy"] <= 1


class Listed(nn.Module):
    """Layers that are also kept in a plain list, tuple or dict, or only referred to."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        layers = [self.a, self.b, self.c]
        self.layers = dict(enumerate(layers)) if kind is dict else kind(layers)

    def forward(self, x):
        a, b, c = self.layers.values() if isinstance(self.layers, dict) else self.layers
        return c(torch.relu(b(torch.relu(a(x)))))


@pytest.mark.parametrize("kind", [list, tuple, dict])
@pytest.mark.parametrize("method", [methods.SSVI, methods.MeanField, methods.BayesianCompression])
def test_layers_in_a_list_are_those_that_are_trained(method, kind):
    torch.manual_seed(0)
    original = Listed(kind)
    network = method(64, **({"density": 0.5} if method is methods.SSVI else {})).prepare(original)
    held = network.layers.values() if kind is dict else network.layers
    assert [id(layer) for layer in held] == [id(layer) for layer in (network.a, network.b, network.c)]
    assert type(original.a) is nn.Linear
    szilard.methods.MeanField(64).loss(network, torch.randn(8, 6), torch.zeros(8).long()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    point = szilard.bayes.point_network(network.eval())
    held = point.layers.values() if kind is dict else point.layers
    assert [type(layer) for layer in held] == [nn.Linear] * 3
    x = torch.randn(4, 6)
    with szilard.bayes.mode(network, "mean"), torch.no_grad():
        assert torch.allclose(point(x), network(x), atol=1e-5)


class Weights(nn.Module):
    """A weight in a list of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)
        self.kept = [self.a.weight]

    def forward(self, x):
        return self.b(torch.relu(self.a(x))) + 0 * self.kept[0].sum()


def test_a_weight_in_a_list_stays_dense_and_is_named():
    with pytest.warns(SzilardWarning, match=r"a\.weight \(held in two places\) stays dense"):
        network = szilard.bayesianize(Weights(), 0.5)
    assert network.kept[0] is network.a.weight


def test_a_rectifier_is_not_fused_into_a_layer_that_is_called_without_it():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
            self.first = [self.body[0]]

        def forward(self, x):
            return self.body(x) + self.first[0](x)

    torch.manual_seed(0)
    original = Both().eval()
    network = szilard.bayesianize(original).eval()
    x = torch.randn(8, 6)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-6)


def test_a_method_can_be_copied_after_a_loss():
    method = methods.SSVI(96)
    network, optimizer = prepared(method)
    x, y = batches(1)[0]
    step(method, network, optimizer, x, y)
    other, twin = copy.deepcopy((method, network))
    assert other.last_energy == method.last_energy
    assert torch.equal(other.loss(twin.train(), x, y), method.loss(network.train(), x, y))


def test_two_optimisers_carry_their_state_over_moves():
    seen = batches(12)
    found = []
    for several in (False, True):
        method = methods.SSVI(640, density=0.3, every=5, growth_batches=3, total_steps=60)
        network, _ = prepared(method)
        parameters = list(network.parameters())
        if several:
            given = [torch.optim.Adam(parameters[:3], lr=1e-3), torch.optim.Adam(parameters[3:], lr=1e-3)]
        else:
            given = [torch.optim.Adam(parameters, lr=1e-3)]
        for x, y in seen:
            method.loss(network, x, y).backward()
            for optimizer in given:
                optimizer.step()
                optimizer.zero_grad()
            method.after_step(network, given if several else given[0])
        found.append(parameters)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_weights_that_are_no_numbers_are_refused():
    network = mlp()
    with torch.no_grad():
        network[2].weight[0, 0] = float("nan")
    with pytest.raises(SzilardError, match="2 holds NaN or infinite weights"):
        szilard.bayesianize(network, 0.5)


def test_metrics_of_something_else_are_refused():
    with pytest.raises(SzilardError, match=r"what method\.predict answers"):
        szilard.metrics.evaluate(torch.rand(3, 2), torch.zeros(3))


# -- what a network asks of its layers ----------------------------------------------------------------------


class Asking(nn.Module):
    """Residual around linear layers and convolutions alone."""

    def __init__(self, layers: list[nn.Module], kind: type[nn.Module]) -> None:
        super().__init__()
        self.layers, self.kind = nn.ModuleList(layers), kind

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x) if isinstance(layer, self.kind) else layer(x)
        return x


@pytest.mark.parametrize(
    ("layers", "kind", "shape"),
    [
        ([nn.Linear(6, 6), nn.Dropout(0.0), nn.Linear(6, 6)], nn.Linear, (4, 6)),
        ([nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()], nn.Conv2d, (2, 3, 5, 5)),
        ([nn.Conv1d(3, 3, 3, padding=1), nn.Tanh()], nn.Conv1d, (2, 3, 5)),
    ],
)
def test_layers_stay_of_torchs_classes(layers, kind, shape):
    original = Asking(layers, kind).eval()
    network = szilard.bayesianize(original, 1.0, initial_std=1e-7).eval()
    x = torch.randn(*shape)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-5)
    again = copy.deepcopy(network)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))
    with pytest.raises(SzilardError, match="cannot be reset"):
        network.layers[0].reset_parameters()


def test_attention_stays_of_torchs_class():
    network = szilard.bayesianize(nn.MultiheadAttention(8, 2, batch_first=True))
    assert isinstance(network, nn.MultiheadAttention)
    assert (network.kdim, network.vdim, network.add_zero_attn) == (8, 8, False)


class Reading(nn.Module):
    """Reads weights instead of calling layers; the second both."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 16)

    def forward(self, x):
        h = torch.relu(x @ self.a.weight.T + self.a.bias)
        return self.b(h)[:, :4] + (h @ self.b.weight.t())[:, 4:8]


def test_weights_that_are_read_grow_where_the_gradient_is_largest():
    torch.manual_seed(0)
    network = szilard.bayesianize(Reading(), 0.3, point=True)
    weights = szilard.bayes.weights(network)
    x, y = torch.randn(32, 6), torch.randint(0, 4, (32,))
    dense = {name: weight.dense_mean().requires_grad_() for name, weight in weights.items()}
    a, b = dense["a"], dense["b"]
    h = torch.relu(x @ a.T + network.a.bias.detach())
    z = (h @ b.T + network.b.bias.detach())[:, :4] + (h @ b.T)[:, 4:8]
    F.cross_entropy(z, y).backward()
    for held in szilard.bayes.every_weight(network):
        support = held.weight.support
        held.weight.growth = szilard.sparse.GrowthGradient(held.rows_gradient, support.rows * support.cols)
    F.cross_entropy(network(x), y).backward()
    for name, weight in weights.items():
        found = torch.cat([part for _, part in weight.growth.stream(*dense[name].shape, torch.device("cpu"))])
        assert torch.allclose(found, dense[name].grad, atol=1e-6), name


# -- names, stems and modes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"only": "2"}, {"network.2"}),
        ({"except_": "2"}, {"network.0"}),
        ({"only": lambda name, module: name == "2"}, {"network.2"}),
    ],
)
@pytest.mark.parametrize("task", ["regression", NoisyGaussian()])
def test_names_are_those_of_the_network_that_was_passed(options, names, task):
    method = methods.SSVI(100, density=0.5, **options)
    network = method.prepare(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)), task=task)
    assert set(szilard.bayes.weights(network)) == names


def test_the_stem_is_the_first_layer_or_none():
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 4))

    frozen = network()
    frozen[0].requires_grad_(False)
    for made in (szilard.bayesianize(frozen, 0.1), szilard.bayesianize(network(), 0.1, except_="0")):
        assert szilard.bayes.weights(made)["1"].support.density == pytest.approx(0.1, abs=0.01)
    assert szilard.bayes.weights(szilard.bayesianize(network(), 0.1))["0"].support.density == 1


def test_training_in_eval_mode_is_told_once():
    method = methods.MeanField(64)
    network, optimizer = prepared(method)
    network.eval()
    x, y = batches(1)[0]

    def again():
        method.loss(network, x, y).backward()
        optimizer.step()
        method.after_step(network, optimizer)

    with pytest.warns(SzilardWarning, match="trained in eval mode"):
        again()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again()


# -- wrong arguments ------------------------------------------------------------------------------------------


def test_inputs_without_a_batch_are_refused():
    method = methods.SSVI(64)
    network = method.prepare(nn.Linear(6, 3))
    x = torch.randn(6)
    with pytest.raises(SzilardError, match="dimension of the batch"):
        method.predict(network, x)
    with pytest.raises(SzilardError, match="dimension of the batch"):
        method.loss(network, x, torch.tensor([1, 0, 1]))


def test_answers_that_depend_on_each_other_are_refused_by_the_way_out():
    class Similarity(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 4)

        def forward(self, x):
            return self.a(x) @ self.a(x).T

    method = methods.Deterministic(64)
    network, x = method.prepare(Similarity()), torch.randn(10, 6)
    with pytest.raises(SzilardError, match="batch_size="):
        method.predict(network, x, batch_size=4)
    assert method.predict(network, x).probabilities.shape == (1, 10, 10)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: szilard.bayesianize(mlp(), "0.1"), "one number"),
        (lambda: szilard.bayesianize(mlp(), only=3), "must be a pattern"),
        (lambda: methods.SSVI("100"), "whole number"),
        (lambda: methods.SSVI(10.5), "whole number"),
        (lambda: methods.SSVI(10).prepare(mlp(), task=Categorical), "give an object"),
        (lambda: Gaussian(torch.ones(2)).check(torch.zeros(4, 3), torch.zeros(4, 3)), "2 deviations"),
    ],
)
def test_arguments_of_other_types(make, match):
    with pytest.raises(SzilardError, match=match):
        make()


def test_a_support_that_is_refused_leaves_the_old_one():
    network = szilard.bayesianize(nn.Linear(24, 6), 0.3)
    state, x = network.state_dict(), torch.randn(3, 24)
    before = network.eval()(x)
    broken = {**state, "weight.support.col": state["weight.support.col"].flip(0)}
    with pytest.raises(SzilardError, match="no support"):
        network.weight.support.load_state_dict(
            {name.removeprefix("weight.support."): t for name, t in broken.items() if "support" in name}
        )
    assert torch.equal(network(x), before)


def test_two_quantiles_are_no_mean_and_noise():
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(200, generator=generator) * 5
    quantiles = torch.stack((y - 8, y + 8), 1)
    with pytest.raises(SzilardError, match="no mean and ln of its noise"):
        szilard.likelihood.choose(quantiles, y)
    noisy = torch.stack((y + 0.1, torch.zeros(200)), 1)
    assert isinstance(szilard.likelihood.choose(noisy, y).likelihood, NoisyGaussian)


def test_layers_that_a_lambda_has_captured_are_named():
    class Captured(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
            self.step = lambda x: torch.relu(self.a(x))

        def forward(self, x):
            return self.b(self.step(x))

    method = methods.SSVI(64, density=0.5)
    network = method.prepare(Captured())
    with pytest.warns(SzilardWarning, match="does not depend on the weights a, so that"):
        method.loss(network, torch.randn(8, 6), torch.zeros(8).long())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.loss(network, torch.randn(8, 6), torch.zeros(8).long())


@pytest.mark.parametrize(
    "kind", [methods.SSVI, methods.MeanField, methods.BayesianCompression, methods.Deterministic]
)
def test_ordinary_networks_have_no_such_weights(kind):
    method = kind(64)
    network = method.prepare(mlp())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.loss(network, *batches(1)[0])


def test_requires_grad_of_a_weight_can_be_set():
    network = szilard.bayesianize(mlp(), 0.5)
    weight = network[0].weight
    weight.requires_grad = False
    assert not weight.mean.requires_grad
    assert not weight.log_std.requires_grad
    assert not weight.requires_grad
    weight.requires_grad = True
    assert weight.mean.requires_grad
    assert len(weight) == 24


def test_labels_may_be_probabilities_of_classes():
    z = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    found = szilard.likelihood.choose(z, z.softmax(1)).likelihood
    assert isinstance(found, Categorical)
    assert float(found.values(z, z.softmax(1)).mean()) == 1


def test_weights_that_no_optimiser_trains_keep_their_entries():
    method = methods.SSVI(640, density=0.3, every=5, growth_batches=3, total_steps=60)
    network, _ = prepared(method)
    head = torch.optim.Adam(network[4].parameters(), lr=1e-3)
    before = [weight.support.col.clone() for weight in szilard.bayes.weights(network).values()]
    for x, y in batches(20):
        step(method, network, head, x, y)
    after = [weight.support.col for weight in szilard.bayes.weights(network).values()]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_a_picture_without_a_batch_is_refused_after_training():
    method = methods.SSVI(64, density=0.5)
    network = method.prepare(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)))
    method.loss(network, torch.randn(8, 3, 5, 5), torch.randint(0, 3, (8, 5, 5)))
    with pytest.raises(SzilardError, match="add the dimension of the batch"):
        method.predict(network, torch.randn(3, 5, 5))


def test_one_convolution_alone_is_no_stem():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    made = szilard.bayesianize(network, 0.1, only="0")
    assert szilard.bayes.weights(made)["0"].support.density == pytest.approx(0.1, abs=0.01)


def test_attention_whose_weights_are_read():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            one = self.attention
            q, k, v = F.linear(x, one.in_proj_weight, one.in_proj_bias).chunk(3, -1)
            return one.out_proj(F.scaled_dot_product_attention(q, k, v))

    torch.manual_seed(0)
    original = Own().eval()
    nn.init.normal_(original.attention.in_proj_bias)
    network = szilard.bayesianize(original).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-5)


def test_a_common_share_of_one_has_an_interval_with_width():
    believed = szilard.metrics.Predictive.from_gaussian(torch.zeros(1, 36, 2), torch.ones(1, 36, 2))
    found = szilard.metrics.several_intervals(believed, torch.zeros(36, 2), torch.ones(2))
    assert found["coverage95"] == szilard.metrics.wilson(36, 36)


@pytest.mark.parametrize(
    "write",
    [
        nn.init.xavier_uniform_,
        lambda weight: weight.mul_(2),
        lambda weight: weight.copy_(torch.ones(24, 6)),
        lambda weight: torch.clamp_(weight, -1, 1),
    ],
)
def test_writing_into_a_weight_is_refused(write):
    network = szilard.bayesianize(mlp(), 0.5)
    with torch.no_grad(), pytest.raises(SzilardError, match="would write into"):
        write(network[0].weight)
    assert float(torch.norm(network[0].weight)) > 0
    assert network[0].weight.abs().sum() > 0


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_parts_of_a_sequence_are_what_they_were(density):
    torch.manual_seed(0)
    original = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    network = szilard.bayesianize(original, density, point=density < 1)
    if density < 1:
        original = szilard.bayes.point_network(network)
    x = torch.randn(4, 6)
    with torch.no_grad(), szilard.bayes.mode(network, "mean"):
        assert torch.allclose(network[0](x), original[0](x), atol=1e-6)
        assert torch.allclose(network[:2](x), original[:2](x), atol=1e-6)
        assert torch.allclose(network(x), original(x), atol=1e-6)
        seen = []
        network[0].register_forward_hook(lambda module, given, output: seen.append(output))
        network(x)
        assert torch.allclose(seen[0], original[0](x), atol=1e-6)


@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("method", [methods.SSVI, methods.MeanField, methods.Deterministic])
def test_outputs_of_layers_may_be_changed_in_place(method, density):
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
            self.conv = nn.Conv1d(1, 2, 3, padding=1)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            h = self.relu(self.a(x))
            skip, h = h, self.conv(h[:, None])[:, 0]
            h += skip
            h = h[:, None]
            attended, _ = self.attention(h, h, h)
            attended += 1
            return self.b(attended[:, 0])

    options = {} if method is methods.MeanField else {"density": density}
    made = method(16, **options)
    network = made.prepare(InPlace())
    x, y = torch.randn(16, 6), torch.randint(0, 3, (16,))
    made.loss(network, x, y).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "dense"),
    [
        ({"except_": "*.out_proj"}, "attention.out_proj.weight"),
        ({"except_": "*.in_proj_weight"}, "attention.in_proj_weight"),
        ({"skip": ["attention.out_proj"]}, "attention.out_proj.weight"),
    ],
)
def test_a_part_of_an_attention_may_be_left_out(options, dense):
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x)[0].mean(1))

    torch.manual_seed(0)
    original = Attending().eval()
    network = szilard.bayesianize(original, 1.0, **options).eval()
    assert dense in dict(network.named_parameters())
    assert len(szilard.bayes.weights(network)) == 2
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-5)
