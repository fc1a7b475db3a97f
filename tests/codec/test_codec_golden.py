"""Streams of format 1 decode to the same bits for ever: with every instruction set, and with numpy alone.

Never change these files: a format that cannot open them has another number.
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from field_inputs import smooth
from scipy.ndimage import gaussian_filter

from szilard.codec import Bound, candidates, fitting, opening, slices
from szilard.coding import shapes
from szilard.kernels import native

FOLDER = Path(__file__).parent / "golden"
STREAMS = [
    ("coarse_to_fine", "coarse to fine", 2846009560),
    ("raster", "raster", 290899012),
    ("map", "coarse to fine", 4157380635),
    ("base", "coarse to fine", 2367570723),
    ("relative", "coarse to fine", 1302886262),
    ("float64", "coarse to fine", 83266868),
    ("series", "coarse to fine", 965846516),
    ("raw", "raw", 2707528813),
    ("turned", "coarse to fine", 3623295922),
]


def check(name, order, crc):
    data = (FOLDER / f"{name}.szf").read_bytes()
    assert opening.order(data) == order
    assert zlib.crc32(opening.decode(data).tobytes()) == crc


@pytest.mark.skipif(not native.available(), reason="there are no C++ kernels")
@pytest.mark.parametrize(("name", "order", "crc"), STREAMS)
def test_known_bytes_with_every_instruction_set(isa, name, order, crc):
    check(name, order, crc)


@pytest.mark.parametrize(("name", "order", "crc"), STREAMS)
def test_known_bytes_with_numpy(monkeypatch, name, order, crc):
    monkeypatch.setattr(native, "available", lambda: False)
    check(name, order, crc)


def test_decoding_needs_no_torch():
    code = (
        "import sys, zlib; from pathlib import Path; from szilard.codec import opening\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    print(zlib.crc32(opening.decode(path.read_bytes()).tobytes()))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, FOLDER], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(crc) for _, _, crc in sorted(STREAMS)]


def test_the_network_in_integers_is_as_good_as_the_one_in_floating_point():
    noise = np.random.default_rng(0).normal(size=(1, 320, 480))
    array = (smooth(1, 320, 480) + 300 * gaussian_filter(noise, (0, 5, 5))).astype(np.float32)
    fit = candidates._Fit.of(array, Bound(0.3), None, False, 0, 1.0)
    generator = np.random.default_rng(0)
    model = fitting.fit(fit._sample(generator, None, 60_000), fit._start(0, shapes.TAILS), 40)
    network = fitting.integers(model)
    decoded, _ = fit._coded(network)
    every = fitting.sample(fit.layout, fit.points, generator, decoded, coded=fit.coded, size=10**9)
    with torch.no_grad():
        floating = float((model.bits(every, torch.arange(len(every.targets))) * every.weight).sum())
    _, bins, scales = slices.encode(fit.layout, network, fit.points.copy(), fit.coded)
    assert len(every.targets) == len(bins)
    assert shapes.bits(bins, scales, network.shape).sum() <= 1.003 * floating
