"""Densities too low for a small network are warned about before and after training."""

import random
import re
import warnings
from itertools import pairwise

import pytest
import torch
from cli_tools import szilard
from torch import nn

from szilard import data, fit, methods
from szilard.cli.messages import format_warning
from szilard.errors import SzilardError, SzilardWarning
from szilard.training import devices, low_density
from szilard.training.divergence import message


def prepared(density, *widths, method=methods.SSVI):
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    made = method(100, density=density)
    return made.prepare(nn.Sequential(*layers)), made


def test_entries_and_units_are_counted():
    network, _ = prepared(0.05, 4, 16, 2)
    first, second = low_density.layers(network)
    assert (first.units, first.entries, first.size) == (16, 3, 64)
    assert (second.units, second.entries, second.size) == (2, 2, 32)
    assert low_density.layers(prepared(1.0, 4, 16, 2)[0]) == []


@pytest.mark.parametrize("method", [methods.SSVI, methods.Deterministic])
def test_units_without_entries_are_warned_about_before_training(method):
    network, made = prepared(0.05, 4, 16, 2, method=method)
    with pytest.warns(
        SzilardWarning, match="leaves layer '0' of .* 3 entries for 16 units, so 13 or more"
    ) as got:
        low_density.warn(network, made)
    larger = float(re.search(r"such as ([\d.]+)", str(got[0].message))[1])
    assert all(
        layer.entries >= 2 * layer.units for layer in low_density.layers(prepared(larger, 4, 16, 2)[0])[:1]
    )


@pytest.mark.parametrize(
    ("density", "widths"),
    [(0.05, (64, 512, 512, 10)), (0.05, (8, 512, 512, 1)), (0.5, (4, 16, 2)), (1.0, (2, 2))],
)
def test_other_networks_give_no_warning(density, widths):
    network, made = prepared(density, *widths)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low_density.warn(network, made)


def test_advice():
    assert low_density.advice(*prepared(0.05, 64, 512, 512, 10)) is None
    assert low_density.advice(*prepared(1.0, 4, 16, 2)) is None
    assert low_density.advice(*prepared(0.05, 4, 16, 2)) == (
        "only 5 of the 96 weights of its sparse layers exist, so try a larger density, such as 0.5"
    )
    few = low_density.advice(*prepared(0.5, 20, 20, 2))  # two entries a unit, but few in total
    assert few == "only 220 of the 440 weights of its sparse layers exist, so try a larger density, such as 1"


def separable(path):
    draws = random.Random(0)
    rows = [(draws.gauss(0, 1), draws.gauss(0, 1)) for _ in range(120)]
    path.write_text("\n".join(["a,b,y", *(f"{a:.4f},{b:.4f},{'pq'[a + b > 0]}" for a, b in rows)]))
    return path


def test_after_training_a_larger_density_is_advised(tmp_path):
    loaded = data.load(separable(tmp_path / "a.csv"), target="y", ood="none")
    assert len(loaded.train) == 84
    nll = torch.tensor(2.0).log().item()
    advice = "only 5 of the 96 weights of its sparse layers exist, so try a larger density"
    text = message(loaded, nll, nll, nll, "SSVI", 200, advice)
    assert text.endswith(f"; {advice}")
    text = message(loaded, nll, nll, nll, "SSVI", 200)
    assert text.endswith("; try another learning rate or more epochs")
    assert "--" not in text
    method = methods.SSVI(84, density=0.02, lr=1e-6)  # learns nothing
    with pytest.warns(SzilardWarning) as got:
        fit(method, "mlp:16", loaded, epochs=30, samples=2, progress=False, accelerator="cpu")
    sentences = [str(one.message) for one in got]
    assert any("leaves layer" in text for text in sentences)
    assert any(
        "is no better than a constant prediction" in text and "try a larger density, such as" in text
        for text in sentences
    )


def test_on_the_command_line_the_advice_names_the_option(tmp_path):
    with pytest.warns(SzilardWarning, match="leaves layer") as got:
        typed = szilard(
            "fit", "--data", separable(tmp_path / "a.csv"), "--target", "y", "--network", "mlp:16", "--no-baselines",
            "--epochs", 1, "--samples", 2, "--accelerator", "cpu", "--ood", "none", "-q", "--out", tmp_path / "run",
        )  # fmt: skip
    assert typed.code == 0, typed.output
    text = format_warning(got[0].message, SzilardWarning, "f", 1)
    assert re.search(r"choose a larger --density, such as [\d.]+\n$", text)


def test_in_python_the_messages_name_python_arguments(tmp_path):
    with pytest.raises(SzilardError, match="use accelerator='cpu' and devices=1"):
        devices.start("cuda" if not torch.cuda.is_available() else "tpu")
    loaded = data.load(separable(tmp_path / "a.csv"), target="y", ood="none")
    for out, kept in ((None, False), (tmp_path / "run", True)):
        with pytest.raises(SzilardError, match="try a lower learning rate") as stopped:
            fit(
                methods.Deterministic(84, lr=1e36), "mlp:8", loaded, epochs=3, out=out, progress=False,
                accelerator="cpu", samples=1,
            )  # fmt: skip
        assert ("the last good checkpoint is kept" in str(stopped.value)) == kept
