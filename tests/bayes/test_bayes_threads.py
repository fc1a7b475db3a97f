"""Predictions of one network from several threads are bit-identical to those of one thread."""

import copy
import threading

import few_steps
import pytest
import torch
from thread_tools import count_wrong
from torch import nn

import szilard
from szilard import bayes, methods
from szilard.data import DataSet
from szilard.errors import SzilardError
from szilard.networks import LeNet5, ResNet, check_fits
from szilard.networks.evaluating import evaluating


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Attention(nn.Module):
    """Treats 12 inputs as a sequence of three vectors of length four."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.3, batch_first=True)
        self.encoder, self.out = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.encoder(x.view(-1, 3, 4)).mean(1))


def normed():
    return nn.Sequential(
        nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3)
    )  # fmt: skip


def prepared(name, plain, x, *, training=True):
    """A method and its network, with considerable noise and non-trivial running statistics."""
    method = methods.make(name, 40, total_steps=20, **few_steps.OPTIONS.get(name, {}))
    network = method.prepare(plain).train()
    for weight in bayes.weights(network).values():
        if weight.log_std is not None:
            nn.init.constant_(weight.log_std, -1.0)
    method._reset_noise(network)
    with torch.no_grad():
        for _ in range(2):  # running statistics
            network(x + 1)
    return method, network.train(training)


def predictions_of(method, network, x):
    """Predictions that differ in seed, samples and batch size, and outputs within thread-local draws and modes."""

    def predicted(**how):
        return lambda: method.predict(network, x, **how).samples

    def held(block):
        def ask():
            with torch.no_grad(), bayes.evaluating(network), block():
                return torch.cat([network(x), network(x)])

        return ask

    return [
        predicted(samples=3), predicted(samples=3, seed=7), predicted(samples=2, batch_size=2),
        predicted(samples=1, seed=3), held(lambda: bayes.drawn(network, 5)), held(lambda: bayes.drawn(network, 5, 1)),
        held(lambda: bayes.mode(network, "mean")),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["normed", "attention"])
@pytest.mark.parametrize("name", methods.names())
def test_every_method_predicts_the_same_in_threads(name, kind):
    if name == "elastic-ticket" or (name == "early-bird" and kind == "attention"):
        return  # one needs a ticket of a known family, the other BatchNorm
    torch.manual_seed(0)
    x = torch.randn(5, 12, generator=generator())
    method, network = prepared(name, normed() if kind == "normed" else Attention(), x)
    state = copy.deepcopy(network.state_dict())
    assert count_wrong(predictions_of(method, network, x), threads=4) == 0
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("make", [lambda: ResNet((1, 8, 8), 3, depth=8), lambda: LeNet5((1, 12, 12), 3)])
@pytest.mark.parametrize("pattern", ["unstructured", "neuron"])
def test_convolutions_predict_the_same_in_threads(make, pattern):
    torch.manual_seed(0)
    network = make()
    x = torch.randn(3, 1, *[12 if isinstance(network, LeNet5) else 8] * 2, generator=generator())
    method = methods.SSVI(40, density=0.2, initial_std=1.0, pattern=pattern)
    network = method.prepare(network).train()
    assert count_wrong(predictions_of(method, network, x), threads=4) == 0


def test_a_compiled_network_predicts_the_same_in_threads():
    torch.manual_seed(0)
    x = torch.randn(5, 12, generator=generator())
    method, network = prepared("ssvi", normed(), x, training=False)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    expected = [method.predict(network, x, 2, seed=seed).mean for seed in (0, 1)]
    calls = [lambda seed=seed: method.predict(compiled, x, 2, seed=seed).mean for seed in (0, 1)]
    assert torch.allclose(torch.stack([ask() for ask in calls]), torch.stack(expected), atol=1e-6)
    assert count_wrong(calls, threads=4, rounds=3) == 0


def test_draws_and_modes_are_thread_local():
    network = szilard.bayesianize(nn.Sequential(nn.Linear(6, 4)), initial_std=1.0).eval()
    x, found_in_thread = torch.randn(3, 6, generator=generator()), []
    mean = network(x)
    with bayes.drawn(network, 1):
        drawn = network(x)
        thread = threading.Thread(target=lambda: found_in_thread.append(network(x)))
        thread.start()
        thread.join()
        with bayes.drawn(network, 2), bayes.mode(network, "mean"):
            assert not torch.equal(network(x), drawn)
        assert torch.equal(network(x), drawn)  # the outer draw is restored
        assert torch.equal(copy.deepcopy(network)(x), mean)
    assert torch.equal(found_in_thread[0], mean)
    assert torch.equal(network(x), mean)
    assert not torch.equal(drawn, mean)


def test_contexts_that_end_out_of_order_or_with_an_error_are_cleaned_up():
    network = szilard.bayesianize(nn.Sequential(nn.Linear(6, 4)), initial_std=1.0).eval()
    x = torch.randn(3, 6, generator=generator())
    mean = network(x)

    def outputs(seed):
        with bayes.evaluating(network), bayes.drawn(network, seed):
            while True:
                yield network(x)

    first, second = outputs(1), outputs(2)
    one, two = next(first), next(second)
    first.close()
    assert torch.equal(next(second), two)
    closer = threading.Thread(target=second.close)  # as a garbage collector might
    closer.start()
    closer.join()
    assert not torch.equal(one, two)
    assert torch.equal(network(x), mean)
    with pytest.raises(ZeroDivisionError), bayes.drawn(network, 1), bayes.mode(network, "sample"):
        raise ZeroDivisionError
    assert torch.equal(network(x), mean)


def test_modes_and_draws_set_on_a_layer_are_its_defaults():
    network = szilard.bayesianize(nn.Sequential(nn.Linear(6, 4)), initial_std=1.0).train()
    x = torch.randn(3, 6, generator=generator())
    network[0].mode = "mean"
    assert torch.equal(network(x), network(x))
    with bayes.mode(network, "auto"):
        assert not torch.equal(network(x), network(x))
    network[0].weight.draw = torch.zeros_like(network[0].weight.mean)
    assert torch.equal(network(x), network[0].bias.expand(3, 4))
    with bayes.drawn(network, 0):
        assert not torch.equal(network(x), network[0].bias.expand(3, 4))
    assert torch.equal(network(x), network[0].bias.expand(3, 4))


def test_eval_mode_ends_with_its_last_context():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))).train()
    network[1][1].eval()
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with evaluating(network[1]):  # a submodule
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    with evaluating(network):
        thread.start()
        entered.wait()
    assert [m.training for m in (network, network[0], network[1], network[1][0])] == [
        True,
        True,
        False,
        False,
    ]
    leave.set()
    thread.join()
    assert network[1].training
    assert network[1][0].training
    assert not network[1][1].training
    with evaluating(network):  # nested contexts in one thread each restore the mode that they found
        network[1].train()
        with evaluating(network):
            assert not network[1].training
        assert network[1].training
        assert not network[0].training
    assert network.training


def test_eval_mode_is_restored_if_a_modules_eval_raises():
    class Stubborn(nn.Linear):
        def eval(self):
            raise RuntimeError("no")

    network = Stubborn(2, 2)
    with pytest.raises(RuntimeError, match="no"), evaluating(network):
        pass
    assert network.training
    with pytest.raises(RuntimeError, match="no"), evaluating(network):
        pass


def test_checking_a_network_does_not_disturb_predictions_in_other_threads():
    x, y = torch.randn(9, 12, generator=generator()), torch.arange(9) % 3
    method, network = prepared("ssvi", normed(), x)
    part = szilard.data.Split(x, y)
    data = DataSet(
        "nine", "classification", part, part, part, ood=None, ood_name=None, classes=("a", "b", "c"),
        shift=torch.zeros(12), scale=torch.ones(12),
    )  # fmt: skip

    def look():
        check_fits(network, data)
        return torch.zeros(())

    assert count_wrong([look, *predictions_of(method, network, x)[:3]], threads=4, rounds=3) == 0
    assert network.training


def test_noise_keys_are_unique():
    noise, keys = bayes.Noise(), []
    count_wrong([lambda: keys.append(tuple(noise.key().tolist())) or torch.zeros(())], threads=8, rounds=300)
    assert len(keys) == len(set(keys)) == 8 * 300 + 1


def test_data_parallel_replicas_are_refused():
    network = szilard.bayesianize(nn.Sequential(nn.Linear(6, 4)))
    parallel = nn.DataParallel(network)
    parallel.device_ids = [0, 1]  # as on a machine with two GPUs
    for block in (bayes.drawn(parallel, 0), bayes.mode(parallel, "mean")):
        with pytest.raises(SzilardError, match="DataParallel"), block:
            pass
