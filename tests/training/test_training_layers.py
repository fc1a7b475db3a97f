"""Runs of networks with recurrent layers and embeddings: resuming, loading and compressing."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
from killed_run import killed_after

import szilard
from szilard import SzilardWarning, bayes, data, fit, methods
from szilard.training import load_network

CODE = """
import torch
from torch import nn


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.place = nn.Embedding(8, 8)
        self.layer, self.out = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x):
        rows = x.flatten(1).unflatten(1, (8, 8)) + self.place(torch.arange(8))
        return self.out(self.layer(rows)[0].mean(1))


def build():
    return Rows()
"""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "rows.py").write_text(CODE)
    return f"{tmp_path}/rows.py:build"


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", n_train=48)


def short(digits, spec, out, **options):
    method = methods.SSVI(len(digits.train), density=0.3, every=4, growth_batches=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        return fit(
            method, spec, digits, out=out, epochs=3, batch_size=16, samples=2, progress=False, accelerator="cpu",
            checkpoint_steps=1, **options,
        )  # fmt: skip


def state(path):
    return load_network(path, trusted=True).network.state_dict()


@pytest.mark.parametrize(
    "moment", [2, 3, 5]
)  # while growth gradients are collected before a move, and after the move
def test_a_run_resumes_bit_for_bit_and_can_be_loaded(digits, spec, tmp_path, moment):
    short(digits, spec, tmp_path / "whole")
    with killed_after(moment):
        short(digits, spec, tmp_path / "killed")
    short(digits, spec, tmp_path / "killed", resume=True)
    first, second = (state(tmp_path / name / "ssvi" / "network.pt") for name in ("whole", "killed"))
    assert "layer.bayes_weights.weight_hh_l0.log_std" in first
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_compressed_run_predicts_about_the_same(digits, spec, tmp_path):
    short(digits, spec, tmp_path)
    found = load_network(tmp_path / "ssvi" / "network.pt", trusted=True)
    small = szilard.compress(found.network, lam=1e-7, calibration=(digits.valid.x, digits.valid.y))
    small.save(tmp_path / "small.szd")
    found.network.load_state_dict(szilard.load(tmp_path / "small.szd"))
    x = digits.test.x
    got = found.method.predict(found.network, x, samples=2).mean
    want = load_network(tmp_path / "ssvi" / "network.pt", trusted=True)
    assert float((got - want.method.predict(want.network, x, samples=2).mean).abs().max()) < 0.2


def test_a_file_with_a_dense_lstm_can_be_loaded(digits, spec, tmp_path, monkeypatch):
    """Earlier versions did not convert recurrent layers."""
    monkeypatch.setattr(methods.SSVI, "except_", "layer", raising=False)
    method = methods.SSVI(len(digits.train), density=0.3)
    method.except_ = ["layer", "place"]
    torch.manual_seed(0)
    network = method.prepare(szilard.networks.build(spec, digits.input_shape, digits.n_outputs))
    path = tmp_path / "network.pt"
    szilard.model.saved_network.save(
        path, method, network, digits, options={"density": 0.3}, network_spec=spec, source={}
    )
    found = load_network(path, trusted=True)
    assert list(bayes.weights(found.network)) == ["out"]
    assert torch.equal(found.network.layer.weight_hh_l0, network.layer.weight_hh_l0)


def test_draws_are_thread_local(digits, spec):
    method = methods.MeanField(10)
    torch.manual_seed(0)
    network = method.prepare(szilard.networks.build(spec, digits.input_shape, digits.n_outputs))
    x = digits.test.x[:16]
    alone = [method.predict(network, x, samples=3, seed=seed).mean for seed in range(4)]
    together: dict[int, torch.Tensor] = {}

    def ask(seed):
        together[seed] = method.predict(network, x, samples=3, seed=seed).mean

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(alone[seed], together[seed]) for seed in range(4))
