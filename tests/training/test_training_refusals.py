"""A run that a method refuses leaves no folder, so that the corrected command can use the same one."""

from __future__ import annotations

import pytest

from szilard import SzilardError, methods
from szilard.run.settings import DataSettings, FitSettings, NetworkSettings, Settings
from szilard.training.run import run

NETWORK = """
from torch import nn

def make(input_shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, n_outputs))
"""
REFUSED = {  # options or a length with which a method cannot train, and the sentence that says so
    "acdc": (1, {}, "steps"),
    "early-bird": (8, {}, "compares 5 masks, one every 3 steps, and 4 come in the first 0.5 of 24 steps"),
    "elastic-ticket": (1, {"ticket": "nowhere"}, "nowhere"),
    "free-tickets": (1, {}, "steps"),
    "posterior-tickets": (1, {}, "steps"),
    "tickets": (1, {}, "steps"),
}


def start(tmp_path, name, epochs, options):
    (tmp_path / "net.py").write_text(NETWORK)
    settings = Settings(
        data=DataSettings("digits", n_train=36),
        network=NetworkSettings(f"{tmp_path / 'net.py'}:make"),
        fit=FitSettings(epochs=epochs, batch_size=12, samples=1),
        methods={name: options},
    )
    run(settings, tmp_path / "out", progress=False)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_run_leaves_no_folder(name, tmp_path):
    epochs, options, sentence = REFUSED[name]
    with pytest.raises(SzilardError, match=sentence):
        start(tmp_path, name, epochs, options)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(methods.names()) - {"elastic-ticket"}))
def test_a_shortest_run_is_finished_or_leaves_no_folder(name, tmp_path):
    try:
        start(tmp_path, name, 1, {})
    except SzilardError:
        assert not (tmp_path / "out").exists()
    else:
        assert (tmp_path / "out" / name / "result.json").is_file()
