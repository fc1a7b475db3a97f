"""Products: what is planted is found, F never rises, and files give the product back bit for bit."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from file_tools import reseal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trained import accuracy, conv_net, digits

import szilard
from szilard import file
from szilard.coding import Encoder, Model
from szilard.compress import CanonicalBatchNorm, Curvature, Distil, Factorize, Offsets, Quantise, obs
from szilard.compress.factorize import bits, factorize, free_energy
from szilard.file import Levels, Product, SzilardFileError, digest, products, writer


def flat(rows, cols, h=1.0):
    """A curvature that is the same everywhere."""
    return Curvature(
        torch.ones(1, cols).double(), torch.full((rows,), h).double(), torch.full((rows,), h).double()
    )


def planted(rows=24, pieces=40, size=4, seed=0):
    """Sparse powers of two times one dense basis."""
    g = torch.Generator().manual_seed(seed)
    c = (
        2.0 ** -torch.randint(0, 3, (rows * pieces, size), generator=g)
        * torch.randn(rows * pieces, size, generator=g).sign()
    )
    c *= torch.rand(rows * pieces, size, generator=g) < 0.25
    return (c @ torch.randn(size, size, generator=g)).reshape(rows, pieces * size)


def test_what_is_planted_is_found_and_cheaper():
    weight = planted()
    curvature, lam = flat(*weight.shape), 1e-4
    product = factorize("w", weight, curvature, lam)
    value = torch.from_numpy(product.value()).double()
    plain = obs.quantise(weight, curvature.inputs, curvature.outputs, lam)
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


def test_a_network_with_such_a_weight_takes_the_product():
    torch.manual_seed(0)
    network = Planted()
    x = torch.randn(300, 160)
    sizes = []
    for factorised in (False, True):
        quantise = Quantise()
        first = [Factorize(quantise)] if factorised else []
        made = szilard.compress(network, x, lam=1e-7, passes=[*first, quantise, Offsets(quantise)])
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


def test_one_pipeline_of_pruning_rounding_products_and_training():
    quantise = Quantise()
    passes = [CanonicalBatchNorm(), Factorize(quantise), quantise, Distil(steps=20), Offsets(quantise)]
    made = szilard.compress(conv_net(), digits().train.x[:256], lam=1e-6, passes=passes)
    plain = [CanonicalBatchNorm(), q := Quantise(), Distil(steps=20), Offsets(q)]
    beside = szilard.compress(conv_net(), digits().train.x[:256], lam=1e-6, passes=plain)
    assert len(made.data) < 1.03 * len(beside.data)  # never worse but for what names and metadata take
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
    # In rationals: levels are integers, and the step is a float32.
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


def test_repeatable():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    first, second = (factorize("w", weight, flat(4, 27), 1e-3) for _ in range(2))
    assert np.array_equal(first.codes, second.codes)
    assert np.array_equal(first.basis, second.basis)


def test_what_does_not_divide_is_left_alone():
    assert factorize("w", torch.randn(3, 5), flat(3, 5), 1e-3) is None
    assert factorize("w", torch.zeros(4, 8), flat(4, 8), 1e-3) is None


def lying(**changes):
    """The bytes of a small product, with something wrong; the writer's own checks are passed by."""
    codes = np.array([[1, 0], [-3, 2]], np.int32)
    basis = np.array([[[5, 1], [0, 7]]], np.int32)
    codes, basis = changes.get("codes", codes), changes.get("basis", basis)
    records = [
        Levels("w.coefficients", "float32", codes.shape, codes, changes.get("code_step", 0)),
        Levels("w.basis", "float32", basis.shape, basis, changes.get("step", 0)),
    ]
    meta = {products.KEY: changes.get("shapes", {"w": [2, 2]})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "fold", lambda document: document)
        return file.dumps(file.Document(records[: changes.get("count", 2)], meta))


def test_the_document_without_anything_wrong():
    record = file.loads(lying()).records[0]
    wanted = [[5, 1], [0.5 * 0 - 0.25 * 5, -0.25 * 1 + 0.5 * 7]]
    assert record.value().tolist() == wanted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shapes": {"w": [2, 3]}}, "do not fit together"),
        ({"shapes": {"w": [1]}}, "do not fit together"),
        ({"shapes": {"w": []}}, "do not fit together"),
        ({"shapes": {"w": [-2, -2]}}, "badly described"),
        ({"shapes": {"w": [True, 4]}}, "badly described"),
        ({"shapes": {"w": 4}}, "badly described"),
        ({"shapes": [1]}, "badly described"),
        ({"shapes": {"w": [2, 2], "v": [2, 2]}}, "lacks the factors"),
        ({"count": 1}, "lacks the factors"),
        ({"codes": np.array([[9, 0], [0, 0]], np.int32)}, "no power of two"),
        ({"basis": np.full((1, 2, 2), 1 << 20, np.int32)}, "beyond what levels can be"),
        ({"code_step": 16}, "badly described"),
        (
            {
                "basis": np.full((1, 2, 2), 20000, np.int32),
                "codes": np.ones((2, 2), np.int32),
                "step": 113 * 16,
            },
            "its type",
        ),
        ({"shapes": {"w": [1 << 40, 1 << 40]}}, "do not fit together"),
    ],
)
def test_products_that_lie_are_refused(changes, words, tmp_path):
    data = lying(**changes)
    with pytest.raises(SzilardFileError, match=words):
        file.loads(data)
    (tmp_path / "w.szd").write_bytes(data)
    with pytest.raises(SzilardFileError, match=words):
        file.verify(tmp_path / "w.szd")


def test_products_that_cannot_be_written():
    good = Product("w", "float32", (2, 2), np.array([[1, 0], [-3, 2]]), np.array([[[5, 1], [0, 7]]]), 0)
    with pytest.raises(SzilardFileError, match="shared with v"):
        file.dumps(file.Document([good, file.Alias("v", "w")]))
    with pytest.raises(SzilardFileError, match="rename it"):
        file.dumps(file.Document([], {products.KEY: 1}))
    bad = Product("w", "float32", (2, 2), np.array([[1, 0]]), good.basis, 0)
    with pytest.raises(SzilardFileError, match="make the factors again"):
        file.dumps(file.Document([bad]))


def test_free_energy_by_hand():
    error = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    a = torch.tensor([[[2.0, 1.0], [1.0, 1.0]]]).double()
    g = torch.tensor([1.0, 0.5]).double()
    quadratic = 0.5 * (1.0 * (2 + 4 + 4) + 0.5 * 9)
    assert free_energy(error, Curvature(a, g, g), 0.1, 7.0) == pytest.approx(quadratic + 0.7)
    assert math.isclose(free_energy(error, flat(2, 2), 0.0, 7.0), 0.5 * (1 + 4 + 9))


def test_spoilt_products_are_refused_or_whole():
    data = lying()
    for place in range(len(data) - digest.FILE_BYTES):
        for change in (0x01, 0x80, 0xFF):
            spoilt = bytearray(data)
            spoilt[place] ^= change
            try:
                found = file.loads(reseal(bytes(spoilt)))
            except SzilardFileError:
                continue
            assert all(np.isfinite(value.astype(float)).all() for value in file.arrays(found).values())
