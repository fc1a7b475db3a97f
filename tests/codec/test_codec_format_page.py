"""The numbers on docs/codec_format.md are those of the code, and its example decodes."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from szilard.codec import bound_map, cosines, grid, head, lattice, opening, raster, weights

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "codec_format.md").read_text()


def block(name: str) -> list[str]:
    return PAGE.split(f"<!-- {name} -->\n```text\n")[1].split("```")[0].split()


@pytest.mark.parametrize(
    ("name", "offsets"),
    [
        ("centre", grid.CENTRE),
        ("edge", grid.EDGE),
        ("corner", grid.SECOND_EDGE[len(grid.EDGE) :]),
        ("raster", raster.BEFORE),
    ],
)
def test_neighbours_are_those_of_the_code(name, offsets):
    assert [tuple(map(int, word.split(","))) for word in block(name)] == list(offsets)


def test_coefficients_of_the_exponential():
    assert tuple(map(float, block("taylor"))) == lattice._TAYLOR


def test_flags_are_named_as_in_the_code():
    named = dict(re.findall(r"^\| (\d+) \| (\w+) \|", PAGE.split("| flag | name |")[1], re.M))
    assert {int(flag): name for flag, name in named.items()} == {
        getattr(head, name.upper()): name for name in named.values()
    }
    assert sum(map(int, named)) == head.ALL_FLAGS


def test_sections_are_in_the_order_of_the_code():
    table = PAGE.split("| section | content | |\n|---|---|---|\n")[1].split("\n\n")[0]
    assert tuple(re.findall(r"^\| ([a-z ]+?)(?:, with its flag)? \|", table, re.M)) == opening.PARTS


def test_files_that_belong_to_the_format():
    rows = re.findall(r"^\| `(\w+\.bin)` \| `(.*)` \| (\d+) \| `(\w+)` \|", PAGE, re.M)
    assert len(rows) == 2
    for name, folder, size, sha in rows:
        data = (ROOT / folder / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (int(size), sha)


def test_numbers_in_the_text():
    assert f"* {cosines._HALF_PI >> 22}) >> 30" in PAGE
    widths = ", ".join(map(str, bound_map.steps()[:5]))
    assert f"{widths}, ..., {bound_map.steps()[-1]}." in PAGE.replace("\n", " ")
    assert f"H = {weights.default().network.hidden}," in PAGE


def test_example():
    found = opening.decode(bytes.fromhex("".join(block("example"))))
    row, column = np.arange(8)[:, None], np.arange(16)
    array = np.stack([row * row / 4 - column, row * column / 8 - column])
    array[0, -1, -1] = np.nan
    assert found.dtype == np.float32
    assert (np.isnan(found) == np.isnan(array)).all()
    assert np.nanmax(np.abs(found - array)) <= 0.25
    assert hashlib.sha256(found.tobytes()).hexdigest() in PAGE
