"""PyTorch state dicts are stored and loaded by szilard.load unchanged."""

from __future__ import annotations

import copy

import file_tools
import pytest
import torch
from torch import nn

import szilard
from szilard import file, methods, networks
from szilard.file import Alias, Constant, Levels, Mask, Raw, SzilardFileError


def through(path, state, levels=None):
    file.write(path, file.from_state_dict(state, levels))
    return szilard.load(path)


def content(tensor):
    """The bytes of a tensor, in row-major order."""
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return plain.flatten().view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def equal(one, other):
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and content(one[name]) == content(other[name])
        for name in one
    )


@pytest.mark.parametrize("spec", ["mlp:16", "lenet5", "resnet20"])
@pytest.mark.parametrize("method", ["ssvi", "mean-field", "deterministic"])
def test_networks_of_every_method(tmp_path, spec, method):
    shape = (3, 32, 32) if spec == "resnet20" else (1, 28, 28)

    def build(seed):
        made = methods.make(method, n_data=100).prepare(networks.build(spec, shape, 10, seed=seed))
        torch.manual_seed(seed)
        for parameter in made.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        return made.eval()

    network, other = build(0), build(1)
    state = through(tmp_path / "net.szd", network.state_dict())
    assert equal(state, network.state_dict())
    x = torch.randn(2, *shape)
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(state, strict=True)
    assert torch.equal(network(x), other(x))
    kinds = {type(record) for record in file.read(tmp_path / "net.szd").records}
    assert (Mask in kinds) == (method != "deterministic")


def test_a_quantised_posterior(tmp_path):
    """Mean and log σ on a support, both as levels: each within half a step."""
    network = methods.make("ssvi", n_data=100, density=0.2).prepare(networks.build("mlp:30", (1, 8, 8), 10))
    state = network.state_dict()
    levels = {}
    for name, tensor in state.items():
        if name.endswith((".mean", ".log_std")):
            step = file.steps.nearest(0.05 if name.endswith("log_std") else 0.01)
            codes = (tensor / float(file.steps.value(step))).round().to(torch.int32).numpy()
            levels[name] = Levels(name, "float32", tuple(tensor.shape), codes, step)
    ledger = file.write(tmp_path / "net.szd", file.from_state_dict(state, levels))
    found = szilard.load(tmp_path / "net.szd")
    network.load_state_dict(found, strict=True)
    for name, tensor in state.items():
        within = 0.0
        if name in levels:
            within = 0.501 * float(file.steps.value(levels[name].step))
        assert float((found[name] - tensor).abs().max()) <= within, name
    assert ledger.size < 0.25 * ledger.output_bytes


def test_types_shapes_and_odd_tensors(tmp_path):
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "no rows": torch.zeros(3, 0, 2, dtype=torch.int64),
        "transposed": base.reshape(4, 6).T,
        "slice": base[3:20:2],
        "parameter": nn.Parameter(torch.randn(3, 3)),
        "half": torch.randn(5).half(),
        "bf16": torch.randn(7, 2).bfloat16(),
        "double": torch.randn(3, dtype=torch.float64),
        "long": torch.tensor([-(2**62), 5]),
        "flags": torch.tensor([True, False, True]),
        "complex": torch.randn(4, dtype=torch.complex64).conj(),
        "float8": torch.randn(6).to(torch.float8_e4m3fn),
        "float8, AMD's": torch.randn(6).to(torch.float8_e4m3fnuz),
        "float8, AMD's other": torch.randn(6).to(torch.float8_e5m2fnuz),
        "scales": torch.arange(12, dtype=torch.uint8).view(torch.float8_e8m0fnu),
        "float4": torch.arange(12, dtype=torch.uint8).reshape(3, 4).view(torch.float4_e2m1fn_x2),
        "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
        "nan": torch.tensor([float("nan"), -0.0, 0.0, float("inf")]),
        "": torch.ones(2),
        "naïve/名前": torch.full((1000, 1000), 1 - 1e-5),
    }
    found = through(tmp_path / "net.szd", state)
    assert equal(found, state)
    assert (tmp_path / "net.szd").stat().st_size < 1200
    found["naïve/名前"][0, 0] = 7  # constants are not views of shared memory
    assert float(found["naïve/名前"].sum()) != pytest.approx(7_000_000)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight


def test_tied_tensors_are_stored_once_and_stay_tied(tmp_path):
    network = Tied()
    document = file.from_state_dict(network.state_dict())
    assert isinstance(document.records[1], Alias)
    file.write(tmp_path / "net.szd", document)
    state = szilard.load(tmp_path / "net.szd")
    assert state["embed.weight"].data_ptr() == state["head.weight"].data_ptr()
    other = Tied()
    other.load_state_dict(state, strict=True)
    assert torch.equal(other.head.weight, network.embed.weight)
    assert file.encode(document)[1].size < 800


def test_views_of_one_storage_are_not_ties(tmp_path):
    flat = torch.arange(12.0)
    state = {"all": flat, "first": flat[:6], "last": flat[6:], "matrix": flat.view(3, 4), "none": flat[:0]}
    assert not any(isinstance(record, Alias) for record in file.from_state_dict(state).records)
    assert equal(through(tmp_path / "net.szd", state), state)


def test_state_of_other_modules(tmp_path):
    network = nn.ModuleDict(
        {
            "attention": nn.MultiheadAttention(8, 2),
            "transposed": nn.ConvTranspose2d(3, 4, 3),
            "depthwise": nn.Conv2d(4, 4, 3, groups=4),
            "norm": nn.BatchNorm2d(4),
            "gru": nn.GRU(3, 5),
        }
    )
    state = through(tmp_path / "net.szd", network.state_dict())
    copy.deepcopy(network).load_state_dict(state, strict=True)
    assert equal(state, network.state_dict())


def csr(**changes):
    given = {"w.crow": torch.tensor([0, 2, 2, 3]), "w.col": torch.tensor([1, 4, 0])} | changes
    return {
        name: tensor.to(torch.int32) if tensor.dtype == torch.int64 else tensor
        for name, tensor in given.items()
    }


@pytest.mark.parametrize(
    ("state", "kinds"),
    [
        (csr(), [Mask]),
        (csr(x=torch.zeros(2)), [Mask, Constant]),
        (csr(**{"w.crow": torch.tensor([0, 0]), "w.col": torch.zeros(0, dtype=torch.int32)}), [Mask]),
        (csr(**{"w.crow": torch.tensor([0, 2, 1, 3])}), [Raw, Raw]),
        (csr(**{"w.crow": torch.tensor([0, 2, 2, 9])}), [Raw, Raw]),
        (csr(**{"w.col": torch.tensor([4, 1, 0])}), [Raw, Raw]),
        (csr(**{"w.col": torch.tensor([1, 1, 0])}), [Raw, Raw]),
        (csr(**{"w.col": torch.tensor([-1, 4, 0])}), [Raw, Raw]),
        (csr(**{"w.col": torch.tensor([1, 2**30, 0])}), [Raw, Raw]),
        (csr(**{"w.col": torch.tensor([1.0, 4.0, 0.0])}), [Raw, Raw]),
        (csr(**{"w.crow": torch.tensor([[0, 2, 2, 3]])}), [Raw, Raw]),
        ({"w.crow": torch.tensor([0, 1, 1], dtype=torch.int32)}, [Raw]),
        (dict(reversed(csr().items())), [Raw, Raw]),
    ],
)  # fmt: skip
def test_only_valid_supports_are_stored_as_masks(tmp_path, state, kinds):
    document = file.from_state_dict(state)
    assert [type(record) for record in document.records] == kinds
    assert equal(through(tmp_path / "net.szd", state), state)


def test_a_shared_support_is_stored_once(tmp_path):
    state = csr()
    state |= {"v.crow": state["w.crow"], "v.col": state["w.col"]}
    document = file.from_state_dict(state)
    assert [type(record) for record in document.records] == [Mask, Alias, Alias]
    assert equal(through(tmp_path / "net.szd", state), state)


def test_levels_replace_a_tensor(tmp_path):
    numbers = file_tools.numbers(0, 4, 5)
    state = {"w": torch.zeros(4, 5), "b": torch.ones(3)}
    found = through(tmp_path / "net.szd", state, {"w": Levels("w", "float32", (4, 5), numbers, 16)})
    assert torch.equal(found["w"], 2.0 * torch.from_numpy(numbers))
    zeros = Levels("w", "float32", (4, 5), 0 * numbers, 16)
    assert isinstance(file.from_state_dict(state, {"w": zeros}).records[0], Constant)
    for wrong in (Levels("w", "float32", (5, 4), numbers.T, 16), Levels("w", "float16", (4, 5), numbers, 16)):
        with pytest.raises(SzilardFileError, match="but the tensor is float32"):
            file.from_state_dict(state, {"w": wrong})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": 1}, "x is a dict and not a tensor"),
        (torch.eye(3).to_sparse(), "x is a sparse, quantized or meta tensor"),
        (torch.ones(3, device="meta"), "x is a sparse, quantized or meta tensor"),
        (torch.zeros(3, dtype=torch.complex32), "cannot store tensors of type complex32"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "x is a nested tensor"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "x is a nested"),
    ],
)
def test_unsupported_tensors_are_refused(value, sentence):
    with pytest.raises(SzilardFileError, match=sentence):
        file.from_state_dict({"x": value})


def test_paths_that_are_not_szd_files_are_refused(tmp_path):
    with pytest.raises(SzilardFileError, match=r"none\.szd does not exist; name a \.szd file"):
        szilard.load(tmp_path / "none.szd")
    with pytest.raises(SzilardFileError, match=r"is a folder; name a \.szd file"):
        szilard.load(tmp_path)
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    with pytest.raises(SzilardFileError, match=r"a\.pt cannot be opened: it is not a \.szd file"):
        szilard.load(tmp_path / "a.pt")
    (tmp_path / "empty.szd").write_bytes(b"")
    with pytest.raises(SzilardFileError, match=r"empty\.szd cannot be opened"):
        szilard.load(tmp_path / "empty.szd")
    assert issubclass(SzilardFileError, szilard.SzilardError)
    assert szilard.SzilardFileError is SzilardFileError
