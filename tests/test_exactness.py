"""The checks of benchmarks/exactness.py, each as a test."""

import pytest

import exactness


@pytest.mark.parametrize("name", exactness.CHECKS)
def test_check_holds(name):
    check = exactness.CHECKS[name]()
    assert check.holds, f"{check.name}: {check.error:.3g} > {check.bound:.3g} ({check.detail})"


def test_known_answer():
    answer = exactness.known_answer(steps=2500)
    for check in exactness.known_answer_checks(answer):
        assert check.holds, f"{check.name}: {check.error:.3g} > {check.bound:.3g} ({check.detail})"
    assert answer.static_recall < 0.3
