"""Common mistakes and special cases: too few inputs, points for fractions, side effects of evaluate, wrappers."""

from __future__ import annotations

import copy
import threading
import warnings

import numpy as np
import pytest
import torch
from cli_tools import szilard as command
from torch import nn
from torch.nn import functional as F

import szilard
from szilard.compression.group_norm import ContiguousGroupNorm
from szilard.errors import SzilardError, SzilardWarning

X = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))


def mlp(width: int = 8, outputs: int = 3) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, outputs)).eval()


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return szilard.compress(*arguments, progress=False, **options)


@pytest.mark.parametrize("lam", [1e-15, 1e-18, 1e-24])
def test_a_tiny_lambda_keeps_the_outputs(lam):
    network = mlp()
    small = quietly(network, X, lam=lam)
    with torch.no_grad():
        wanted, outputs = network(X), small.network(X)
    assert float((wanted - outputs).norm() / wanted.norm()) < 1e-5


@pytest.mark.parametrize("inputs", [X[:1], X[:1].expand(64, -1), torch.zeros(64, 8), X[:8]])
def test_too_few_different_examples_are_refused_unless_the_size_is_given(inputs):
    with pytest.raises(SzilardError, match=r"different examples? (is|are) too few"):
        quietly(mlp(), inputs)
    small = quietly(mlp(), inputs[:1], max_bytes=900)
    assert small.drop_se is None


def test_a_max_drop_in_points_is_refused():
    with pytest.raises(SzilardError, match="half a percentage point"):
        quietly(mlp(), X, max_drop=5)
    with pytest.warns(SzilardWarning, match="allows nearly any network"):
        szilard.compress(mlp(), X, max_drop=0.5, progress=False)


def test_a_network_no_better_than_guessing_is_warned_about():
    network = mlp()
    with torch.no_grad():
        y = network(X).argmax(1)
    with pytest.warns(SzilardWarning, match="no better than guessing"):
        small = szilard.compress(network, [(X, y)], lam=10.0, progress=False)
    assert any("no better than guessing" in note for note in small.notes)


def test_side_effects_of_evaluate_are_undone_or_refused():
    network = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 3)).eval()
    with torch.no_grad():
        y = network(X).argmax(1)

    def plain(net):
        return float((net(X).argmax(1) == y).double().mean())

    def with_side_effects(net):
        net.eval()
        score = plain(net)
        net.train()
        net(X)
        return net.requires_grad_(False) and score

    first, second = (quietly(network, X[:512], evaluate=e, max_drop=0.02) for e in (plain, with_side_effects))
    assert first.data == second.data
    assert not any(module.training for module in second.network.modules())
    assert all(p.requires_grad for p in network.parameters())

    def half(net):
        net.half()
        return 1.0

    with pytest.raises(SzilardError, match=r"evaluate changes .* copy\.deepcopy"):
        quietly(network, X[:512], evaluate=half, max_drop=0.02)
    assert network[0].weight.dtype is torch.float32


def test_networks_and_data_of_inference_mode():
    network = mlp()
    with torch.inference_mode():
        made, data = copy.deepcopy(network), X.clone()
        inside = quietly(network, X, lam=1e-5).data
    assert inside == quietly(network, X, lam=1e-5).data == quietly(made, data, lam=1e-5).data


def test_wrappers_are_removed():
    small = quietly(nn.DataParallel(mlp()), X, lam=1e-5)
    assert small.data == quietly(mlp(), X, lam=1e-5).data
    assert any("inside DataParallel" in note for note in small.notes)
    mlp().load_state_dict(szilard.file.to_state_dict(szilard.file.loads(small.data)))


def test_an_invalid_token_in_a_later_batch_is_refused():
    network = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20)).eval()
    ids = torch.randint(20, (600, 9), generator=torch.Generator().manual_seed(0))
    ids[300, 2] = -1
    with pytest.raises(SzilardError, match="does not take one of the calibration batches"):
        quietly(network, list(ids.split(50)), lam=1e-4)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (4, 16, 16), 16])
def test_an_invalid_input_shape_is_refused(shape):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten()).eval()
    with pytest.raises(SzilardError, match="input_shape"):
        quietly(network, input_shape=shape)


@pytest.mark.parametrize(
    "options",
    [
        {"max_drop": "0.5"}, {"max_bytes": "5k"}, {"max_bytes": 0}, {"max_bytes": True}, {"lam": "1e-6"},
        {"confidence": None}, {"seed": "a"}, {"meta": [1]}, {"evaluate": 0.9}, {"forward": "boxes"},
    ],
)  # fmt: skip
def test_options_of_wrong_types_are_refused(options):
    with pytest.raises(SzilardError, match=next(iter(options))):
        quietly(mlp(), X, **options)


@pytest.mark.parametrize("data", [True, False])
def test_outputs_of_very_different_scales_are_all_kept(data):
    network = mlp(outputs=2)
    with torch.no_grad():
        for p in (network[2].weight, network[2].bias):
            p.mul_(torch.tensor([1e5, 1e-2]).reshape(-1, *[1] * (p.dim() - 1)))
    small = quietly(network, X, task="regression") if data else quietly(network)
    with torch.no_grad():
        wanted, outputs = network(X), small.network(X)
    error = (wanted - outputs).square().mean(0) / wanted.var(0)
    assert float(error.max()) < 0.05


def test_forward_may_call_part_of_a_network():
    class Auto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = mlp(outputs=6), nn.Linear(6, 8)

        def encode(self, x):
            return self.encoder(x)

        def forward(self, x):
            return self.decoder(self.encode(x))

    small = quietly(Auto().eval(), X, forward=lambda net, x: net.encode(x), task="embedding", max_drop=0.02)
    assert small.score > 0.98


def test_embeddings_with_a_common_offset_keep_their_differences():
    network = mlp(outputs=16)
    with torch.no_grad():
        network[2].bias += 20.0
    small = quietly(network, X, task="embedding")
    with torch.no_grad():
        wanted, outputs = network(X), small.network(X)
    centre = wanted.mean(0)
    assert float(F.cosine_similarity(outputs - centre, wanted - centre).mean()) > 0.9


def test_a_network_that_cannot_be_copied_is_refused():
    network = mlp()
    network.lock = threading.Lock()
    with pytest.raises(SzilardError, match="cannot be copied"):
        quietly(network, X, lam=1e-5)


def test_the_repr_of_the_result_is_short():
    assert len(repr(quietly(mlp(), X, lam=1e-5))) < 100


def test_a_regression_without_noise_on_the_command_line(tmp_path):
    """The network was trained on raw inputs and targets; measure and predict on the file use the same units."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build():\n"
        "    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))\n"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
        x = 3 * torch.randn(700, 4) + 5
    y = network(x)[:, 0].detach() * 10 + 40
    with torch.no_grad():
        network[2].weight *= 10
        network[2].bias.mul_(10).add_(40)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    np.savez(tmp_path / "set.npz", x=x.numpy(), y=y.numpy())
    data = ["--network", f"{tmp_path}/net.py:build", "--data", tmp_path / "set.npz"]
    made = command("compress", tmp_path / "net.pt", *data, "--json")
    assert made.code == 0, made.output
    assert '"valid_before": 1.0' in made.output or '"valid_before": 0.99' in made.output
    measured = command("measure", tmp_path / "net.szd", "--json")
    assert measured.code == 0, measured.output
    predicted = command("predict", tmp_path / "net.szd", tmp_path / "set.npz")
    assert predicted.code == 0, predicted.output
    lines = predicted.output.splitlines()
    assert lines[0] == "mean,std,aleatoric_std,epistemic_std"
    means = np.array([float(line.split(",")[0]) for line in lines[1:]])
    error = means - y.numpy()
    assert np.abs(error).mean() < 0.1 * y.std()
    # The predicted std is that of the residuals of the compressed network, in the units of the targets.
    assert float(lines[1].split(",")[1]) == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.3)


def test_group_norm_of_images_in_channels_last_order():
    """PyTorch's gradient of GroupNorm by its weight alone crashes on channels-last inputs; this is avoided."""
    body = nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten())
    network = nn.Sequential(body, nn.Linear(36, 3)).eval()
    x = torch.randn(32, 4, 5, 5).to(memory_format=torch.channels_last)
    assert szilard.compress(network, x, lam=1e-6, task="regression").score > 0.99
    expected = F.group_norm(x.contiguous(), 2)
    for call in (
        lambda: F.group_norm(x, 2),
        lambda: F.group_norm(input=x, num_groups=2),
        lambda: torch.group_norm(x, 2),
    ):
        with ContiguousGroupNorm():
            answer = call()
        assert answer.is_contiguous()
        assert torch.allclose(answer, expected, atol=1e-6)
