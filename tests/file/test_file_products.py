"""Products in a file: valid ones are read, invalid and damaged ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
from file_tools import reseal

from szilard import file
from szilard.file import Levels, Product, SzilardFileError, digest, factors, writer


def invalid(**changes):
    """The bytes of a small product with something wrong, written without the checks of the writer."""
    codes = np.array([[1, 0], [-3, 2]], np.int32)
    basis = np.array([[[5, 1], [0, 7]]], np.int32)
    codes, basis = changes.get("codes", codes), changes.get("basis", basis)
    records = [
        Levels("w.coefficients", "float32", codes.shape, codes, changes.get("code_step", 0)),
        Levels("w.basis", "float32", basis.shape, basis, changes.get("step", 0)),
    ]
    meta = {factors.KEY: changes.get("shapes", {"w": [2, 2]})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "fold", lambda document: (document, {}))  # the format before flag 16
        return file.dumps(file.Document(records[: changes.get("count", 2)], meta))


def test_the_unchanged_product_is_valid():
    record = file.loads(invalid()).records[0]
    wanted = [[5, 1], [0.5 * 0 - 0.25 * 5, -0.25 * 1 + 0.5 * 7]]
    assert record.value().tolist() == wanted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shapes": {"w": [2, 3]}}, "do not match"),
        ({"shapes": {"w": [1]}}, "do not match"),
        ({"shapes": {"w": []}}, "do not match"),
        ({"shapes": {"w": [-2, -2]}}, "products are not valid"),
        ({"shapes": {"w": [True, 4]}}, "products are not valid"),
        ({"shapes": {"w": 4}}, "products are not valid"),
        ({"shapes": [1]}, "products are not valid"),
        ({"shapes": {"w": [2, 2], "v": [2, 2]}}, "factors of a product are missing"),
        ({"count": 1}, "factors of a product are missing"),
        ({"codes": np.array([[9, 0], [0, 0]], np.int32)}, "not a power of two"),
        ({"basis": np.full((1, 2, 2), 1 << 20, np.int32)}, "outside the range of levels"),
        ({"code_step": 16}, "invalid fields"),
        (
            {
                "basis": np.full((1, 2, 2), 20000, np.int32),
                "codes": np.ones((2, 2), np.int32),
                "step": 113 * 16,
            },
            "its type",
        ),
        ({"shapes": {"w": [1 << 40, 1 << 40]}}, "larger than the format allows"),
        ({"shapes": {"w": [1] * 8 + [4]}}, "8 dimensions"),
        ({"shapes": {"w": [1] * 70 + [4]}}, "8 dimensions"),
        ({"step": -126 * 16 + 111}, "outside the range of float32"),
        # A few hundred bytes whose product would take minutes to compute.
        (
            {
                "codes": np.ones((2048, 2048), np.int32) + np.eye(2048, dtype=np.int32),
                "basis": np.eye(2048, dtype=np.int32)[None],
                "shapes": {"w": [2048, 2048]},
            },
            "longer than 64",
        ),
    ],
)
def test_invalid_products_are_refused(changes, words, tmp_path):
    data = invalid(**changes)
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
        file.dumps(file.Document([], {factors.KEY: 1}))
    bad = Product("w", "float32", (2, 2), np.array([[1, 0]]), good.basis, 0)
    with pytest.raises(SzilardFileError, match="make the factors again"):
        file.dumps(file.Document([bad]))


def test_damaged_products_are_refused_or_finite():
    data = invalid()
    for place in range(len(data) - digest.FILE_BYTES):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= change
            try:
                found = file.loads(reseal(bytes(damaged)))
            except SzilardFileError:
                continue
            assert all(np.isfinite(value.astype(float)).all() for value in file.arrays(found).values())
