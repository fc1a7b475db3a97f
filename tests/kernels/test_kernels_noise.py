"""The kernels' random numbers: the documented generator, normal, independent, the same for any division of work."""

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_memory import Memory, call, needs_kernels
from scipy import stats

from szilard.kernels import native
from szilard.sparse import Support

CSRC = Path(__file__).parents[2] / "csrc"
INCLUDES = [f"-I{folder}" for folder in CSRC.iterdir() if folder.is_dir()]
MASK = 0xFFFFFFFF


def philox(counter, key, rounds=7):
    """Philox-4x32 (Salmon, Moraes, Dror and Shaw 2011, §3.3) in Python's integers: four words for each counter."""
    c = [int(word) for word in counter]
    k = [int(word) for word in key]
    for _ in range(rounds):
        left, right = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [right >> 32 ^ c[1] ^ k[0], right & MASK, left >> 32 ^ c[3] ^ k[1], left & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def reference(seed, draw, elements):
    """Elements of a draw in double precision, computed from the description in philox.hpp."""
    values = []
    for element in elements:
        block, place = divmod(element, 128)
        word, place = divmod(place, 32)
        second, lane = divmod(place, 16)
        counter = 16 * block + lane
        bits = philox([counter & MASK, counter >> 32, draw & MASK, draw >> 32], [seed & MASK, seed >> 32])[
            word
        ]
        radius = math.sqrt(-2 * math.log(((bits >> 12) + 0.5) / 2**20))
        angle = ((bits & 1023) - 511.5) / 512 * math.pi / 4
        pair = [math.cos(angle) * (-1 if bits & 0x800 else 1), math.sin(angle)]
        values.append(radius * pair[second ^ (bits >> 10 & 1)])
    return np.array(values)


def normal(seed, draw, n, threads=1):
    out = torch.empty(n)
    assert call("normal", native.Key(seed, draw), n, out, threads) == 0
    return out


# Known answers of Random123 (tests/kat_vectors): seven rounds; counter, key, answer.
KNOWN = [
    ([0] * 4, [0] * 2, [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48]),
    ([MASK] * 4, [MASK] * 2, [0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_the_reference_gives_the_published_answers(counter, key, answer):
    assert philox(counter, key) == answer


@needs_kernels
@pytest.mark.parametrize(
    ("seed", "draw"), [(0, 0), (2**64 - 1, 2**64 - 1), (1 << 32, 1), (1, 1 << 32), (0x299F31D0A4093822, 5)]
)
def test_numbers_equal_the_reference(isa, seed, draw):
    assert np.abs(normal(seed, draw, 1000).numpy() - reference(seed, draw, range(1000))).max() < 5e-6


# Elements that the ABI reaches only in arrays of many gigabytes; a counter word overflows at 2^35 elements.
FAR = [2**31 - 70, 2**32 - 70, 2**33 + 5, 2**35 - 70, 2**35 + 128, 2**40 + 3, 2**62 + 1]

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "philox.hpp"
int main(int argc, char **argv) {
    for (int i = 3; i < argc; ++i) {
        float out[140];
        Normals normals({strtoull(argv[1], nullptr, 10), strtoull(argv[2], nullptr, 10)});
        normals.fill(strtoull(argv[i], nullptr, 10), 140, out);
        for (float e : out) printf("%.9g\\n", (double)e);
    }
}
"""


@pytest.mark.parametrize(("width", "flags"), [(4, []), (8, ["-mavx2", "-mfma"])])
def test_elements_beyond_thirty_two_bits(tmp_path, width, flags):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or (flags and native.available() and native.isa() not in ("avx2", "avx512")):
        pytest.skip("no compiler, or a processor without AVX2")
    (tmp_path / "far.cpp").write_text(PROGRAM)
    defines = [
        f"-DSZILARD_WIDTH={width}",
        "-DSZILARD_VECTORS=4",
        *INCLUDES,
        *flags,
    ]
    built = [compiler, "-std=c++17", "-O1", *defines, "far.cpp", "-o", "far"]
    subprocess.run(built, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [tmp_path / "far", "77", "88", *map(str, FAR)], check=True, capture_output=True, text=True
    )
    ours = np.array(done.stdout.split(), dtype=float).reshape(len(FAR), 140)
    for first, numbers in zip(FAR, ours, strict=True):
        assert np.abs(numbers - reference(77, 88, range(first, first + 140))).max() < 5e-6, first


@needs_kernels
@pytest.mark.parametrize("n", [1, 15, 16, 17, 127, 128, 129, 16383, 16384, 16385, 50_001])
def test_a_shorter_array_is_the_beginning_of_a_longer_one(isa, n):
    whole, memory = normal(3, 4, 60_000), Memory(True)
    for threads in (1, 2, 3):
        out = memory.output(n)
        assert call("normal", native.Key(3, 4), n, out, threads) == 0
        assert torch.equal(out, whole[:n])


@needs_kernels
@pytest.mark.parametrize("batch", [1, 3, 17, 64, 100, 129, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_operators_noise_is_that_of_the_draw(isa, batch, threads):
    """Without entries the output is sqrt(tiny) times the noise, for any division into rows and tiles."""
    support, m = Support.from_mask(torch.zeros(37, 5, dtype=torch.bool)), Memory(True)
    x = m.input(torch.randn(5, batch))
    y, factor = m.output(37, batch), m.output(37, batch)
    arguments = (m.index(support), batch, x, None, None, None, native.Key(9, 8), 0, y, factor, None, threads)
    assert call("lrt_linear", *arguments) == 0
    noise = normal(9, 8, 37 * batch).view(37, batch)
    assert torch.allclose(y, noise * 1e-4, rtol=1e-6, atol=0)
    assert torch.allclose(factor, noise / 2e-4, rtol=1e-6, atol=0)
    geometry = native.Geometry(batch, 5, 3, 2, 37, 3, 2, 1, 1, 1, 1, 0, 0, 1, 1, 1)
    y = m.output(37, 3, 2, batch)
    x = m.input(torch.randn(5, 3, 2, batch))
    key = native.Key(9, 8)
    assert call("lrt_conv", m.index(support), geometry, x, None, None, key, y, None, None, threads) == 0
    assert torch.allclose(y, normal(9, 8, y.numel()).view_as(y) * 1e-4, rtol=1e-6, atol=0)


N = 1 << 20


@needs_kernels
def test_moments_and_distribution(isa):
    x = normal(11, 0, N).double().numpy()
    variances = {1: 1, 2: 2, 3: 15, 4: 96, 5: 945, 6: 10170}  # variance of x^k for a normal x
    means = {1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15}
    for power, mean in means.items():
        assert abs((x**power).mean() - mean) < 5 * math.sqrt(variances[power] / N), power
    assert stats.kstest(x, "norm").pvalue > 1e-3
    assert stats.kstest(x**2, "chi2", args=(1,)).pvalue > 1e-3
    for bound in (1, 2, 3, 4):  # the tails, as counts
        tail = 2 * stats.norm.sf(bound)
        assert abs((np.abs(x) > bound).mean() - tail) < 5 * math.sqrt(tail / N), bound
    assert np.abs(x).max() < 5.5


@needs_kernels
def test_draws_seeds_and_neighbours_are_independent(isa):
    rows = [normal(seed, draw, 1 << 14) for seed in (0, 1, 2, 1 << 32) for draw in (0, 1, 2, 1 << 32)]
    correlations = np.corrcoef(torch.stack(rows).double().numpy())
    off_diagonal = correlations[~np.eye(len(rows), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / math.sqrt(1 << 14)
    x = normal(5, 6, N).double().numpy()
    for distance in (1, 2, 3, 15, 16, 17, 31, 32, 64, 127, 128, 129, 1024, 16384):
        pairs = (x[:-distance], x[distance:])
        for power in (1, 2):  # power 2: also magnitudes, since a pair could share its radius
            a, b = pairs[0] ** power, pairs[1] ** power
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(N), (distance, power)
