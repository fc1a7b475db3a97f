"""Methods of sparse training with phases or several sets of weights, as a user runs them."""

from __future__ import annotations

import json

import pytest
from cli_tools import szilard

FIT = (
    "fit", "--data", "digits", "--n-train", "40", "--network", "mlp:8", "--no-baselines", "--batch-size", "10",
    "--epochs", "4", "--samples", "1", "--ood", "none", "--accelerator", "cpu", "--quiet",
)  # fmt: skip
WEIGHTS = {"1": 64 * 8, "3": 8 * 10}


def test_a_run_of_all_and_what_follows_it(tmp_path):
    run = tmp_path / "run"
    settings = tmp_path / "run.toml"
    settings.write_text(
        '[data]\nname = "digits"\nn_train = 40\nood = "none"\n[network]\nspec = "mlp:8"\n'
        "[fit]\nepochs = 4\nbatch_size = 10\nsamples = 1\n"
        "[method.snfs]\ndensity = 0.2\nevery = 3\n[method.topkast]\ndensity = 0.2\nevery = 3\n"
        "[method.acdc]\ndensity = 0.2\ncycles = 2\n[method.free-tickets]\ndensity = 0.2\nevery = 3\nmembers = 2\n"
    )
    assert szilard("fit", settings, "--out", run, "--accelerator", "cpu", "--quiet").code == 0
    for name in ("snfs", "topkast", "acdc", "free-tickets"):
        found = json.loads((run / name / "result.json").read_text())
        densities = found["density"]
        members = ("members.0.", "members.1.") if name == "free-tickets" else ("",)
        assert len(densities) == len(WEIGHTS) * len(members)
        for member in members:
            entries = sum(densities[member + layer] * size for layer, size in WEIGHTS.items())
            assert round(entries, 6) == round(0.2 * sum(WEIGHTS.values()))
        assert found["steps"] == 16
    szilard("compress", run, "--method", "free-tickets").refused(
        "an ensemble of 2 networks", "classification"
    )
    szilard("compress", run / "free-tickets" / "network.pt", "--no-data", "--lam", "1e-6").refused(
        "give a member"
    )
    done = szilard("measure", run, "--json")
    assert done.code == 0


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        ("snfs", "pattern=block4", "removes single weights and takes no pattern block4"),
        ("acdc", "cycles=20", "16 steps are too few for 42 phases"),
        ("topkast", "backward_density=0.01", "backward_density must be above density"),
        ("free-tickets", "members=40", "16 steps are too few for 40 refinements"),
    ],
)
def test_options_that_cannot_be_are_refused_before_a_file_is_written(tmp_path, method, option, message):
    out = tmp_path / "run"
    szilard(*FIT, "--method", method, "--option", option, "--density", "0.2", "--out", out).refused(message)
    assert not out.exists()
