"""Batch-innermost activations, and ReLUs fused into the layer before them, do not change the outputs."""

import copy
import pickle

import pytest
import torch
from kernels_used import needs_kernels
from torch import nn

import szilard
from szilard import bayes
from szilard.bayes.fuse import Rectifying
from szilard.kernels.layout import is_innermost
from szilard.networks import LeNet5, ResNet


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gradients(network, x, how):
    network.zero_grad()
    with bayes.mode(network, how):
        y = network(x)
    y.square().sum().backward()
    return y.detach(), {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@needs_kernels
@pytest.mark.parametrize("make", [lambda: ResNet((3, 12, 12), 5, depth=8), lambda: LeNet5((3, 16, 14), 5)])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_gives_the_outputs_of_the_torch_path(make, training, monkeypatch):
    network = szilard.bayesianize(make(), 0.2, fresh=True).train(training)
    twin = copy.deepcopy(network)
    x = torch.randn(6, 3, 16 if isinstance(network, LeNet5) else 12, 14 if isinstance(network, LeNet5) else 12,
                    generator=generator())  # fmt: skip
    y, grads = gradients(network, x, "mean")
    monkeypatch.setenv("SZILARD_KERNELS", "torch")
    expected, others = gradients(twin, x, "mean")
    assert torch.allclose(y, expected, atol=1e-4, rtol=1e-4)
    assert grads.keys() == others.keys()
    for name, grad in grads.items():
        assert torch.allclose(grad, others[name], atol=2e-3 * float(others[name].abs().max()) + 1e-5), name
    for (name, ours), theirs in zip(network.named_buffers(), twin.buffers(), strict=True):
        assert torch.allclose(ours.double(), theirs.double(), atol=1e-5), name


@needs_kernels
def test_the_layout_is_kept_from_layer_to_layer():
    network = szilard.bayesianize(ResNet((3, 12, 12), 5, depth=8), 0.2, fresh=True).train()
    seen = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | bayes.BayesConv) or name.endswith("shortcut"):
            module.register_forward_hook(lambda _, __, y, name=name: seen.update({name: is_innermost(y)}))
    network(torch.randn(4, 3, 12, 12))
    assert len(seen) > 10
    assert all(seen.values()), [name for name, stays in seen.items() if not stays]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_running_statistics_equal_torchs(momentum, affine):
    norm = nn.BatchNorm2d(4, momentum=momentum, affine=affine)
    network = szilard.bayesianize(nn.Sequential(nn.Conv2d(2, 4, 3), norm), 0.5, fresh=True).train()
    twin = nn.BatchNorm2d(4, momentum=momentum, affine=affine)
    with bayes.mode(network, "mean"):
        for step in range(3):
            x = torch.randn(8, 2, 6, 6, generator=generator(step))
            twin(network[0](x).contiguous())
            network(x)
    assert torch.allclose(network[1].running_mean, twin.running_mean, atol=1e-6)
    assert torch.allclose(network[1].running_var, twin.running_var, atol=1e-6)
    assert network[1].num_batches_tracked == twin.num_batches_tracked
    network.eval()
    twin.eval()
    assert torch.allclose(network(x), twin(network[0](x)), atol=1e-5)


def mlp():
    return nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))


def test_a_relu_is_fused_into_the_layer_before():
    network = szilard.bayesianize(mlp(), 0.3, fresh=True).train()
    assert type(network) is Rectifying
    assert [type(m) for m in network] == [bayes.BayesLinear, nn.ReLU] * 2 + [bayes.BayesLinear]
    plain = copy.deepcopy(network)
    plain.__class__ = nn.Sequential
    x = torch.randn(9, 30, generator=generator())
    for how in ("local", "mean", "sample"):
        network[0].noise.reset(1)
        plain[0].noise.reset(1)
        y, grads = gradients(network, x, how)
        expected, others = gradients(plain, x, how)
        assert torch.allclose(y, expected, atol=1e-6)
        for name, grad in grads.items():
            assert torch.allclose(grad, others[name], atol=1e-5), (how, name)


def test_the_growth_gradient_is_taken_before_the_relu():
    fused = szilard.bayesianize(mlp(), 0.3, fresh=True).train()
    plain = copy.deepcopy(fused)
    plain[0].relu, plain[1] = False, nn.ReLU()
    x = torch.randn(9, 30, generator=generator())
    found = []
    for network in (fused, plain):
        network[0].noise.reset(2)
        growth = network[0].growth = szilard.topology.GrowthGradient(network[0].rows_gradient)
        network(x).square().sum().backward()
        ((grad, seen),) = growth.batches
        assert torch.equal(seen, x)
        found.append(grad)
    assert torch.allclose(*found, atol=1e-6)
    assert bool((found[0] == 0).any())


def test_relus_with_hooks_or_used_twice_are_not_fused():
    watched, shared = mlp(), nn.ReLU()
    watched[1].register_forward_hook(lambda *_: None)
    assert type(szilard.bayesianize(watched, 0.5)[1]) is nn.ReLU
    twice = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    assert [type(m) for m in szilard.bayesianize(twice, 0.5)][1::2] == [nn.ReLU, nn.ReLU]


@pytest.mark.parametrize("make", [mlp, lambda: ResNet((3, 8, 8), 5, depth=8)])
def test_a_converted_network_keeps_names_and_can_be_pickled(make):
    plain = make()
    network = szilard.bayesianize(plain, 0.3)
    kept = {k for k in plain.state_dict() if "bn" in k or k.endswith("bias")}
    assert kept <= set(network.state_dict())
    again = pickle.loads(pickle.dumps(network))
    x = torch.randn(2, 30) if isinstance(plain, nn.Sequential) else torch.randn(2, 3, 8, 8)
    assert torch.equal(again.eval()(x), network.eval()(x))


@needs_kernels
def test_an_activation_used_twice_gets_both_gradients():
    network = szilard.bayesianize(nn.Conv2d(3, 6, 3, padding=1), 0.3, fresh=True, dense_stem=False)
    x = torch.randn(4, 3, 5, 5, generator=generator()).requires_grad_()
    with bayes.mode(network, "mean"):
        first = network(x).detach().requires_grad_()
        a, b = first.relu(), first * 2
        (a.square().sum() + (b * a).sum()).backward()
    twin = first.detach().contiguous().requires_grad_()
    (twin.relu().square().sum() + (twin * 2 * twin.relu()).sum()).backward()
    assert torch.allclose(first.grad, twin.grad)


@pytest.mark.parametrize("training", [True, False])
def test_a_whole_network_compiles(training):
    network = szilard.bayesianize(ResNet((3, 8, 8), 4, depth=8), 0.3, fresh=True).train(training)
    x = torch.randn(5, 3, 8, 8, generator=generator())
    compiled = torch.compile(copy.deepcopy(network), backend="aot_eager")
    with bayes.mode(network, "mean"):
        expected = network(x)
    for layer in compiled.modules():
        if isinstance(layer, bayes.BayesConv | bayes.BayesLinear):
            layer.mode = "mean"
    y = compiled(x)
    assert torch.allclose(y, expected, atol=1e-4)
    y.sum().backward()
