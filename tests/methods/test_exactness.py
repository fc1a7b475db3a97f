"""Every mathematical property of SSVI holds within its bound."""

import pytest
from identities import CHECKS, Check, known_answer, known_answer_checks


def assert_holds(check: Check) -> None:
    assert check.holds, f"{check.name}: {check.error:.3g} > {check.bound:.3g} ({check.detail})"


@pytest.mark.parametrize("name", CHECKS)
def test_an_identity_holds(name):
    assert_holds(CHECKS[name]())


def test_known_answer():
    answer = known_answer(steps=1200)
    for check in known_answer_checks(answer):
        assert_holds(check)
    assert answer.static_recall < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_known_answer_after_a_whole_training(seed):
    answer = known_answer(seed=seed)
    for check in known_answer_checks(answer):
        assert_holds(check)
    assert answer.recall == 1
    assert answer.static_recall < 0.3
