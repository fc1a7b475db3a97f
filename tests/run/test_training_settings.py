"""run.toml and the settings of a run."""

from __future__ import annotations

import pytest

from szilard import SzilardError, data, methods
from szilard.run import settings as toml
from szilard.run.folder import RunFolder, to_json
from szilard.run.settings import DataSettings, FitSettings, NetworkSettings, Settings
from szilard.training import defaults
from szilard.training.run import absolute, complete


def test_settings_are_read_back_from_the_file(tmp_path):
    settings = Settings(
        data=DataSettings("digits", n_train=300, seed=4),
        network=NetworkSettings("mlp:8"),
        fit=FitSettings(epochs=3, lr=0.5, checkpoint_steps=9),
        methods={"ssvi": {"density": 0.1, "score": "magnitude"}, "deterministic": {}},
    )
    path = tmp_path / "run.toml"
    path.write_text(settings.to_toml())
    assert toml.read(path) == settings
    assert list(toml.read(path).methods) == ["ssvi", "deterministic"]
    assert settings.differences(settings) is None


def test_patterns_of_names_are_read_back_from_the_file(tmp_path):
    options = {"only": ["head", "adapters.*"], "except_": "*.norm", "matrices": "*.mixing"}
    settings = Settings(methods={"ssvi": options, "mean-field": {"only": "head"}})
    path = tmp_path / "run.toml"
    path.write_text(settings.to_toml())
    assert toml.read(path) == settings
    method = methods.make("ssvi", 10, **toml.read(path).methods["ssvi"])
    assert (method.only, method.except_, method.matrices) == tuple(options.values())
    with pytest.raises(SzilardError, match="option only of method 'ssvi' must be a word or a list of words"):
        methods.make("ssvi", 10, only=[3])


def test_a_difference_is_named():
    a = Settings(fit=FitSettings(lr=0.1), methods={"ssvi": {"density": 0.1}})
    assert a.differences(Settings(fit=FitSettings(lr=0.2), methods={"ssvi": {"density": 0.1}})) == (
        "fit.lr is 0.1 there and 0.2 here"
    )
    assert "method.ssvi.density" in (
        a.differences(Settings(fit=FitSettings(lr=0.1), methods={"ssvi": {}})) or ""
    )


def test_checkpoint_intervals_are_not_a_difference():
    methods = {"ssvi": {}}
    a = Settings(fit=FitSettings(checkpoint_steps=1), methods=methods)
    assert a.differences(Settings(fit=FitSettings(checkpoint_seconds=1.0), methods=methods)) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("methods = [", "is not TOML"),
        ("[dtaa]", "dtaa in .* is unknown; did you mean data?"),
        ("[fit]\nepoch = 3", r"\[fit\] epoch in .* is unknown; did you mean epochs?"),
        ("[fit]\nepochs = 'many'", r"\[fit\] epochs in .* must be int, not 'many'"),
        ("[fit]\nepochs = true", r"\[fit\] epochs in .* must be int, not True"),
        ("[data]\nname = 3", r"\[data\] name in .* must be str, not 3"),
        ("data = 3", "data in .* must be a table"),
        ("methods = 'ssvi'", "must be a list of names"),
        ("methods = ['ssvi']\n[method.deterministic]\nlr = 0.1", "options for method deterministic, which"),
        ("methods = ['ssvi']\n[method]\nssvi = 3", "method.ssvi in .* must be a table"),
    ],
)
def test_invalid_settings_are_refused(tmp_path, text, sentence):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(SzilardError, match=sentence):
        toml.read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SzilardError, match="cannot be read"):
        toml.read(tmp_path / "run.toml")


def test_integers_are_accepted_as_rates(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("[fit]\nlr = 1")
    assert toml.read(path).fit.lr == 1.0


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = absolute(Settings(DataSettings("t.csv", root="d"), NetworkSettings("n.py:build")))
    assert settings.data.name == str(tmp_path / "t.csv")
    assert settings.data.root == str(tmp_path / "d")
    assert settings.network.spec == f"{tmp_path / 'n.py'}:build"
    assert absolute(Settings(network=NetworkSettings("mlp:8"))) == Settings(network=NetworkSettings("mlp:8"))


def test_defaults_are_written_out():
    settings = complete(Settings(methods={"ssvi": {"density": 0.2}}), data.load("digits", n_train=200))
    assert settings.fit.epochs == defaults.MOST
    assert settings.fit.batch_size == defaults.SMALL_BATCH
    assert settings.methods["ssvi"]["density"] == 0.2
    assert settings.methods["ssvi"]["every"] == methods.options("ssvi")["every"]
    assert not {"seed", "total_steps"} & settings.methods["ssvi"].keys()
    with pytest.raises(SzilardError, match="there is no method to train"):
        complete(Settings(), data.load("digits", n_train=200))


@pytest.mark.parametrize(
    ("key", "option"), [("seed", "--seed"), ("total_steps", "--epochs"), ("n_data", "--n-train")]
)
def test_what_the_run_sets_is_refused_with_its_own_option(key, option):
    with pytest.raises(
        SzilardError, match=f"{key} of method ssvi is set by the run; leave it out, or set {option}$"
    ):
        complete(Settings(methods={"ssvi": {key: 3}}), data.load("digits", n_train=200))


@pytest.mark.parametrize("n", [10, 999, 1000, 1078, 2000, 50_000, 10**6])
def test_default_lengths(n):
    batch = defaults.batch_size(n)
    epochs = defaults.epochs(n, batch)
    assert defaults.FEWEST <= epochs <= defaults.MOST
    steps = epochs * data.n_batches(n, batch)
    assert steps <= defaults.STEPS or epochs == defaults.FEWEST


def test_only_folders_of_methods_are_cleared(tmp_path):
    for name in ("ssvi", "precious"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.pt").write_bytes(b"x")
    folder = RunFolder(tmp_path)
    assert folder.methods() == ["ssvi"]
    folder.clear()
    assert not (tmp_path / "ssvi").exists()
    assert (tmp_path / "precious" / "checkpoint.pt").exists()


def test_json_has_no_nan():
    assert to_json({"a": [float("nan"), 1.5], "b": (float("inf"),)}) == '{"a": [null, 1.5], "b": [null]}'
