"""Mutated streams of fields: an error of ours, or the same values with the C++ kernels and without.

The mutations are those of ``benchmarks/faults.py``, which tries many more in separate processes.
"""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

from robustness import field_seeds, hostile_fields
from szilard.codec import head, opening
from szilard.kernels import native

RESULTS = ("wrong_exceptions", "wrong_values", "code_run")  # memory and time depend on the machine


def wrong(found):
    return [fault for fault in found if fault[0] in RESULTS]


def test_seeds_are_streams_of_every_mode():
    flags = 0
    orders, dims, types = set(), set(), set()
    for draft, data in zip(field_seeds.seeds(), field_seeds.seed_files(), strict=True):
        assert hostile_fields.attempt(data).kind == "opened"
        orders.add(opening.order(data))
        dims.add(len(draft.dims))
        types.add(draft.kind)
        flags |= draft.coded[0] if draft.coded else 0
    assert orders == {"raw", "coarse to fine", "raster"}
    assert dims == {1, 2, 3, 4, 5}
    assert types == {0, 1}
    assert flags == head.ALL_FLAGS


def test_mutated_streams():
    kinds: Counter[str] = Counter()
    reasons = set()
    for number in range(250):
        found = hostile_fields.attempt(hostile_fields.mutant(number))
        assert not wrong(found.faults), number
        kinds[found.kind] += 1
        reasons.add(found.reason[:40])
    assert kinds["forged"] > 25
    assert kinds["opened"] > 25
    assert len(reasons) > 20


def test_the_same_number_gives_the_same_stream():
    assert hostile_fields.mutant(7) == hostile_fields.mutant(7)
    assert len({hostile_fields.mutant(number) for number in range(60)}) > 45


@pytest.mark.parametrize("kind", ["exception", "warning", "values", "refusal"])
def test_faults_are_detected(kind, monkeypatch):
    data, decode = field_seeds.seed_files()[4], opening.decode

    def faulty(*given, **options):
        found = decode(*given, **options)
        if kind == "exception":
            raise KeyError("x")
        if kind == "warning":
            warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        if not native.available():
            if kind == "refusal":
                raise opening.CodingError("no")
            found.reshape(-1)[0] = np.nextafter(found.reshape(-1)[0], np.inf)
        return found

    monkeypatch.setattr(opening, "decode", faulty)
    if kind in ("values", "refusal") and not native.available():
        pytest.skip("there are no C++ kernels")
    expected = "wrong_values" if kind in ("values", "refusal") else "wrong_exceptions"
    assert expected in {key for key, _ in hostile_fields.check(data)}


def test_a_forged_checksum_opens_what_the_decoder_computes():
    good = field_seeds.seed_files()[3]
    place = hostile_fields.check_place(good)
    bad = field_seeds.seal(good[:place] + bytes(4) + good[place + 4 : -4])
    assert hostile_fields.compared(bad).kind == "refused"
    assert hostile_fields.attempt(bad).kind == "forged"


@pytest.mark.slow
def test_a_hundred_thousand_mutated_streams():
    for number in range(100_000):
        assert not wrong(hostile_fields.check(hostile_fields.mutant(number))), number
