"""The training loop: the files that it writes, bit-exact resumption, and errors."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace

import few_steps
import numpy as np
import pytest
import scipy.stats
import torch
from killed_run import Killed, killed_after
from torch import nn

from szilard import SzilardError, SzilardWarning, data, fit, measure, methods, networks
from szilard.data import DataSet, Split
from szilard.model import checkpoint, saved_network
from szilard.training import Run, divergence, job, load_network

EPOCHS, BATCH = 3, 16  # of 48 examples: three steps an epoch
TIMINGS = {"seconds", "seconds_per_step", "peak_bytes"}


@pytest.fixture(scope="module")
def digits() -> DataSet:
    """Few inputs of each part, because most of the time of a short run is that of its evaluation."""
    every = data.load("digits", n_train=48)
    few = {name: getattr(every, name) for name in ("valid", "test", "ood")}
    return replace(every, **{name: Split(part.x[:100], part.y[:100]) for name, part in few.items()})


@pytest.fixture(scope="module")
def line() -> DataSet:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(120, 3, generator=draws)
    y = x @ torch.tensor([1.0, -1.0, 0.5]) + 0.1 * torch.randn(120, generator=draws)
    parts = [Split(x[i : i + 40], y[i : i + 40]) for i in (0, 40, 80)]
    return DataSet("line", "regression", *parts, None, None, (), torch.zeros(3), torch.ones(3), 5.0, 2.0)


def ssvi(data: DataSet, **options) -> methods.Method:
    return methods.SSVI(len(data.train), density=0.3, every=4, growth_batches=3, **options)


def short(data: DataSet, out=None, network="mlp:8", method=None, **options) -> Run:
    options = {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "samples": 4,
        "progress": False,
        "accelerator": "cpu",
    } | options
    return fit(method or ssvi(data), network, data, out=out, **options)


def untimed(value):
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMINGS}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def assert_same_folder(a, b) -> None:
    """Check that everything but times is equal bit for bit."""
    lines = [[untimed(json.loads(x)) for x in (p / "metrics.jsonl").read_text().splitlines()] for p in (a, b)]
    assert lines[0] == lines[1]
    results = [untimed(json.loads((p / "result.json").read_text())) for p in (a, b)]
    assert results[0] == results[1]
    states = [checkpoint.load(p / "network.pt", "network")["state_dict"] for p in (a, b)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    arrays = [np.load(p / "arrays.npz", allow_pickle=False) for p in (a, b)]
    assert sorted(arrays[0].files) == sorted(arrays[1].files)
    for name in arrays[0].files:
        np.testing.assert_array_equal(arrays[0][name], arrays[1][name])


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """The folder of an uninterrupted run; read-only."""
    folder = tmp_path_factory.mktemp("whole")
    short(digits, folder)
    return folder


def test_a_run_learns_and_writes_its_files(digits, tmp_path):
    run = short(digits, tmp_path, network="mlp:32", epochs=25, lr=0.02)
    assert run.test["accuracy"] > 0.6  # 48 examples, 30 % of the weights; chance is 0.1
    assert run.history[-1]["free_energy"] < 0.5 * run.history[0]["free_energy"]
    folder = tmp_path / "ssvi"
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == run.history
    assert [line["epoch"] for line in lines] == list(range(1, 26))
    assert [line["step"] for line in lines] == list(range(3, 78, 3))
    for entry in lines:
        assert entry["free_energy"] == entry["energy"] + entry["cost"]
        assert entry["cost"] > 0
        assert {"accuracy", "nll"} <= entry["valid"].keys()
    result = json.loads((folder / "result.json").read_text())
    assert result["test"] == run.test
    assert result["cost"] == run.cost.to_dict()
    assert result["cost"]["train_flops"]["source"] == "counted"
    assert result["cost"]["joules_training"]["source"] == "estimated"
    assert result["cost"]["seconds"]["source"] == "measured"
    assert set(result["density"].values()) == {0.3} or all(
        abs(d - 0.3) < 0.01 for d in result["density"].values()
    )
    assert "auroc_best" in result["test"]
    assert sorted(p.name for p in folder.iterdir()) == [
        "arrays.npz", "checkpoint.pt", "metrics.jsonl", "network.pt", "result.json",
    ]  # fmt: skip


def test_the_arrays_for_the_report_are_written(digits, tmp_path):
    short(digits, tmp_path)
    arrays = np.load(tmp_path / "ssvi" / "arrays.npz", allow_pickle=False)
    n = len(digits.test)
    assert arrays["test_mean_probabilities"].shape == (n, 10)
    assert arrays["test_mean_probabilities"].dtype == np.float16
    np.testing.assert_array_equal(arrays["test_labels"], digits.test.y.numpy())
    assert arrays["uncertain_images"].shape == (16, 8, 8)
    assert 0 <= arrays["uncertain_images"].min() < arrays["uncertain_images"].max() <= 1
    assert arrays["reliability_count"].sum() == n
    assert len(arrays["reliability_edges"]) == len(arrays["reliability_count"]) + 1
    assert arrays["risk_coverage_coverage"][-1] == 1
    assert len(arrays["ood_max_probability"]) == len(digits.ood)
    assert len(arrays["weight_names"]) == 2
    for i in range(2):
        assert arrays[f"log_std_start_{i}"].shape == arrays[f"snr_end_{i}"].shape
        assert not np.array_equal(arrays[f"log_std_start_{i}"], arrays[f"log_std_end_{i}"])


def test_the_test_part_is_used_once(digits, monkeypatch):
    seen = []
    predict = methods.SSVI.predict

    def spy(self, network, x, **rest):
        seen.append("test" if x is digits.test.x else "valid" if x is digits.valid.x else "ood")
        return predict(self, network, x, **rest)

    monkeypatch.setattr(methods.SSVI, "predict", spy)
    short(digits)
    # Before training (to detect divergence), after each epoch, and at the end.
    assert seen == ["valid"] + ["valid"] * EPOCHS + ["valid", "test", "ood"]


def test_a_seed_determines_the_run_and_the_global_generator_is_unchanged(digits, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    short(digits, tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    short(digits, tmp_path / "b")
    assert_same_folder(tmp_path / "a" / "ssvi", tmp_path / "b" / "ssvi")
    other = short(digits, seed=1)
    assert (
        other.history[0]["energy"]
        != json.loads((tmp_path / "a/ssvi/metrics.jsonl").open().readline())["energy"]
    )


def dropped() -> nn.Module:
    """Dropout uses the global generator and BatchNorm has buffers; both states must be restored after a kill."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Dropout(0.2), nn.Linear(12, 10)
        )


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("moment", range(1, 10))
def test_killed_at_any_step_resumes_to_the_same_result(digits, tmp_path_factory, tmp_path, moment, steps):
    """With a checkpoint at every step or every second step, so that the log can be ahead of the checkpoint."""
    whole = tmp_path_factory.getbasetemp() / "uninterrupted"
    if not whole.exists():
        short(digits, whole, network=dropped())
    with killed_after(moment):
        short(digits, tmp_path, network=dropped(), checkpoint_steps=steps)
    run = short(digits, tmp_path, network=dropped(), checkpoint_steps=steps, resume=True)
    assert len(run.history) == EPOCHS
    assert_same_folder(whole / "ssvi", tmp_path / "ssvi")


@pytest.mark.parametrize("part", ["arrays", "saved_network", "atomic"])
def test_killed_while_writing_the_results(digits, whole, tmp_path, part, monkeypatch):
    def die(*_, **__):
        raise Killed

    monkeypatch.setattr(getattr(job, part), "write" if part == "atomic" else "save", die)
    with pytest.raises(Killed):
        short(digits, tmp_path / "killed")
    monkeypatch.undo()
    assert not (tmp_path / "killed" / "ssvi" / "result.json").exists()
    short(digits, tmp_path / "killed", resume=True)
    assert_same_folder(whole / "ssvi", tmp_path / "killed" / "ssvi")


def test_an_incomplete_last_line_of_the_log_is_dropped(digits, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "torn")
    with (tmp_path / "torn/ssvi/metrics.jsonl").open("a") as file:
        file.write('{"kind": "epoch", "ep')
    short(digits, tmp_path / "torn", resume=True)
    assert_same_folder(whole / "ssvi", tmp_path / "torn" / "ssvi")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 1}, "its seed is 0 and not 1"),
        ({"epochs": 4}, "its epochs is 3 and not 4"),
        ({"network": "mlp:9"}, "its network is mlp:8 and not mlp:9"),
        ({"lr": 0.5}, "its learning rate is None and not 0.5"),
    ],
)
def test_resume_refuses_another_run(digits, tmp_path, change, sentence):
    short(digits, tmp_path)
    before = (tmp_path / "ssvi" / "metrics.jsonl").read_bytes()
    with pytest.raises(SzilardError, match=sentence):
        short(digits, tmp_path, resume=True, **change)
    assert (tmp_path / "ssvi" / "metrics.jsonl").read_bytes() == before


def test_resume_refuses_another_network_object(digits, tmp_path):
    short(digits, tmp_path, network=dropped())
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(SzilardError, match="is of another network"):
        short(digits, tmp_path, network=other, resume=True)


def test_a_run_is_not_overwritten_without_the_option(digits, tmp_path):
    short(digits, tmp_path)
    with pytest.raises(
        SzilardError, match="holds a finished run; add resume=True to continue it, overwrite=True"
    ):
        short(digits, tmp_path)
    (tmp_path / "ssvi" / "notes.txt").write_text("mine")
    run = short(digits, tmp_path, overwrite=True, epochs=2)
    assert len(run.history) == 2
    assert len((tmp_path / "ssvi" / "metrics.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "ssvi" / "notes.txt").read_text() == "mine"


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(digits, tmp_path, monkeypatch):
    loss = methods.SSVI.loss
    monkeypatch.setattr(
        methods.SSVI, "loss", lambda self, *a: loss(self, *a) * (float("nan") if self.step == 4 else 1.0)
    )
    with pytest.raises(SzilardError, match=r"NaN or infinite in epoch 2 of 3; try a lower learning rate"):
        short(digits, tmp_path, checkpoint_steps=1)
    state = checkpoint.load(tmp_path / "ssvi" / "checkpoint.pt", "checkpoint")
    assert state["step"] == 4
    assert all(torch.isfinite(value).all() for value in state["network"].values())
    assert len((tmp_path / "ssvi" / "metrics.jsonl").read_text().splitlines()) == 1
    assert not (tmp_path / "ssvi" / "result.json").exists()


def test_divergence_by_a_large_learning_rate_is_reported(digits):
    with pytest.raises(SzilardError, match="NaN or infinite"):
        short(digits, method=ssvi(digits), lr=1e30)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"epochs": 0}, "epochs must be positive, not 0"),
        ({"batch_size": -1}, "batch_size must be positive"),
        ({"lr": float("nan")}, "lr must be positive"),
        ({"samples": 0}, "samples must be positive"),
        ({"precision": "8-bit"}, "there is no precision '8-bit'"),
        ({"accelerator": "abacus"}, "cannot compute with accelerator 'abacus'"),
        ({"devices": 0}, "at least one device"),
        ({"strategy": "fsdp"}, "there is no strategy 'fsdp'"),
        ({"network": nn.Linear(3, 2)}, "the network cannot take inputs of digits"),
        ({"network": nn.Sequential(nn.Flatten(), nn.Linear(64, 7))}, r"needs \[B, 10\]"),
        ({"method": methods.SSVI(7)}, "n_data=7 training examples, but digits has 48"),
        ({"augment": "flip"}, "augment must be"),
    ],
)
def test_invalid_settings_are_refused(digits, tmp_path, options, sentence):
    with pytest.raises(SzilardError, match=sentence):
        short(digits, tmp_path / "out", **options)


def test_a_used_method_is_refused(digits):
    method = ssvi(digits)
    short(digits, method=method)
    with pytest.raises(SzilardError, match="has already trained a network"):
        short(digits, method=method)


@pytest.mark.parametrize("name", ["deterministic", "ssvi"])
def test_mixed_precision_trains(digits, name):
    run = short(
        digits, method=methods.make(name, len(digits.train)), precision="bf16-mixed", lr=0.01, epochs=5
    )
    assert run.history[-1]["energy"] < run.history[0]["energy"]


@pytest.mark.parametrize(
    "name",
    [name for name in methods.names() if name not in ("early-bird", "elastic-ticket", "ssvi-published")],
)
def test_a_saved_network_predicts_as_the_trained_one(digits, tmp_path, name):
    options = {
        "deterministic": {"temperature_scaling": True},
        "tickets": {"density": 0.5},
        "posterior-tickets": {"density": 0.5},
        "acdc": {"cycles": 1},
        "ensemble": {"of": "ssvi", "members": 2, "density": 0.5},
    }
    options = few_steps.OPTIONS.get(name, {}) | options.get(name, {})
    run = short(digits, tmp_path, method=methods.make(name, len(digits.train), **options))
    found = load_network(tmp_path / name / "network.pt")
    mine = run.trainer.predict(run.network, digits.test.x[:50], samples=3)
    theirs = found.method.predict(found.network, digits.test.x[:50], samples=3)
    assert torch.equal(mine.probabilities, theirs.probabilities)
    assert found.method.calibration == run.trainer.calibration
    assert (found.method.calibration != 1) == ("temperature_scaling" in options)
    torch.testing.assert_close(found.normalise(digits.raw(digits.test.x)), digits.test.x)


def test_regression_in_original_units(line, tmp_path):
    method = methods.MeanField(len(line.train), temperature=0.1, lr_log_std=1.0)
    run = short(line, tmp_path, network=nn.Linear(3, 1), method=method, epochs=60, batch_size=8, lr=0.1)
    assert run.test["rmse"] == pytest.approx(2 * 0.1, rel=0.5)  # the noise; the target's spread is 2 * 1.5
    assert run.test == measure(run.network, line, method=run.trainer, samples=4)[0]
    arrays = np.load(tmp_path / "mean-field" / "arrays.npz")
    error = arrays["test_mean"] - arrays["test_target"]
    assert np.sqrt((error**2).mean()) == pytest.approx(run.test["rmse"], rel=1e-4)
    assert arrays["test_target"].mean() == pytest.approx(float(line.test.y.mean()) * 2 + 5, rel=1e-4)
    np.testing.assert_allclose(
        arrays["test_variance"], arrays["test_aleatoric"] + arrays["test_epistemic"], rtol=1e-4
    )


def test_measure_of_a_plain_network(digits, line):
    network = networks.build("mlp:8", digits.input_shape, 10)
    quality, cost = measure(network, digits)
    guess = network(digits.test.x).argmax(1)
    assert quality["accuracy"] == pytest.approx(float((guess == digits.test.y).double().mean()))
    assert cost.parameters == 64 * 8 + 8 + 8 * 10 + 10
    assert cost.macs == 64 * 8 + 8 * 10
    plain = nn.Linear(3, 1)  # has no noise output: the noise is estimated on valid
    with torch.no_grad():
        plain.weight.copy_(torch.tensor([[1.0, -1.0, 0.5]]))
        plain.bias.zero_()
    quality, _ = measure(plain, line)
    assert quality["rmse"] == pytest.approx(2 * 0.1, rel=0.3)
    assert quality["nll"] == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 0.2**2), abs=0.25)
    assert [name for name, _ in plain.named_parameters()] == ["weight", "bias"]


def test_a_network_given_as_an_object_needs_its_builder(digits, tmp_path):
    short(digits, tmp_path, network=dropped())
    path = tmp_path / "ssvi" / "network.pt"
    with pytest.raises(SzilardError, match="does not state how its network is built"):
        load_network(path)
    with pytest.raises(SzilardError, match="is of another network"):
        saved_network.load(path, "mlp:8")


def test_another_number_of_threads_is_warned_about(digits, tmp_path):
    short(digits, tmp_path, checkpoint_steps=4)
    path = tmp_path / "ssvi" / "checkpoint.pt"
    (tmp_path / "ssvi" / "result.json").unlink()
    state = checkpoint.load(path, "checkpoint")
    assert state["threads"] == torch.get_num_threads()
    content = {key: value for key, value in state.items() if key not in ("szilard", "format")}
    checkpoint.save(path, "checkpoint", content | {"threads": 7})
    with pytest.warns(SzilardWarning, match="with 7 threads and this one has 1.*set OMP_NUM_THREADS=7"):
        short(digits, tmp_path, resume=True)
    del content["threads"]  # as in an earlier version
    checkpoint.save(path, "checkpoint", content)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        short(digits, tmp_path, resume=True)


class TestDivergence:
    """Divergence is reported if training made the network worse, and only then."""

    @pytest.mark.parametrize("lr", [1e3, 1e10])
    def test_classes(self, digits, tmp_path, lr):
        with pytest.warns(
            SzilardWarning, match="deterministic is worse than .* the class frequencies"
        ) as seen:
            short(digits, tmp_path, method=methods.Deterministic(48), lr=lr)
        result = json.loads((tmp_path / "deterministic" / "result.json").read_text())
        assert result["diverged"] == str(seen[0].message)

    def test_quantities(self, line, tmp_path):
        with pytest.warns(SzilardWarning, match="the mean and variance of the targets"):
            short(line, tmp_path, method=methods.MeanField(40), lr=1.0, epochs=20)

    @pytest.mark.parametrize("name", ["ssvi", "deterministic", "mean-field"])
    @pytest.mark.parametrize("epochs", [1, 2, 30])
    def test_no_false_alarm(self, digits, line, name, epochs):
        with warnings.catch_warnings():
            warnings.simplefilter("error", SzilardWarning)
            warnings.filterwarnings("ignore", "density 0.05 leaves layer")  # true for this small network
            warnings.filterwarnings("ignore", "SSVI moves entries every")  # and this for one epoch
            for dataset in (digits, line):
                short(dataset, method=methods.make(name, len(dataset.train)), epochs=epochs)

    def test_the_constant_prediction(self, digits, line):
        """Compared with its definition: -mean log p."""
        counts = np.bincount(digits.train.y, minlength=10) + 1
        p = counts / counts.sum()
        assert divergence.constant_nll(digits, digits.valid) == pytest.approx(
            -np.log(p[digits.valid.y]).mean()
        )
        train, valid = line.train.y.double().numpy(), line.valid.y.double().numpy()
        density = scipy.stats.norm(train.mean(), train.std()).logpdf(valid)
        assert divergence.constant_nll(line, line.valid) == pytest.approx(-density.mean())

    def test_recovery_and_overfitting_are_not_divergence(self, digits):
        constant = divergence.constant_nll(digits, digits.valid)
        assert divergence.message(digits, 3.0, 50.0, constant - 0.1, "x", 1000) is None
        assert divergence.message(digits, 3.0, 0.1, 50.0, "x", 1000) is None
        assert divergence.message(digits, 49.9, 50.0, 50.0, "x", 99) is None  # too few steps
        assert "50 nats" in divergence.message(digits, 3.0, 50.0, 50.0, "x", 1000)
        assert divergence.message(digits, 3.0, 90.0, 90.0, "x", 1) is not None
        assert divergence.message(digits, 3.0, 12.0, 12.0, "x", 4) is None  # very few steps

    def test_a_network_that_has_learnt_nothing(self, digits):
        constant, train = (divergence.constant_nll(digits, part) for part in (digits.valid, digits.train))
        assert "no better than a constant prediction" in divergence.message(
            digits, 3.0, train, constant, "x", 100
        )
        assert divergence.message(digits, 3.0, train, constant, "x", 99) is None
        assert divergence.message(digits, 3.0, train - 0.5, constant, "x", 1000) is None  # overfitting
        assert divergence.message(digits, 3.0, train, constant - 0.5, "x", 1000) is None
