"""torch.func, forward-mode and second derivatives of networks with sparse weights, compared with dense layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacrev, jvp, vmap

from szilard import SzilardError, bayes
from szilard.bayes import bayesianize

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))


def mlp():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), X


def convolutions():
    network = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3, groups=2),
        nn.Tanh(), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    return network, IMAGES


def volumes():
    network = nn.Sequential(nn.Conv3d(1, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(100, 3))
    return network, IMAGES[:, :1, None].repeat(1, 1, 2, 1, 1)


class Own(nn.Linear):
    def forward(self, x):
        return super().forward(x).sin()


def subclass():
    return nn.Sequential(Own(8, 6), nn.Linear(6, 3)), X


NETWORKS = [mlp, convolutions, volumes, subclass]


@pytest.fixture(params=NETWORKS, ids=lambda build: build.__name__)
def pair(request):
    """A sparse network in eval mode, a dense network that computes the same, and inputs."""
    torch.manual_seed(0)
    base, x = request.param()
    with pytest.warns() if request.param in (volumes, subclass) else _nothing():
        network = bayesianize(base, 0.4, dense_stem=False).eval()
    return network, bayes.point_network(network).eval(), x


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_vmap_jvp_and_jacobians(pair):
    network, plain, x = pair
    near(vmap(lambda v: network(v[None])[0])(x), plain(x))
    direction = torch.ones_like(x)
    near(jvp(network, (x,), (direction,))[1], jvp(plain, (x,), (direction,))[1])
    near(jacrev(lambda v: network(v[None])[0])(x[0]), jacrev(lambda v: plain(v[None])[0])(x[0]))
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(network(forward_ad.make_dual(x.contiguous(), direction))).tangent
    near(tangent, jvp(plain, (x,), (direction,))[1])


def test_per_example_gradients(pair):
    network, _, x = pair
    parameters = dict(network.named_parameters())

    def loss(parameters, v):
        return functional_call(network, parameters, (v[None],)).square().sum()

    each = vmap(grad(loss), (None, 0))(parameters, x)
    for number in range(len(x)):
        network.zero_grad()
        loss(parameters, x[number]).backward()
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                near(each[name][number], parameter.grad)


def test_per_example_gradients_with_noise(pair):
    """Under vmap all examples share one draw of the noise; here the noise is reset before each example."""
    network, _, x = pair
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    parameters = dict(network.named_parameters())

    def loss(parameters, v):
        return functional_call(network, parameters, (v[None],)).square().sum()

    def reset():
        for stream in bayes.streams(network):
            stream.reset(1)

    reset()
    each = vmap(grad(loss), (None, 0))(parameters, x)
    for number in range(2):
        reset()
        alone = grad(loss)(parameters, x[number])
        for name, gradient in alone.items():
            near(each[name][number], gradient)
    assert any(float(g.abs().max()) > 0 for name, g in each.items() if name.endswith("log_std"))


@pytest.mark.parametrize("training", [False, True])
def test_a_gradient_penalty(pair, training):
    """∂/∂θ of |∂y/∂x|², in mean mode; in training BatchNorm uses the statistics of the batch."""
    network, plain, x = pair
    network.train(training), plain.train(training)

    def gradients(network):
        inputs = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(network(inputs).tanh().sum(), inputs, create_graph=True)
        first.square().sum().backward()
        return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    with bayes.mode(network, "mean"):
        got = gradients(network)
    want = gradients(plain)
    for name, weight in bayes.weights(network).items():
        layer = name if name in want else f"{name}.weight"
        near(weight.mean.grad, weight.support.gather(want[layer]))
    assert [n for n in want if n.endswith("bias")] == [n for n in got if n.endswith("bias")]


def test_second_derivatives_need_the_sample_mode():
    network = bayesianize(mlp()[0], 0.4).train()
    inputs = X.clone().requires_grad_()

    def penalty():
        (first,) = torch.autograd.grad(network(inputs).tanh().sum(), inputs, create_graph=True)
        first.square().sum().backward()

    with pytest.raises(SzilardError, match=r"'sample'\) for one draw of the weights"):
        penalty()
    with bayes.mode(network, "sample"):
        penalty()
    assert all(float(w.log_std.grad.abs().max()) > 0 for w in bayes.weights(network).values())


def test_second_derivatives_of_the_kl():
    for prior in ("fan-in", "learned"):
        network = bayesianize(nn.Sequential(nn.Linear(4, 3)), prior=prior).double()
        weight = network[0].weight

        def kl(mean, log_std, weight=weight):
            return weight.prior.kl(mean, log_std, weight.fan_in)

        given = [p.detach().clone().requires_grad_() for p in (weight.mean, weight.log_std)]
        assert torch.autograd.gradcheck(kl, given)
        assert torch.autograd.gradgradcheck(kl, given)
        near(grad(kl)(*given), torch.autograd.grad(kl(*given), given[0])[0])


def test_vmap_over_stacked_parameters():
    """An ensemble: vmap over several sets of parameters."""
    network = bayesianize(mlp()[0], 0.4).eval()
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    several = {name: torch.stack([p, 2 * p]) for name, p in parameters.items()}
    both = vmap(lambda p: functional_call(network, p, (X,)))(several)
    near(both[0], network(X))
    near(both[1], functional_call(network, {name: 2 * p for name, p in parameters.items()}, (X,)))
