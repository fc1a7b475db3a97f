"""Products: a planted product is found, F never increases, and files reproduce products bit for bit."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import szd_reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trained import accuracy, conv_net, digits

import szilard
from szilard import file
from szilard.coding import Encoder, Model
from szilard.compression import (
    CanonicalBatchNorm,
    Curvature,
    Distil,
    Factorize,
    Quantise,
    QuantiseVectors,
    sequential_rounding,
)
from szilard.compression.draft import Draft, Setting
from szilard.compression.passes.factorize import bits, factorize, free_energy
from szilard.file import Levels, Product


def flat(rows, cols, h=1.0):
    """A constant curvature."""
    return Curvature(
        torch.ones(1, cols).double(), torch.full((rows,), h).double(), torch.full((rows,), h).double()
    )


def planted(rows=24, pieces=40, size=4, seed=0):
    """A weight that is the product of sparse powers of two and one dense basis."""
    g = torch.Generator().manual_seed(seed)
    c = (
        2.0 ** -torch.randint(0, 3, (rows * pieces, size), generator=g)
        * torch.randn(rows * pieces, size, generator=g).sign()
    )
    c *= torch.rand(rows * pieces, size, generator=g) < 0.25
    return (c @ torch.randn(size, size, generator=g)).reshape(rows, pieces * size)


def test_a_planted_product_is_found_and_lowers_f():
    weight = planted()
    curvature, lam = flat(*weight.shape), 1e-4
    product = factorize("w", weight, curvature, lam)
    value = torch.from_numpy(product.value()).double()
    plain = sequential_rounding.quantise(weight, curvature.inputs, curvature.outputs, lam)
    mine = free_energy(weight - value, curvature, lam, bits(product))
    theirs = free_energy(
        weight - plain.dense(weight), curvature, lam, Encoder().rate(plain.levels, Model.HISTORY)
    )
    assert mine < 0.8 * theirs
    assert (weight - value).norm() < 0.2 * weight.norm()


class Planted(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(160, 24), nn.Linear(24, 5)
        with torch.no_grad():
            self.first.weight.copy_(planted() / 10)

    def forward(self, x):
        return self.second(self.first(x).relu())


def test_a_network_with_a_planted_product_is_stored_as_a_product():
    torch.manual_seed(0)
    network = Planted()
    x = torch.randn(300, 160)
    sizes = []
    for factorised in (False, True):
        quantise = Quantise()
        first = [Factorize(quantise)] if factorised else []
        made = szilard.compress(network, x, lam=1e-7, passes=[*first, quantise, QuantiseVectors(quantise)])
        sizes.append(len(made.data))
    assert sizes[1] < 0.95 * sizes[0]
    document = file.loads(made.data)
    kinds = {record.name: type(record) for record in document.records}
    assert kinds["first.weight"] is Product
    again = copy.deepcopy(network)
    again.load_state_dict(file.to_state_dict(document), strict=True)
    assert torch.equal(again.first.weight, made.network.first.weight)
    assert {entry.name for entry in made.ledger.entries} > {"first.weight.coefficients", "first.weight.basis"}
    assert sum(made.ledger.parts.values()) == len(made.data)


def free_energy_of(draft, wanted, curvature, lam):
    """F of the first layer of a draft, in the model that the passes share."""
    product = draft.products.get("first.weight")
    error = wanted - draft.tensor("first.weight").detach().double()
    if product is not None:
        return free_energy(error, curvature, lam, bits(product))
    levels = draft.quantised["first.weight"].levels
    return free_energy(error, curvature, lam, Encoder().rate(levels, Model.HISTORY))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_products_of_other_dtypes(dtype):
    torch.manual_seed(0)
    network, x = Planted().to(dtype), torch.randn(100, 160, dtype=dtype)
    quantise = Quantise()
    made = szilard.compress(network, x, lam=1e-6, passes=[quantise, Factorize(quantise)])
    kinds = {record.name: type(record) for record in file.loads(made.data).records}
    assert kinds["first.weight"] is Product
    state = file.to_state_dict(file.loads(made.data))
    assert state["first.weight"].dtype == dtype
    assert torch.equal(state["first.weight"], made.network.first.weight)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0, 5.0])
@pytest.mark.parametrize("after", [False, True])
def test_products_never_raise_the_free_energy(share, after):
    """For every amount of noise on the product, and with the pass before or after rounding."""
    torch.manual_seed(1)
    network, lam = Planted(), 1e-6
    with torch.no_grad():
        weight = network.first.weight
        weight += share * weight.std() * torch.randn_like(weight)
    wanted = network.first.weight.detach().double()
    x = torch.randn(200, 160) @ (torch.eye(160) + 0.1 * torch.randn(160, 160))
    setting, drafts = Setting(lam, [x], network), {}
    quantise = Quantise()
    chain = [quantise, Factorize(quantise)] if after else [Factorize(quantise), quantise]
    for what, passes in (("plain", [quantise]), ("product", chain)):
        drafts[what] = Draft(copy.deepcopy(network))
        for one in passes:
            one(drafts[what], setting)
    curvature = quantise.known(drafts["plain"], setting)["first.weight"]
    plain, product = (free_energy_of(draft, wanted, curvature, lam) for draft in drafts.values())
    assert product <= plain
    assert ("first.weight" in drafts["product"].products) == (product < plain)
    if not share:
        assert product < 0.9 * plain
    assert not set(drafts["product"].products) & set(drafts["product"].quantised)


def test_after_rounding_and_without_access_to_it():
    torch.manual_seed(0)
    network, x = Planted(), torch.randn(300, 160)
    made = []
    for factorised in ([], [Factorize()]):
        quantise = Quantise()
        passes = [CanonicalBatchNorm(), quantise, *factorised, Distil(steps=5), QuantiseVectors(quantise)]
        made.append(szilard.compress(network, x, lam=1e-7, passes=passes))
    assert len(made[1].data) < 0.95 * len(made[0].data)
    state = file.to_state_dict(file.loads(made[1].data))
    assert torch.equal(state["first.weight"], made[1].network.first.weight)
    assert {type(record) for record in file.loads(made[1].data).records} == {Product, Levels}


def test_distillation_replaces_the_target_weights():
    """After distillation, later passes approximate the trained levels, not the original weights."""
    torch.manual_seed(0)
    network, x = Planted(), torch.randn(100, 160)
    draft, quantise = Draft(network), Quantise()
    setting = Setting(1e-7, [x], copy.deepcopy(network))
    quantise(draft, setting)
    assert set(draft.targets) == {"first.weight", "second.weight"}
    assert not torch.equal(draft.targets["first.weight"], draft.tensor("first.weight"))
    Distil(steps=2)(draft, setting)
    assert not draft.targets


def test_products_in_the_whole_pipeline():
    quantise = Quantise()
    passes = [
        CanonicalBatchNorm(),
        Factorize(quantise),
        quantise,
        Distil(steps=20),
        QuantiseVectors(quantise),
    ]
    made = szilard.compress(conv_net(), digits().train.x[:256], lam=1e-6, passes=passes)
    plain = [CanonicalBatchNorm(), q := Quantise(), Distil(steps=20), QuantiseVectors(q)]
    beside = szilard.compress(conv_net(), digits().train.x[:256], lam=1e-6, passes=plain)
    assert len(made.data) < 1.03 * len(beside.data)  # no larger, apart from names and metadata
    assert accuracy(made.network) > accuracy(conv_net()) - 0.03


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5), st.sampled_from([1e-6, 1e-3, 1e-1]))
def test_products_are_finite_and_exact(seed, rows, pieces, lam):
    weight = torch.randn(rows, pieces, 3, 3, generator=torch.Generator().manual_seed(seed))
    product = factorize("w", weight, flat(rows, pieces * 9), lam)
    if product is None:
        return
    document = file.Document([product])
    again = file.loads(file.dumps(document)).records[0]
    assert isinstance(again, Product)
    assert np.array_equal(again.value(), product.value())
    # In exact arithmetic: levels are integers, and the step is a float32.
    basis = product.basis.astype(object)
    coefficients = np.array(
        [
            [0 if k == 0 else (1 if k > 0 else -1) * 2 ** (8 - abs(int(k))) for k in row]
            for row in product.codes
        ],
        dtype=object,
    ).reshape(len(basis), -1, basis.shape[-1])
    exact = np.concatenate([c.dot(b) for c, b in zip(coefficients, basis, strict=True)]).reshape(weight.shape)
    assert np.array_equal(exact.astype(np.int64), product.levels().levels)


def test_factorize_is_deterministic():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    first, second = (factorize("w", weight, flat(4, 27), 1e-3) for _ in range(2))
    assert np.array_equal(first.codes, second.codes)
    assert np.array_equal(first.basis, second.basis)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_the_reference_reader_reads_the_same(dtype):
    weight = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    product = factorize("w", weight, flat(6, 18), 1e-3)
    records = [Levels("a", "float32", (3,), np.array([1, -2, 3], np.int32), -5), product]
    data = file.dumps(file.Document(records, {"network": "own"}))
    found, meta = szd_reference.read(data)
    expected = file.arrays(file.loads(data))
    assert {name: value[1:] for name, value in found.items()} == {
        name: (array.shape, array.tobytes()) for name, array in expected.items()
    }
    assert found["w"][0] == dtype
    assert meta == {"network": "own"}


def test_a_basis_beyond_the_range_of_the_dtype_gives_no_product():
    """The largest float16 is 65504, and entries of a basis can be larger than those of the weight."""
    made = 0
    for seed in range(6):
        weight = planted(8, 6, seed=seed)
        weight = (weight / weight.abs().max() * 65000).half()
        for lam in (1e3, 1e7):
            product = factorize("w", weight, flat(8, 24), lam)
            if product is not None:
                made += 1
                file.dumps(file.Document([product]))
    assert made


def test_long_kernels_are_divided_into_short_pieces():
    product = factorize("w", torch.randn(2, 3, 128), flat(2, 384), 1e-2)
    assert product.basis.shape[-1] == 4
    file.dumps(file.Document([product]))


def test_weights_without_a_suitable_divisor_are_not_factorised():
    assert factorize("w", torch.randn(3, 5), flat(3, 5), 1e-3) is None
    assert factorize("w", torch.zeros(4, 8), flat(4, 8), 1e-3) is None


def test_free_energy_by_hand():
    error = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    a = torch.tensor([[[2.0, 1.0], [1.0, 1.0]]]).double()
    g = torch.tensor([1.0, 0.5]).double()
    quadratic = 0.5 * (1.0 * (2 + 4 + 4) + 0.5 * 9)
    assert free_energy(error, Curvature(a, g, g), 0.1, 7.0) == pytest.approx(quadratic + 0.7)
    assert math.isclose(free_energy(error, flat(2, 2), 0.0, 7.0), 0.5 * (1 + 4 + 9))
