"""szilard fit --prior: as a user types it, killed and resumed, repeated, and with priors that do not fit."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal

import forked
import numpy as np
import pytest
import torch
from cli_tools import TINY, szilard
from sklearn.datasets import load_digits

from szilard.cli import output
from szilard.model import checkpoint
from szilard.model import prior as priors
from szilard.run import settings
from szilard.training import prior_folds
from szilard.training.prior_folds import Scores

WIDTH = 80
SHORT = ("--epochs", "2", "--samples", "2", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def few_ways():
    """Two folds of: the prior with 2 σ and no transfer, each at two temperatures, and fine-tuning at two rates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_folds, "FOLDS", 2)
        patch.setattr(prior_folds, "WIDEN", (2.0,))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run "source", and few.npz with 20 labels."""
    folder = tmp_path_factory.mktemp("prior")
    done = szilard("fit", *TINY, "--no-baselines", "--ood", "none", "--quiet", "--out", folder / "source")
    assert done.code == 0, done.output
    bunch = load_digits()
    x, y = (bunch.images[:140] / 16).astype(np.float32), bunch.target[:140]
    arrays = {}
    for part, (start, stop) in {"train": (0, 20), "valid": (20, 80), "test": (80, 140)}.items():
        arrays |= {f"x_{part}": x[start:stop], f"y_{part}": y[start:stop]}
    np.savez(folder / "few.npz", **arrays)
    return folder


def fit(folder, out, *more, prior="source"):
    return szilard(
        "fit",
        "--data",
        folder / "few.npz",
        "--prior",
        folder / prior,
        *SHORT,
        "--ood",
        "none",
        "--out",
        out,
        *more,
    )


@pytest.fixture(scope="module")
def run(folder, few_ways):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "columns", lambda stream: WIDTH)
        return folder / "few", fit(folder, folder / "few")


def state(out):
    return checkpoint.load(out / "ssvi" / "network.pt", "network")["state_dict"]


def assert_same(one, two):
    states = state(one), state(two)
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    texts = [(out / "ssvi" / "folds.jsonl").read_text() for out in (one, two)]
    assert texts[0] == texts[1]
    assert (one / "prior.pt").read_bytes() == (two / "prior.pt").read_bytes()


def test_a_user_sees_the_controls_and_the_choice(run):
    out, typed = run
    assert typed.code == 0, typed.output
    lines = typed.output.splitlines()
    assert "SSVI, 5 % of weights: choosing the prior by 2 folds of 20 labels, 0/12 trainings" in lines
    plain = re.sub(r"\x1b\[[0-9;]*m", "", typed.stdout).splitlines()
    assert all(len(line) <= WIDTH for line in plain[:-1])  # the last one is a path
    for name in (
        "few: SSVI",
        "fan-in: SSVI",
        "fine-tuning:",
        "prior with 2 σ, T 0.01",
        "no transfer",
    ):
        assert name in typed.stdout
    assert "prior of ssvi on digits, 2 folds of the training labels" in " ".join(plain)
    assert "dense mean-field" not in typed.stdout  # the controls stand in for the baselines
    page = (out / "report.html").read_text()
    assert "Prior from another run" in page
    assert (
        page.count("<td>control</td>") == 2 or page.count("<td>control</td>") == 1
    )  # no transfer can be the run
    again = szilard("report", out)
    assert again.code == 0
    assert "prior of ssvi on digits" in again.stdout
    kept = settings.read(out / "run.toml")
    assert kept.network.spec == "mlp:8"  # of the source
    assert len(kept.prior.hash) == 64
    assert {path.name for path in out.iterdir()} == {
        "run.toml", "report.html", "prior.pt", "ssvi", "fan-in", "fine-tuning"
    }  # fmt: skip


def test_a_run_repeats_without_its_source(folder, run, tmp_path):
    shutil.copytree(run[0], tmp_path / "moved")
    text = (tmp_path / "moved" / "run.toml").read_text()
    (tmp_path / "moved" / "run.toml").write_text(text.replace(str(folder / "source"), "/nowhere"))
    done = szilard("fit", tmp_path / "moved" / "run.toml", "--out", tmp_path / "again", "--quiet")
    assert done.code == 0, done.output
    assert_same(run[0], tmp_path / "again")


@forked.needs_fork
def test_sigkill_in_a_fold_and_resume_give_the_uninterrupted_result(folder, run, tmp_path):
    killed, score = tmp_path / "few", Scores.score
    shutil.copytree(folder / "source", tmp_path / "source")

    def work():
        count = [0]

        def killing(self, way, fold, train):
            def die():
                count[0] += 1
                if count[0] == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                return train()

            return score(self, way, fold, die)

        Scores.score = killing
        forked.command(
            "fit", "--data", folder / "few.npz", "--prior", tmp_path / "source", *SHORT, "--ood", "none", "--out",
            killed, "--quiet",
        )()  # fmt: skip

    process = forked.Forked(work)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert len((killed / "ssvi" / "folds.jsonl").read_text().splitlines()) == 4
    shutil.rmtree(tmp_path / "source")
    done = szilard("fit", "--out", killed, "--resume", "--quiet")
    assert done.code == 0, done.output
    assert_same(run[0], killed)


def test_a_table_has_the_columns_of_the_source(few_ways, tmp_path):
    """Few rows that lack a category, with their columns in another order, and another table without a column."""
    rows = [f"{number % 7},{'abc'[number % 3]},{number % 7 + number % 3}" for number in range(60)]
    (tmp_path / "many.csv").write_text("\n".join(["size,kind,cost", *rows]))
    few = [f"{number % 3 + number % 2},{'ab'[number % 2]},{number % 3}" for number in range(30)]
    (tmp_path / "few.csv").write_text("\n".join(["cost,kind,size", *few]))
    (tmp_path / "other.csv").write_text("\n".join(["cost,size", *(f"{n % 5},{n % 4}" for n in range(30))]))
    table = (
        "--target",
        "cost",
        "--task",
        "regression",
        "--network",
        "mlp:4",
        *SHORT,
        "--ood",
        "none",
        "--quiet",
    )
    many = ("fit", "--data", tmp_path / "many.csv", *table, "--no-baselines", "--out", tmp_path / "many")
    done = szilard(*many, "--method", "mean-field")
    assert done.code == 0, done.output
    prior = ("--method", "mean-field", "--prior", tmp_path / "many")
    done = szilard(
        "fit", "--data", tmp_path / "few.csv", *table, *prior, "--n-train", "12", "--out", tmp_path / "few"
    )
    assert done.code == 0, done.output
    assert json.loads((tmp_path / "few" / "mean-field" / "result.json").read_text())["n_train"] == 12
    ours, theirs = (
        checkpoint.load(tmp_path / name / "mean-field" / "network.pt", "network") for name in ("few", "many")
    )
    for key in ("feature_names", "target_shift", "target_scale"):
        assert ours[key] == theirs[key]
    assert torch.equal(ours["shift"], theirs["shift"])
    done = szilard("fit", "--data", tmp_path / "other.csv", *table, *prior, "--out", tmp_path / "other")
    done.refused("is for inputs of shape")


def test_two_methods_share_the_prior_and_fine_tuning(folder, few_ways, tmp_path):
    done = fit(folder, tmp_path, "--method", "ssvi", "--method", "mean-field", "--epochs", "1", "--quiet")
    assert done.code == 0, done.output
    assert (tmp_path / "fan-in" / "mean-field" / "result.json").is_file()
    for words in (("measure", tmp_path), ("predict", tmp_path, folder / "few.npz", "-o", tmp_path / "p.csv")):
        again = szilard(*words)
        assert again.code == 0, again.output


def test_json_has_the_choice(folder, run):
    done = szilard("report", run[0], "--json")
    assert done.code == 0
    (told,) = json.loads(done.stdout)["prior"][str(run[0])].values()
    assert told["chosen"] in told["nll"]
    assert len(told["nll"]) == 6


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--prior", "nowhere"), "the prior nowhere does not exist; name the folder of a finished run"),
        (
            ("--prior", "fixed"),
            "fixed is a prior by name and no run; give it to the method as --option prior=fixed",
        ),
        (
            ("--network", "mlp:9"),
            r"the prior \(ssvi on digits\) is of the network mlp:8, and this run has mlp:9",
        ),
        (("--method", "deterministic"), "deterministic takes no prior from a run"),
        (
            ("--task", "regression"),
            "is of classification, and few.npz is regression; name a prior of the same task",
        ),
        (("--devices", "2"), "a prior from a run is chosen in one process, and this run has 2"),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, more, sentence):
    out = tmp_path / "out"
    fit(folder, out, "--quiet", *more).refused(sentence)
    assert not out.exists()


def test_a_kept_prior_that_is_damaged_or_gone_is_one_sentence(run, tmp_path):
    moved, out = tmp_path / "moved", tmp_path / "out"
    shutil.copytree(run[0], moved)
    content = (moved / "prior.pt").read_bytes()
    for written, sentence in (
        (content[:1000], "is truncated or damaged"),
        (b"", "is not a prior"),
        (checkpoint.written("prior", {"weights": 3}), "is damaged: weights is not"),
        (checkpoint.written("network", {}), "is a network, not a prior"),
    ):
        (moved / "prior.pt").write_bytes(written)
        szilard("fit", moved / "run.toml", "--out", out, "--quiet").refused(sentence)
    (moved / "prior.pt").unlink()
    szilard("fit", moved / "run.toml", "--out", out, "--quiet").refused("there is no prior")
    assert not out.exists()


def test_an_exchanged_prior_is_found_by_its_hash(folder, run, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(run[0], moved)
    found = priors.read(folder / "source")
    content = checkpoint.load(moved / "prior.pt", "prior")
    content["weights"]["1"]["mean"] += 1
    del content["szilard"], content["format"]
    (moved / "prior.pt").write_bytes(checkpoint.written("prior", content))
    assert priors.load(moved / "prior.pt").hash != found.hash
    szilard("fit", moved / "run.toml", "--out", tmp_path / "out", "--quiet").refused(
        "because its hash differs"
    )
    szilard("fit", "--out", moved, "--resume", "--quiet").refused("because its hash differs")
