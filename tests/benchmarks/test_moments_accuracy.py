"""The benchmark of means and variances: what it measures, and what its figures say of it."""

import pytest
import torch

import moments_accuracy as benchmark
from uncertainty import moment_rules


@pytest.fixture(scope="module")
def found():
    return {
        "rules": [benchmark.rules(0, 20_000)], "conditioning": [benchmark.conditioning(0)],
        "pools": [benchmark.pools(0, 1000)], "resnet20": [{"sd_ratio": 0.75, "sd_ratio_fitted": 1.0}],
    }  # fmt: skip


def test_a_wrong_rule_is_seen():
    generator = torch.Generator().manual_seed(0)
    right = moment_rules.errors(lambda x: 2 * x, (), generator, 20_000)
    wrong = moment_rules.errors(
        lambda x: x + x.flip(-1).flip(-1), (), generator, 20_000
    )  # one variable, counted as two
    assert right[1] < 0.06
    assert wrong[1] == pytest.approx(0.5, abs=0.06)


def test_figures_follow_the_measurements(found):
    figures = benchmark.figures(found)
    assert figures["conditioning_holds"] is True
    assert figures["pool_order_holds"] is True
    assert figures["rules_hold"] is False  # too few draws for 1 %
    assert figures["resnet20_sd_ratio"] == 0.75
    exact = dict.fromkeys(found["rules"][0], (0.001, 0.001))
    assert benchmark.figures({**found, "rules": [exact]})["rules_hold"] is True
    worse = {**found["pools"][0], "1": {"pool, ReLU": 0.8, "ReLU, pool": 0.6}}
    assert benchmark.figures({**found, "pools": [worse]})["pool_order_holds"] is False
    forms = {"0.001": {"variance form": 1e-5, "second moments": 0.1}}
    assert benchmark.figures({**found, "conditioning": [forms]})["conditioning_holds"] is False


def test_tables_have_a_cell_for_each_column(found):
    assert all(len(row) == len(benchmark.RULE_COLUMNS) for row in benchmark.rule_body(found))
    for name, columns in (("conditioning", benchmark.FORM_COLUMNS), ("pools", benchmark.POOL_COLUMNS)):
        assert all(len(row) == len(columns) for row in benchmark.worst_body(found[name], ".2g", True))
    run = {
        "accuracy_pass": 1.0, "accuracy_draws": 1.0, "mean_correlation": 1.0, "sd_correlation": 1.0, "sd_ratio": 1.0,
        "auroc_pass": 1.0, "auroc_draws": 1.0, "auroc_logit_variance": 0.5,
    }  # fmt: skip
    assert [len(row) for row in benchmark.body({"digits": [run]})] == [len(benchmark.COLUMNS)]
