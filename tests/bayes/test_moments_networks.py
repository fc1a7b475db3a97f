"""Whole networks on means and variances: without variance they answer as their means, with it close to draws."""

from __future__ import annotations

import warnings

import few_steps
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from szilard import SzilardError, SzilardWarning, bayes, methods, networks
from szilard.bayes import GaussianTensor, Moments, propagate
from szilard.bayes.batch_innermost import (
    InnermostMaxPool,
    InnermostNorm,
    InnermostNormReLU,
    InnermostShortcut,
)
from szilard.bayes.fuse import AppliedReLU, Rectifying


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quiet(network, density=1.0, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        return bayes.bayesianize(network, density, **options)


def lively(network):
    """With running statistics and scales that are not those of a new network."""
    for number, module in enumerate(network.modules()):
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.copy_(random(module.num_features, seed=number) / 5)
            module.running_var.copy_(random(module.num_features, seed=number + 1).square() + 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


def without_variance(network):
    with torch.no_grad():
        for weight in bayes.weights(network).values():
            weight.log_std.fill_(-60.0)
    return network


def deviations(network, x, draws=200, seed=0):
    """Mean and standard deviation over draws. Their standard errors for 200 draws: 0.07 and 0.05 deviations."""
    found = []
    with torch.no_grad():
        for number in range(draws):
            with bayes.drawn(network, seed, number):
                output = network(x)
                found.append(output if isinstance(output, torch.Tensor) else output[0])
    stacked = torch.stack(found)
    return stacked.mean(0), stacked.std(0)


NAMED = {
    "mlp": (5,), "mlp:20,10": (1, 4, 4), "lenet5": (1, 16, 16), "resnet20": (3, 8, 8), "resnet20-b": (3, 8, 8),
    "resnet32": (3, 8, 8),
}  # fmt: skip


@pytest.mark.parametrize("spec", NAMED)
@pytest.mark.parametrize(
    ("density", "pattern"), [(1.0, "unstructured"), (0.3, "unstructured"), (0.5, "block32"), (0.5, "neuron")]
)
def test_without_variance_every_network_answers_as_its_mean(spec, density, pattern):
    shape = NAMED[spec]
    network = lively(networks.build(spec, shape, 3).requires_grad_(True).eval())
    network = without_variance(quiet(network, density, pattern=pattern).eval())
    x = random(4, *shape, seed=1)
    with torch.no_grad():
        wanted = network(x)
    found = propagate(network, x)
    assert isinstance(found, Moments)
    # Rounding through up to 32 layers; how products are summed depends on the processor.
    torch.testing.assert_close(found.mean, wanted, rtol=1e-4, atol=1e-4)
    assert float(found.variance.max()) < 1e-20
    torch.testing.assert_close(propagate(network, x[:1]).mean, wanted[:1], rtol=1e-4, atol=1e-4)


class Fused(nn.Module):
    """Every module that ``bayesianize`` changes for speed."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.both = nn.Conv2d(8, 8, 3, padding=1), networks.norm.NormReLU(8)
        self.pool, self.shortcut = nn.MaxPool2d(2), networks.resnet.PaddedShortcut(2, 4)
        self.third = nn.Conv2d(8, 12, 1)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(12 * 16, 20), nn.ReLU(), nn.Linear(20, 3), AppliedReLU()
        )

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = self.both(self.second(x), x)
        return self.head(self.third(self.pool(x)) + self.shortcut(x))


def test_fused_modules():
    torch.manual_seed(0)
    x = random(4, 2, 8, 8)
    network = quiet(lively(Fused().eval()), 0.5, dense_stem=False).eval()
    kinds = {type(module) for module in network.modules()}
    assert {InnermostNorm, InnermostNormReLU, InnermostMaxPool, InnermostShortcut, Rectifying} <= kinds
    mean, sd = deviations(network, x)
    found = propagate(network, x)
    assert float((found.mean - mean).abs().max() / sd.mean()) < 0.5
    assert 0.6 < float((found.variance.sqrt() / sd).log().mean().exp()) < 1.2
    without_variance(network)
    torch.testing.assert_close(propagate(network, x).mean, network(x).detach(), rtol=1e-5, atol=1e-5)


def test_fused_relu_after_a_layer_that_always_applies_it():
    network = quiet(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))).eval()
    want = propagate(network, random(5, 4))
    network[0].relu, network[1] = True, AppliedReLU()
    found = propagate(network, random(5, 4))
    torch.testing.assert_close(found.variance, want.variance)


class Styles(nn.Module):
    """What people write: in-place activations, +=, sums with shortcuts, x + x, indexing, cat, a view and a mean."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.relu, self.out = nn.ReLU(inplace=True), nn.Linear(8, 3)

    def forward(self, x):
        x = self.relu(self.a(x))
        identity = x
        y = self.b(x)
        y = F.hardtanh(y, -2, 2, inplace=True)
        y += identity
        y = y + y
        y *= 0.5
        z = self.c(self.relu(y))
        z = torch.cat([z[:, :4], 2 * z[:, 4:] - 1], dim=-1).view(len(x), 2, 4).permute(0, 2, 1).flatten(1)
        return {"logits": self.out(z), "norm": z.mean(1), "others": (z[..., :2], 3)}


def test_styles_of_writing():
    network, x = quiet(Styles()).eval(), random(20, 6)
    found = propagate(network, x)
    assert set(found) == {"logits", "norm", "others"}
    assert found["others"][1] == 3
    draws = []
    with torch.no_grad():
        for number in range(300):  # standard errors 0.06 and 0.04 of the deviation
            with bayes.drawn(network, 1, number):
                draws.append(network(x)["logits"])
    draws = torch.stack(draws)
    mean, variance = found["logits"]
    assert float(((mean - draws.mean(0)) / draws.std(0)).abs().max()) < 0.3
    ratio = variance.sqrt() / draws.std(0)
    assert 0.8 < float(ratio.log().mean().exp()) < 1.05
    without_variance(network)
    torch.testing.assert_close(
        propagate(network, x)["logits"].mean, network(x)["logits"], rtol=1e-5, atol=1e-6
    )


def test_draws_and_uncertain_inputs():
    network, x = quiet(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))).eval(), random(3, 4)
    with bayes.drawn(network, 0, 1):  # a draw is a fixed function
        mean, variance = propagate(network, x)
        torch.testing.assert_close(mean, network(x).detach())
        assert not variance.any()
    certain = propagate(network, x).variance
    assert bool((propagate(network, GaussianTensor(x, torch.ones_like(x))).variance > certain).all())
    ordinary = nn.Linear(4, 2).eval()  # without Gaussian weights, for uncertain inputs
    found = propagate(ordinary, GaussianTensor(x, torch.ones_like(x)))
    torch.testing.assert_close(found.variance, ordinary.weight.square().sum(1).expand(3, 2).detach())
    assert not propagate(ordinary, x).variance.any()
    with pytest.raises(SzilardError, match="training mode"):
        propagate(network.train(), x)


def test_weights_that_are_read_instead_of_called():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 4)

        def forward(self, x):
            return F.linear(self.first(x), self.second.weight) * 2

    network, x = quiet(Reads()).eval(), random(50, 4)
    found, (mean, sd) = propagate(network, x), deviations(network, x, 800)
    assert float(((found.mean - mean) / sd).abs().max()) < 0.2
    assert float((found.variance.sqrt() / sd).log().abs().mean()) < 0.1


# -- attention, embeddings, recurrent networks --------------------------------------------------------------


class Attending(nn.Module):
    def __init__(self, need_weights, **options):
        super().__init__()
        self.attention, self.need = nn.MultiheadAttention(8, 2, batch_first=True, **options), need_weights

    def forward(self, x):
        causal = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.attention(x, x, x, attn_mask=causal, need_weights=self.need)[0]


def hooked(module):
    module.attention.register_forward_hook(lambda m, given, out: None)
    return module


ATTENDING = {
    "weights": lambda: Attending(True),
    "no weights": lambda: Attending(False),
    "torch's own": lambda: hooked(Attending(True)),  # drawn weights in nn.MultiheadAttention
    "torch's own, no weights": lambda: hooked(Attending(False)),
    "layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "layer, norm first, gelu": lambda: nn.TransformerEncoderLayer(
        8, 2, 16, activation="gelu", norm_first=True, batch_first=True
    ),
    "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    "decoder": lambda: Decoding(),  # noqa: PLW0108 (defined below)
}


class Decoding(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        return self.layer(x, x.flip(1))


@pytest.mark.parametrize("name", ATTENDING)
def test_attention(name):
    """Deviations within 15 % of those of draws on average: scores and values share weights and inputs."""
    torch.manual_seed(0)
    network, x = quiet(ATTENDING[name](), initial_std=0.3).eval(), random(8, 5, 8)
    found, (mean, sd) = propagate(network, x), deviations(network, x)
    assert float(((found.mean - mean) / sd).square().mean().sqrt()) < 0.2
    assert 0.85 < float((found.variance.sqrt() / sd).log().mean().exp()) < 1.15
    without_variance(network)
    with torch.no_grad():
        torch.testing.assert_close(propagate(network, x).mean, network(x), rtol=1e-4, atol=1e-5)


def test_attention_of_torch_with_masks_and_shapes():
    """The rule of multi_head_attention_forward: every mask, and the shapes of unbatched and sequence-first inputs."""
    torch.manual_seed(0)
    for batch_first, batched in ((True, True), (False, True), (False, False)):
        module = nn.MultiheadAttention(8, 2, batch_first=batch_first, kdim=6, vdim=4).eval()
        q, k, v = random(3, 5, 8), random(3, 5, 6, seed=1), random(3, 5, 4, seed=2)
        if not batched:
            q, k, v = q[0], k[0], v[0]
        length, batch = (5, 3) if batch_first else (3, 5 if batched else 1)
        padding = torch.zeros((batch, length) if batched else (length,), dtype=torch.bool)
        padding[..., -1] = True
        if not batched:
            length = 5
            padding = torch.zeros(5, dtype=torch.bool)
        mask = torch.zeros(length, length, dtype=torch.bool).fill_diagonal_(True) & False
        for average in (True, False):
            options = {"key_padding_mask": padding, "attn_mask": mask, "average_attn_weights": average}
            with torch.no_grad():
                wanted, weights = module(q, k, v, **options)
            given = (GaussianTensor(t, torch.zeros_like(t)) for t in (q, k, v))
            found, shown = module(*given, **options)
            torch.testing.assert_close(found.moments.mean, wanted, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(shown, weights, rtol=1e-5, atol=1e-6)
    with pytest.raises(SzilardError, match="added keys"):
        nn.MultiheadAttention(8, 2, add_bias_kv=True).eval()(
            *[GaussianTensor(random(3, 2, 8), torch.ones(3, 2, 8))] * 3
        )


def test_embeddings_and_convolutions_of_sequences():
    torch.manual_seed(0)

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.convolution = nn.Embedding(20, 8, padding_idx=0), nn.Conv1d(8, 6, 3, padding=1)
            self.out = nn.Linear(6, 2)

        def forward(self, words):
            x = F.relu(self.convolution(self.table(words).transpose(1, 2)))
            return self.out(F.max_pool1d(x, x.shape[-1]).squeeze(-1))

    network = quiet(Words()).eval()
    words = torch.randint(0, 20, (30, 7), generator=torch.Generator().manual_seed(0))
    found, (mean, sd) = propagate(network, words), deviations(network, words, 300)
    assert float(((found.mean - mean) / sd).square().mean().sqrt()) < 0.3
    assert 0.8 < float((found.variance.sqrt() / sd).log().mean().exp()) < 1.15


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell])
def test_recurrent_networks_are_refused_by_name(kind):
    network = quiet(kind(4, 3)).eval()
    name = {nn.LSTM: "lstm", nn.GRU: "gru", nn.RNN: "rnn_tanh", nn.LSTMCell: "lstm_cell"}[kind]
    with pytest.raises(SzilardError, match=f"variance of {name}; register one .* or predict with samples"):
        propagate(network, random(5, 4) if kind is nn.LSTMCell else random(2, 5, 4))


def test_probabilities_as_outputs_are_refused_with_advice():
    network = quiet(nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))).eval()
    with pytest.raises(SzilardError, match="return logits"):
        propagate(network, random(2, 4))


# -- export -------------------------------------------------------------------------------------------------


class Propagated(nn.Module):
    """Mean and variance as two outputs of one module."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return tuple(propagate(self.network, x))


@pytest.mark.parametrize(
    ("batch", "density"),
    [
        ("any", 0.5),
        *(
            pytest.param(*rest, marks=pytest.mark.slow)
            for rest in (("any", 1.0), ("fixed", 0.5), ("fixed", 1.0))
        ),
    ],
)
def test_the_pass_can_be_exported(density, batch):
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2),
    )  # fmt: skip
    module = Propagated(quiet(lively(network.eval()), density, dense_stem=False).eval())
    x = random(4, 1, 8, 8)
    shapes = None if batch == "fixed" else ({0: torch.export.Dim("batch", min=2, max=64)},)
    program = torch.export.export(module, (x,), dynamic_shapes=shapes)
    y = x if batch == "fixed" else random(7, 1, 8, 8, seed=3)
    for found, wanted in zip(program.module()(y), module(y), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    names = {str(node.target) for node in program.graph.nodes}
    assert not any("szilard" in name for name in names)


# -- methods ------------------------------------------------------------------------------------------------


STEPS = 60


def finished(name, **options):
    """A method's network after some steps on two classes of small images."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 32), nn.ReLU(),
        nn.Linear(32, 3),
    )  # fmt: skip
    if name == "early-bird":
        network.insert(1, nn.BatchNorm2d(8))
    y = torch.arange(96) % 3
    x = random(96, 1, 8, 8) + random(3, 1, 8, 8, seed=1)[y]
    method = methods.make(name, len(x), total_steps=STEPS, lr=1e-2, **options)
    network = method.prepare(network)
    optimizer = method.optimizer(network)
    for _ in range(STEPS):
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    method.finish(network, [(x, y)])
    return network.eval(), random(64, 1, 8, 8, seed=2) + random(3, 1, 8, 8, seed=1)[torch.arange(64) % 3]


#: Of the horseshoe at T = 1 so few weights are left after so few steps that all deviations are equal.
NAMES = [(name, {}) for name in methods.names() if name not in ("elastic-ticket", *few_steps.OPTIONS)] + [
    ("bayesian-compression", {"prior": "horseshoe", "temperature": 0.1})
]


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_networks_of_every_method(name, options):
    network, x = finished(name, **options)
    found = propagate(network, x)
    if all(weight.is_point for weight in bayes.weights(network).values()):
        torch.testing.assert_close(found.mean, network(x).detach(), rtol=1e-5, atol=1e-5)
        assert not found.variance.any()
        return
    mean, sd = deviations(network, x)
    mine = found.variance.sqrt()
    assert bool((mine[sd == 0] == 0).all())  # an output without weights
    seen = sd > 0
    found, mine, mean, sd = Moments(found.mean[seen], found.variance[seen]), mine[seen], mean[seen], sd[seen]
    correlation = torch.corrcoef(torch.stack([mine.flatten(), sd.flatten()]))[0, 1]
    ratio = (mine / sd).log().mean().exp()
    error = ((found.mean - mean) / sd).square().mean().sqrt()
    print(f"{name}: sd ratio {ratio:.3f}, correlation {correlation:.3f}, mean error {error:.3f} sd")
    assert correlation > 0.9
    assert 0.6 < ratio < 1.25
    assert error < 0.3
