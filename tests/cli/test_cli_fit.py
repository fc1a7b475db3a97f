"""szilard fit: the run folder, the table, replaying, resuming and overwriting."""

from __future__ import annotations

import json
import re

import pytest
from cli_tools import TINY, szilard

from szilard import methods
from szilard.cli.figures import si
from szilard.cli.fit_settings import FitOptions, merge
from szilard.run import settings as toml
from szilard.run.folder import RunFolder
from szilard.run.settings import Settings

pytestmark = pytest.mark.pictures


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    typed = szilard("fit", *TINY, "--density", "0.3", "--out", out)
    assert typed.code == 0, typed.output
    return out, typed.output


def test_a_run_prints_a_table_and_the_path_of_its_report(run):
    out, output = run
    lines = output.splitlines()
    rule = next(number for number, line in enumerate(lines) if set(line) == {"─", " "})
    assert [re.split("  +", line)[0] for line in lines[rule + 1 : rule + 4]] == [
        "SSVI, 30 % of weights",
        "deterministic",
        "dense mean-field",
    ]
    assert "accuracy" in output
    assert "counted" in output
    assert "estimated" in output
    assert "measured" in output
    assert output.splitlines()[-1] == str(out / "report.html")
    assert '<g id="curve-' in (out / "report.html").read_text()  # drawn by matplotlib


def test_the_run_folder_has_the_documented_files(run):
    out, _ = run
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    names = ("arrays.npz", "checkpoint.pt", "metrics.jsonl", "network.pt", "result.json")
    methods = ("ssvi", "deterministic", "mean-field")
    assert files == {"run.toml", "report.html"} | {f"{method}/{name}" for method in methods for name in names}


@pytest.mark.usefixtures("undrawn")
def test_a_run_is_replayed_from_its_run_toml(run, tmp_path):
    out, _ = run
    again = tmp_path / "again"
    assert szilard("fit", out / "run.toml", "--no-baselines", "--out", again, "--quiet").output.split() == [
        str(again / "report.html")
    ]
    one, two = (json.loads((path / "ssvi" / "result.json").read_text()) for path in (out, again))
    assert one["test"] == two["test"]
    assert one["density"] == two["density"]
    assert not (again / "deterministic").exists()


def test_a_run_is_not_overwritten_without_the_option(run):
    out, _ = run
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    szilard("fit", *TINY, "--out", out).refused("holds a finished run; add --resume .* --overwrite")
    szilard("fit", "--density", "0.05", "--out", out, "--resume").refused(
        "started with other settings: method.ssvi.density is 0.3 there and 0.05 here"
    )
    szilard("fit", *TINY, "--out", out, "--resume", "--overwrite").refused("choose one")
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("undrawn")
def test_resume_trains_only_the_missing_methods(run):
    out, _ = run
    result = (out / "mean-field" / "result.json").read_bytes()
    kept = {path: path.read_bytes() for name in ("ssvi", "deterministic") for path in (out / name).iterdir()}
    for path in (out / "mean-field").iterdir():
        path.unlink()
    assert szilard("fit", out / "run.toml", "--resume", "--quiet").code == 0
    again = json.loads((out / "mean-field" / "result.json").read_bytes())
    assert again["test"] == json.loads(result)["test"]
    assert kept == {path: path.read_bytes() for path in kept}


@pytest.mark.usefixtures("undrawn")
def test_overwrite_replaces_the_run_and_nothing_else(tmp_path):
    out = tmp_path / "run"
    assert szilard("fit", *TINY, "--no-baselines", "--out", out, "--quiet").code == 0
    (out / "notes.txt").write_text("mine")
    typed = szilard(
        "fit", *TINY, "--method", "deterministic", "--no-baselines", "--out", out, "--overwrite", "--quiet"
    )
    assert typed.code == 0, typed.output
    assert sorted(p.name for p in out.iterdir()) == ["deterministic", "notes.txt", "report.html", "run.toml"]


def test_regression_with_a_users_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["a,b,price"] + [f"{i % 7},{(i * 5) % 11},{i % 7 + 0.1 * ((i * 5) % 11)}" for i in range(80)]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    (tmp_path / "network.py").write_text(
        "from torch import nn\n"
        "def build(input_shape): return nn.Sequential(nn.Linear(*input_shape, 8), nn.Linear(8, 1))\n"
    )
    typed = szilard(
        "fit", "--data", "table.csv", "--target", "price", "--network", "network.py:build", "--epochs", 2,
        "--option", "every=5", "--temperature", 0.5,
    )  # fmt: skip
    assert typed.code == 0, typed.output
    assert "RMSE" in typed.output
    settings = toml.read(
        tmp_path / "runs" / "table" / "run.toml"
    )  # the default folder is named after the data
    assert settings.data.name == str(tmp_path / "table.csv")
    assert settings.network.spec == f"{tmp_path / 'network.py'}:build"
    assert settings.methods["ssvi"]["every"] == 5
    assert settings.methods["ssvi"]["temperature"] == settings.methods["mean-field"]["temperature"] == 0.5


@pytest.mark.usefixtures("undrawn")
def test_tensorboard_events(tmp_path):
    pytest.importorskip("tensorboard")
    typed = szilard("fit", *TINY, "--no-baselines", "--tensorboard", "--out", tmp_path / "run", "--quiet")
    assert typed.code == 0, typed.output
    assert len(list((tmp_path / "run" / "ssvi").glob("events.out.tfevents.*"))) == 1
    RunFolder(tmp_path / "run").clear()
    assert not (tmp_path / "run" / "ssvi").exists()


class TestMergedOptions:
    def test_the_default_is_ssvi_with_its_baselines(self):
        assert merge(Settings(), FitOptions()).methods == {"ssvi": {}, "deterministic": {}, "mean-field": {}}

    def test_density_applies_to_the_chosen_method(self):
        found = merge(Settings(), FitOptions(density=0.1, temperature=0.5)).methods
        assert found == {
            "ssvi": {"density": 0.1, "temperature": 0.5},
            "deterministic": {},
            "mean-field": {"temperature": 0.5},
        }

    def test_several_methods(self):
        options = FitOptions(methods=["ssvi", "sparse-deterministic"], density=0.1, baselines=False)
        assert merge(Settings(), options).methods == {
            "ssvi": {"density": 0.1},
            "sparse-deterministic": {"density": 0.1},
        }

    def test_a_chosen_baseline_is_not_trained_twice(self):
        assert list(merge(Settings(), FitOptions(methods=["mean-field"])).methods) == [
            "mean-field",
            "deterministic",
        ]

    def test_command_line_options_override_the_file(self):
        base = Settings(methods={"ssvi": {"density": 0.3, "every": 7}, "deterministic": {}})
        found = merge(
            base,
            FitOptions(density=0.1, options=["score=magnitude", "end=0.5"], fit={"lr": 0.1, "seed": None}),
        )
        assert found.methods == {
            "ssvi": {"density": 0.1, "every": 7, "score": "magnitude", "end": 0.5},
            "deterministic": {},
        }
        assert found.fit.lr == 0.1
        assert found.fit.seed == 0

    @pytest.mark.parametrize(
        ("typed", "wanted"),
        [
            ("except_=1", "1"),
            ("except_=[1, 3]", ["1", "3"]),
            ("except_=1*", "1*"),
            ("every=7", 7),
            ("lr=1", 1),
        ],
    )
    def test_numbers_of_layers_are_words(self, typed, wanted):
        """Layers of nn.Sequential are numbers, and the refusal of a pattern n:m says --option except_=1."""
        found = merge(Settings(), FitOptions(methods=["rigl"], options=[typed])).methods["rigl"]
        assert found == {typed.partition("=")[0]: wanted}
        methods.check_options("rigl", found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (669706, "670k"),
        (1000, "1k"),
        (999, "999"),
        (1.2e-7, "120n"),
        (2.5e13, "25T"),
        (0.05, "50m"),
        (-3e6, "-3M"),
    ],
)
def test_si_prefixes(value, text):
    assert si(value) == text


def test_a_method_is_named_once(tmp_path):
    twice = ("--method", "rigl", "--method", "set", "--method", "rigl")
    szilard("fit", *TINY, *twice, "--out", tmp_path / "run").refused(
        "--method rigl is given twice; name each method once"
    )
    assert not (tmp_path / "run").exists()
