"""Compression from end to end: the file, the returned network, and the limits given by the user."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn
from trained import accuracy, conv_net, digits, mlp

import szilard
from szilard import file
from szilard.compression import (
    CanonicalBatchNorm,
    Correct,
    Distil,
    Draft,
    Finetune,
    Quantise,
    QuantiseVectors,
    Setting,
    imagine,
)
from szilard.compression.calibration import Calibration
from szilard.compression.imagined_inputs import guess_shape, norms
from szilard.compression.judge import judge
from szilard.compression.passes.distil import divergence
from szilard.errors import SzilardError, SzilardWarning


def inputs(n=256):
    return digits().train.x[:n]


def state_bytes(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_the_file_holds_the_returned_network(tmp_path):
    network = conv_net()
    before = state_bytes(network)
    made = szilard.compress(network, inputs(), lam=1e-6)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    made.save(tmp_path / "net.szd")
    assert (tmp_path / "net.szd").read_bytes() == made.data
    again = copy.deepcopy(network)
    again.load_state_dict(szilard.load(tmp_path / "net.szd"), strict=True)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, made.network.state_dict()[name]), name
    assert made.ledger.size == len(made.data) == sum(made.ledger.parts.values())


def test_the_file_is_small_and_the_accuracy_is_kept():
    made = szilard.compress(conv_net(), inputs(), max_drop=0.01, evaluate=lambda net: accuracy(net, "valid"))
    assert made.ratio > 10
    assert made.drop <= 0.01
    assert accuracy(made.network) > accuracy(conv_net()) - 0.025
    assert min(size for _, size, _ in made.trials) <= len(made.data)


def test_compression_is_deterministic():
    first, second = (szilard.compress(mlp(), inputs(), lam=1e-6) for _ in range(2))
    assert first.data == second.data


def test_max_bytes():
    made = szilard.compress(mlp(), inputs(), max_bytes=3000)
    assert 2000 < len(made.data) <= 3000
    with pytest.raises(SzilardError, match="does not fit into 20 bytes"):
        szilard.compress(mlp(), inputs(), max_bytes=20)


def test_bytes_decrease_and_loss_increases_with_lambda():
    x = inputs()
    with torch.no_grad():
        wanted = conv_net()(x)
    sizes, losses = [], []
    for lam in (1e-8, 1e-7, 1e-6, 1e-5):
        made = szilard.compress(
            conv_net(), x, lam=lam, passes=[CanonicalBatchNorm(), q := Quantise(), QuantiseVectors(q)]
        )
        sizes.append(len(made.data))
        with torch.no_grad():
            losses.append(divergence(wanted, made.network(x)).item())
    assert sizes == sorted(sizes, reverse=True)
    assert losses == sorted(losses)
    assert sizes[-1] < 0.4 * sizes[0]


def test_without_data():
    made = szilard.compress(
        conv_net(), evaluate=lambda net: accuracy(net, "valid"), max_drop=0.01, input_shape=(1, 8, 8)
    )
    plain = szilard.compress(
        conv_net(),
        evaluate=lambda net: accuracy(net, "valid"),
        max_drop=0.01,
        input_shape=(1, 8, 8),
        passes=[CanonicalBatchNorm(), q := Quantise(curvature={}), QuantiseVectors(q)],
    )
    assert accuracy(made.network) > accuracy(conv_net()) - 0.03
    assert len(made.data) < 0.95 * len(plain.data)  # imagined inputs give a useful curvature
    without_inputs = szilard.compress(mlp())  # no BatchNorm to imagine inputs from, and no evaluate
    assert without_inputs.score is None
    assert any("no data" in note for note in without_inputs.notes)
    assert without_inputs.ratio > 3.5  # about eight bits a weight, since the curvature is unknown
    assert accuracy(without_inputs.network) > accuracy(mlp()) - 0.03


def test_imagined_inputs_match_the_batchnorm_statistics():
    network = conv_net()
    shape = (1, 8, 8)
    x = imagine(network, shape, examples=64, steps=60)

    def distance(batch):
        found = []
        hooks = [
            norm.register_forward_hook(
                lambda norm, given, _: found.append(
                    (given[0].mean((0, 2, 3)) - norm.running_mean).abs().mean()
                )
            )
            for norm in norms(network)
        ]
        with torch.no_grad():
            network(batch)
        for hook in hooks:
            hook.remove()
        return float(sum(found))

    noise = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))
    assert distance(x) < 0.3 * distance(noise)
    assert torch.equal(x, imagine(network, shape, examples=64, steps=60))
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)), (3, 32, 32)),
        (nn.Sequential(nn.Conv2d(1, 4, 5), nn.Flatten(), nn.Linear(4 * 24 * 24, 2)), (1, 28, 28)),
        (nn.Sequential(nn.Linear(13, 2)), (13,)),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(4 * 254, 2)), (2, 256)),
        (nn.Sequential(nn.Embedding(5, 4)), None),
    ],
)
def test_the_input_shape_is_inferred(network, shape):
    assert guess_shape(network) == shape


def test_correct_restores_the_mean_outputs():
    x = inputs()
    network = conv_net()
    setting = Setting(1e-5, [x], network)
    quantise = Quantise()
    drafts = []
    for passes in ([CanonicalBatchNorm(), quantise], [CanonicalBatchNorm(), quantise, Correct()]):
        draft = Draft(copy.deepcopy(network))
        for one in passes:
            one(draft, setting)
        drafts.append(draft)
    with torch.no_grad():
        wanted = network(x).mean(0)
        before, after = ((draft.network(x).mean(0) - wanted).abs().max() for draft in drafts)
    assert after < 0.05 * before


def test_distillation_lowers_the_loss():
    x = inputs()
    made = []
    for passes in ([], [Distil(steps=60)]):
        quantise = Quantise()
        made.append(
            szilard.compress(
                conv_net(),
                x,
                lam=1e-5,
                passes=[CanonicalBatchNorm(), quantise, *passes, QuantiseVectors(quantise)],
            )
        )
    held_out = digits().valid.x
    with torch.no_grad():
        wanted = conv_net()(held_out)
        losses = [divergence(wanted, one.network(held_out)).item() for one in made]
    assert losses[1] < 0.9 * losses[0]
    assert len(made[1].data) < 1.05 * len(made[0].data)


class Odd(nn.Module):
    """Bare parameters: a matrix, a complex vector and a vector; and a buffer."""

    def __init__(self):
        super().__init__()
        self.exponent = nn.Parameter(torch.rand(3, 4))
        self.phase = nn.Parameter(torch.rand(3, dtype=torch.complex64))
        self.shift = nn.Parameter(torch.rand(3))
        self.register_buffer("table", torch.rand(3, 4))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x) * (self.exponent + self.table).exp().sum(1) * self.phase.real + self.shift


def test_bare_parameters_are_rounded_and_exact_ones_are_named():
    network = Odd()
    with pytest.warns(SzilardWarning, match=r"phase: stored as exact bytes"):
        made = szilard.compress(network, torch.randn(40, 4), lam=1e-6)
    for name in ("phase", "table"):
        assert torch.equal(getattr(made.network, name), getattr(network, name))
    for name in ("exponent", "shift"):
        assert not torch.equal(getattr(made.network, name), getattr(network, name))
    assert not torch.equal(made.network.fc.weight, network.fc.weight)
    assert any("phase" in note for note in made.notes)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_weights_that_are_not_finite_are_named(value):
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with torch.no_grad():
        network[1].weight[0, 0] = value
    with pytest.raises(SzilardError, match=r"1\.weight has NaN or infinite values"):
        szilard.compress(network, lam=1e-6)


def test_weights_whose_squares_are_too_large_are_named():
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with torch.no_grad():
        network[1].weight.mul_(1e30)
    with pytest.raises(
        SzilardError, match=r"1\.weight has values above 1\.8e\+19, whose squares are too large"
    ):
        szilard.compress(network, lam=1e-6)


class Zoo(nn.Module):
    """Ties, embeddings, attention, recurrence, one-dimensional convolutions, integer buffers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.conv = nn.Conv1d(8, 8, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.embedding.weight
        self.register_buffer("positions", torch.arange(5))

    def forward(self, tokens):
        x = self.embedding(tokens) + 0.1 * self.positions[None, :, None].to(self.norm.weight)
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        x = self.norm(x + self.attention(x, x, x)[0])
        return self.out(self.lstm(x)[0][:, -1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_zoo_of_layers(dtype):
    torch.manual_seed(0)
    network = Zoo().to(dtype).eval()
    tokens = torch.randint(0, 20, (200, 5), generator=torch.Generator().manual_seed(0))
    made = szilard.compress(network, tokens, lam=1e-7)
    assert made.network.out.weight is made.network.embedding.weight
    state = file.to_state_dict(file.loads(made.data))
    assert {name: tensor.dtype for name, tensor in state.items()} == {
        name: tensor.dtype for name, tensor in network.state_dict().items()
    }
    assert torch.equal(state["positions"], torch.arange(5))
    with torch.no_grad():
        wanted, answer = network(tokens).float(), made.network(tokens).float()
    assert (answer - wanted).norm() < 0.1 * wanted.norm()
    assert made.ratio > (3 if dtype is torch.float32 else 1.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lam": 1e-6, "max_bytes": 100}, "give one of"),
        ({"lam": -1.0}, "lam must be a positive number"),
        ({"lam": float("nan")}, "lam must be a positive number"),
        ({"max_drop": -0.1}, "must not be negative"),
        ({"max_drop": float("nan")}, "must not be negative"),
        ({"max_drop": 0.1}, "needs data to judge by"),
        ({"calibration": []}, "calibration is empty"),
        ({"calibration": ["a"]}, "is a str without tensors"),
    ],
)
def test_contradictory_options_are_refused(options, words):
    calibration = options.pop("calibration", None)
    with pytest.raises(SzilardError, match=words):
        szilard.compress(nn.Linear(3, 2), calibration, **options)


def test_a_network_without_weights_is_refused():
    with pytest.raises(SzilardError, match="no weights"):
        szilard.compress(nn.ReLU())


def test_an_unreachable_max_drop_is_refused():
    scores = iter([1.0] + [0.0] * 99)
    with pytest.raises(SzilardError, match="no λ keeps the drop"):
        szilard.compress(mlp(), inputs(), max_drop=0.1, evaluate=lambda net: next(scores))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.szd"
    made = szilard.compress(mlp(), lam=1e-6)
    made.save(path)
    larger = szilard.compress(mlp(), lam=1e-8)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SzilardError, match="full"):
        larger.save(path)
    assert path.read_bytes() == made.data
    assert list(tmp_path.iterdir()) == [path]


class TestCalibration:
    def test_a_loader_of_pairs(self):
        batches = [(torch.full((100, 3), float(i)), torch.full((100,), i)) for i in range(10)]
        found = Calibration.of(batches, examples=512)
        assert sum(map(len, found.inputs)) == 512
        assert sum(map(len, found.judges)) == 488
        assert torch.equal(torch.cat(found.labels)[:12], torch.full((12,), 5))

    def test_few_examples_are_split(self):
        found = Calibration.of(torch.randn(100, 3))
        assert (sum(map(len, found.inputs)), sum(map(len, found.judges))) == (75, 25)
        whole = Calibration.of(torch.randn(100, 3), hold_out=False)
        assert sum(map(len, whole.inputs)) == 100

    def test_one_example(self):
        found = Calibration.of(torch.randn(1, 3))
        assert (sum(map(len, found.inputs)), sum(map(len, found.judges))) == (1, 1)


class TestJudge:
    def test_accuracy_with_labels(self):
        split = digits().valid
        score = judge(mlp(), Calibration.of([(split.x, split.y)], examples=10))
        with torch.no_grad():
            right = mlp()(split.x[10:]).argmax(1) == split.y[10:]
        assert score(mlp()) == pytest.approx(right.float().mean().item())

    def test_probability_without_labels(self):
        score = judge(mlp(), Calibration.of(digits().valid.x, examples=10))
        with torch.no_grad():
            most = mlp()(digits().valid.x[10:]).softmax(1).amax(1).mean().item()
        assert score(mlp()) == pytest.approx(most)
        broken = copy.deepcopy(mlp())
        nn.init.zeros_(broken[3].weight)
        assert score(broken) < 0.5 * most

    def test_explained_variance_for_regression(self):
        x = torch.randn(400, 3)
        network = nn.Linear(3, 1)
        with torch.no_grad():
            y = network(x)[:, 0]
        score = judge(network, Calibration.of([(x, y)], examples=10))
        assert score(network) == pytest.approx(1)
        zero = nn.Linear(3, 1)
        nn.init.zeros_(zero.weight)
        assert score(zero) < 0.2
        unlabelled = judge(network, Calibration.of(x, examples=10))
        assert unlabelled(network) == pytest.approx(1)


class TestFinetune:
    @staticmethod
    @cache
    def made(lam, epochs=15, _number=0):
        train = digits().train
        quantise = Quantise()
        passes = [
            quantise,
            Finetune(train.x, train.y, epochs=epochs, batch_size=64),
            QuantiseVectors(quantise),
        ]
        return szilard.compress(mlp(), inputs(), lam=lam, passes=passes)

    def test_a_larger_lambda_gives_a_smaller_file(self):
        small_lambda, large_lambda = self.made(3e-6), self.made(3e-5)
        assert len(large_lambda.data) < 0.6 * len(small_lambda.data)
        assert accuracy(large_lambda.network) > accuracy(mlp()) - 0.04

    def test_finetuning_beats_rounding_alone(self):
        quantise = Quantise()
        alone = szilard.compress(mlp(), inputs(), lam=1e-5, passes=[quantise, QuantiseVectors(quantise)])
        trained = self.made(3e-5)
        assert len(trained.data) < 0.9 * len(alone.data)
        assert accuracy(trained.network) >= accuracy(alone.network)

    def test_compression_is_deterministic(self):
        assert self.made(1e-5, 3, 1).data == self.made(1e-5, 3, 2).data

    def test_whole_columns_become_zero(self):
        made = self.made(3e-5)
        alive = made.network[1].weight.abs().amax(0) > 0
        assert int((~alive).sum()) > 0  # some of the 64 pixels: the corners of a digit are empty

    def test_regression_targets(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(300, 5, generator=generator)
        network = nn.Linear(5, 1)
        with torch.no_grad():
            y = network(x)[:, 0]
        quantise = Quantise()
        passes = [quantise, Finetune(x, y, epochs=20, batch_size=32), QuantiseVectors(quantise)]
        made = szilard.compress(network, x, lam=1e-4, passes=passes)
        with torch.no_grad():
            error = (made.network(x)[:, 0] - y).square().mean()
        assert error < 0.05 * y.var()
