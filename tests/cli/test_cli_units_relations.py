"""The relation between a network's outputs and the targets is found, whatever their units."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.file.ledger import smaller
from szilard.model.unit_choice import Candidate, choose
from szilard.model.unit_relation import relation_of


@given(slope=st.floats(1e-3, 1e6), offset=st.floats(-1e3, 1e3), seed=st.integers(0, 100), log=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_linear_or_logarithmic_relation_is_found_in_any_units(slope, offset, seed, log):
    made = torch.Generator().manual_seed(seed)
    output = torch.randn(200, generator=made, dtype=torch.float64)
    y = (2 * output).exp() if log else slope * output + offset
    relation = relation_of(output, y, "price")
    assert relation is not None
    assert abs(abs(relation.r) - 1) < 1e-6
    assert relation.text.startswith("log price = 2 x output" if log else "price = ")
    assert relation.explains(-1.0) or not abs(relation.r) > 0.7
    assert log or not relation.explains(relation.linear**2)
    assert not relation.explains(relation.r**2)


@pytest.mark.parametrize("offset", [0.0, 11.0])
def test_a_logarithmic_relation_is_found_although_r2_is_above_0(offset):
    made = torch.Generator().manual_seed(0)
    output = torch.randn(200, generator=made)
    relation = relation_of(
        output, (0.7 * output + offset + 0.05 * torch.randn(200, generator=made)).exp(), "price"
    )
    assert relation is not None
    assert relation.text.startswith("log price = 0.7") or relation.text.startswith("log price = 0.69")
    assert relation.text.endswith("x output" if not offset else "+ 11")
    assert relation.forbids(0.7)  # a straight line explains no more than this
    assert not relation.explains(0.97)


def test_a_monotone_relation_is_distinguished_from_outliers():
    made = torch.Generator().manual_seed(0)
    y = 3 * torch.randn(300, generator=made)
    noise = torch.randn(300, generator=made)
    relation = relation_of(y.sign() * y.abs().pow(0.1) * 2 + 0.1 * noise, y.pow(3), "price")
    assert relation is not None
    assert relation.monotone
    assert relation.forbids(0.5)
    hint = choose([Candidate(0.5, "a", "A", relation)], "R²")
    assert hint.misjudged
    assert "price = a monotone function of output" in hint.other_units
    wrong = y + 0.1 * noise
    wrong[:3] -= 60
    right = relation_of(wrong, y, "price")
    assert right is not None
    assert not right.monotone
    assert not right.explains(0.1)


def test_noise_gives_no_relation():
    made = torch.Generator().manual_seed(0)
    relation = relation_of(torch.randn(300, generator=made), torch.randn(300, generator=made), "y")
    assert relation is not None
    assert not relation.explains(-5.0)
    assert relation_of(torch.zeros(300), torch.randn(300, generator=made), "y") is None


def test_the_message_about_a_choice():
    usual, other = Candidate(0.9, "a", "A"), Candidate(0.905, "b", "B")
    assert (
        choose([usual, other], "accuracy", guessing=0.5).text
        == "A (validation accuracy is 0.900; it is 0.905 if B)"
    )
    clear = choose([usual, Candidate(0.95, "b", "B")], "accuracy", guessing=0.5)
    assert clear.what == "b"
    assert clear.text == "B, because validation accuracy is then 0.950, and 0.900 if A"
    assert "low in all units" in choose([Candidate(0.2, "a", "A"), Candidate(-3.0, "b", "B")], "R²").text
    assert "not finite" in choose([usual, Candidate(-torch.inf, "b", "B")], "accuracy").text


@given(st.floats(0.5, 3.0))
@settings(deadline=None)
def test_a_ratio_near_1_is_printed_in_per_cent(ratio):
    message = smaller(ratio)
    assert not message.startswith("1.0 times")
    assert (message == "no smaller") == (abs(ratio - 1) < 0.004) or 0.004 <= abs(ratio - 1) <= 0.006
    assert ("larger" in message) == (ratio < 1 and message != "no smaller")
