"""szilard compress --search galen and --policy: options, files, tables and JSON, around a search that is made up."""

from __future__ import annotations

import json

import pytest
import torch
from cli_tools import TINY, szilard
from found_policies import Search, found
from test_cli_json import check, documented
from torch import nn
from trained import digits, mlp

from szilard import deploy
from szilard.cli import output, policy_network, policy_search
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import importance, policy_file
from szilard.compression.policies.policy import Policy
from szilard.networks import WithNoise

BUILD = (
    "from torch import nn\n"
    "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))\n"
)


@pytest.fixture
def search(monkeypatch):
    made = Search()
    monkeypatch.setattr(policy_search, "galen", made)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("policies")
    torch.save(mlp().state_dict(), path / "net.pt")
    (path / "n.py").write_text(BUILD)
    return path


@pytest.fixture
def typed(folder, tmp_path, monkeypatch):
    """The words of a command for a network in a folder of its own, where it runs."""
    for name in ("net.pt", "n.py"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return ["compress", "net.pt", "--network", "n.py:build", "--data", "digits"]


LATENCY = ("--search", "galen", "--target-latency", "0.4")


def test_a_search_writes_the_network_its_policy_and_a_page(typed, search, tmp_path):
    shown = szilard(*typed, *LATENCY, "-o", "small.onnx")
    assert shown.code == 0, shown.output
    assert (tmp_path / "small.onnx").read_bytes() == b"the network"
    assert policy_file.read(tmp_path / "small.policy.toml") == found(nn.Linear(1, 1)).policy
    assert "<h2>The policy</h2>" in (tmp_path / "small.policy.html").read_text()
    words = " ".join(shown.stdout.split())
    for part in (
        "net.pt -> small.onnx",
        "conv1 16 8 50% float float".replace("50%", "50 %"),
        "fc 10 10 100 % 8 bits 8 bits",
        "latency ↓, measured 1.00 ms 396 µs to 39.6 %",
        "accuracy ↑, valid 98.00 % 97.20 % -0.80 pt",
        "Target: 400 µs, 40.0 % of the original's; 390 µs predicted (the table of costs is off by 2.3 % on whole",
        "0.0312 nats on 512 inputs of the training split; 0.0541 before finishing.",
        f"Quality: of {len(digits().valid)} examples of the validation split of digits",
        "40 policies were tried by evolution; 2.0 min (table 0.5, sensitivity 0.2, search 1.0, finishing 0.3).",
        "fc keeps all channels: its outputs are those of the network.",
        "small.onnx: 11 bytes.",
        "small.policy.toml: the policy; --policy small.policy.toml makes this network again.",
        "note: the machine was noisy",
    ):
        assert part in words, part
    assert "a sentence of the search" in shown.output
    assert "a sentence of the search" not in shown.stdout


def test_what_the_search_is_given(typed, search):
    options = ["--searcher", "greedy", "--evaluations", 7, "--finetune", 2, "--threads", 2, "--noisy"]
    assert szilard(*typed, *LATENCY, *options, "--folder", "history", "--seed", 3).code == 0
    given = search.given
    wanted = {"search": "greedy", "evaluations": 7, "finetune": 2, "threads": 2, "noisy": True, "seed": 3}
    assert {name: given[name] for name in wanted} == wanted
    assert (given["target"], given["measure"], str(given["folder"])) == ("0.4", "latency", "history")
    assert given.get("policy") is None
    # The policy is chosen by training inputs, and judged by validation examples.
    data = digits()
    assert given["calibration"].shape == (512, 1, 8, 8)
    assert {x.numpy().tobytes() for x in given["calibration"]} <= {x.numpy().tobytes() for x in data.train.x}
    assert torch.equal(given["training"][0], data.train.x)
    assert torch.equal(given["training"][1], data.train.y)
    assert torch.equal(given["evaluation"].x, data.valid.x)
    assert torch.equal(given["evaluation"].y, data.valid.y)
    # The network's own layers, and inputs in the user's units.
    assert list(given["network"].state_dict()) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    units = given["deployed"]["inputs"]
    assert torch.allclose(torch.as_tensor(units.shift), data.shift)
    assert given["deployed"]["labels"] == data.classes
    assert "network_spec" in json.dumps(given["meta"])


def test_defaults_are_those_of_the_library(typed, search):
    assert szilard(*typed, *LATENCY).code == 0
    assert not {"search", "evaluations", "finetune", "threads", "folder", "policy", "training"} & set(
        search.given
    )


@pytest.mark.parametrize(
    ("options", "name", "amounts"),
    [
        (("--target-energy", "3uJ"), "net.onnx", "energy ↓, estimated 1.00 µJ 396 nJ"),
        (("--target-bytes", "20kB"), "net.szd", "size of the file ↓, measured 20,000 bytes 7,920 bytes"),
        (("--target-bytes", "20000"), "net.szd", "size of the file"),
        (("--target-latency", "1.5ms"), "net.onnx", "latency ↓, measured"),
    ],
)
def test_the_target_decides_which_file(typed, search, tmp_path, options, name, amounts):
    shown = szilard(*typed, "--search", "galen", *options)
    assert shown.code == 0, shown.output
    assert (tmp_path / name).exists()
    assert amounts in " ".join(shown.stdout.split())
    assert search.given["target"] == options[1]


def test_every_line_fits_80_columns(typed, search, monkeypatch):
    monkeypatch.setattr(output, "columns", lambda stream: 80)
    shown = szilard(*typed, *LATENCY)
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "kept" in shown.stdout  # no column is left out


def test_json(typed, search):
    shown = szilard(*typed, *LATENCY, "--json")
    assert shown.code == 0
    assert shown.output == shown.stdout  # no bar, and no sentence
    found = json.loads(shown.stdout)
    assert found["ratio"] == pytest.approx(0.396)
    assert (found["file"], found["bytes"], found["policy"]) == ("net.onnx", 11, "net.policy.toml")
    assert found["layers"][2] == {
        "name": "conv3", "channels": 16, "channels_before": 32, "weight_bits": 32, "activation_bits": 32,
        "gone": False,
    }  # fmt: skip
    assert found["after"]["accuracy"] == 0.972
    assert found["seconds"]["search"] == 60
    assert found["evaluations"] == 40
    assert found["notes"] == ["the machine was noisy"]
    assert (found["calibration_inputs"], found["judged_on"]) == (512, len(digits().valid))
    check(found, documented("szilard compress --search galen"))


def test_quiet_prints_nothing(typed, search):
    shown = szilard(*typed, *LATENCY, "--quiet")
    assert (shown.code, shown.output) == (0, "")


class TestReplay:
    def test_a_policy_is_used_without_a_target(self, typed, search, tmp_path):
        assert szilard(*typed, *LATENCY, "--quiet").code == 0
        path = tmp_path / "net.policy.toml"
        path.write_text("# mine\n" + path.read_text().replace("channels = 16", "channels = 14"))
        edited = path.read_text()
        shown = szilard(*typed, "--policy", path)
        assert shown.code == 0, shown.output
        assert search.given["policy"]["conv3"].channels == 14
        assert "target" not in search.given
        assert search.given["measure"] == "latency"
        assert path.read_text() == edited  # with the comments of the user
        assert "No target." in shown.stdout
        assert "The policy was given; 2.0 min" in shown.stdout

    def test_with_a_target_and_another_name(self, typed, search, tmp_path):
        (tmp_path / "p.toml").write_text(policy_file.to_toml(found(nn.Linear(1, 1)).policy))
        shown = szilard(
            *typed, "--policy", "p.toml", "--target-bytes", "0.1", "-o", "x.szd", "--search", "galen"
        )
        assert shown.code == 0, shown.output
        assert isinstance(search.given["policy"], Policy)
        assert policy_file.read(tmp_path / "x.policy.toml") == search.given["policy"]

    def test_the_suffix_says_what_is_measured(self, typed, search, tmp_path):
        (tmp_path / "p.toml").write_text(policy_file.to_toml(found(nn.Linear(1, 1)).policy))
        assert szilard(*typed, "--policy", "p.toml", "-o", "x.szd").code == 0
        assert search.given["measure"] == "bytes"


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--search", "galen"], "--search galen needs a target; give one of --target-latency"),
        (["--search", "nas", "--target-latency", "0.4"], "--search is 'nas'; the only search is galen"),
        ([*LATENCY, "--target-bytes", "0.4"], "--target-latency and --target-bytes are two targets"),
        (["--target-latency", "0.4"], "--target-latency is an option of --search galen; add it, or leave"),
        (["--evaluations", "9"], "--evaluations is an option of --search galen"),
        (["--finetune", "0"], "--finetune is an option of --search galen"),
        (["--noisy"], "--noisy is an option of --search galen"),
        (
            [*LATENCY, "--max-drop", "1"],
            "--max-drop goes with szilard compress without a policy, and --search galen",
        ),
        ([*LATENCY, "--max-bytes", "9"], "--max-bytes goes with"),
        ([*LATENCY, "--lam", "1e-6"], "--lam goes with"),
        ([*LATENCY, "--certificate"], "--certificate goes with"),
        ([*LATENCY, "--confidence", "0.8"], "--confidence goes with"),
        ([*LATENCY, "--no-data"], "--no-data gives none; name data with --data"),
        (["--policy", "p.toml", "--no-data"], "--policy compares outputs on calibration inputs"),
        (
            ["--policy", "p.toml", "--searcher", "agent"],
            "--searcher is for a search, and --policy uses a policy",
        ),
        (["--policy", "none.toml"], "none.toml does not exist; name a policy file"),
        (["--policy", "n.py"], "n.py is not TOML"),
        (
            [*LATENCY, "--searcher", "magic"],
            "--searcher is 'magic'; take one of evolution, greedy, agent, random",
        ),
        ([*LATENCY, "--evaluations", "0"], "--evaluations must be at least 1, not 0"),
        ([*LATENCY, "--threads", "-1"], "--threads must be at least 1, not -1"),
        ([*LATENCY, "--finetune", "-1"], "--finetune must be 0 or more"),
        (
            [*LATENCY, "-o", "x.szd"],
            "would hold a .onnx file under another name; name a file that ends in .onnx",
        ),
        ([*LATENCY, "-o", "nowhere/x.onnx"], "in a folder that does not exist"),
        (["--policy", "p.toml", "-o", "x.pt"], "name a file that ends in .onnx or .szd"),
        (
            ["--search", "galen", "--target-latency", "2"],
            "--target-latency: the target .* a share is below 1",
        ),
        (["--search", "galen", "--target-latency", "3uJ"], "--target-latency: the target .*3uJ"),
        (["--search", "galen", "--target-energy", "fast"], "--target-energy: the target .*fast"),
        (["--search", "galen", "--target-bytes", "-5"], "--target-bytes: the target"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(typed, search, tmp_path, extra, sentence):
    before = {path.name for path in tmp_path.iterdir()}
    szilard(*typed, *extra).refused(sentence)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert search.given == {}


def test_no_data_is_refused(typed, search):
    szilard(*typed[:4], *LATENCY).refused("a policy needs inputs on which outputs are compared; add --data")


def test_a_bayesian_network_is_refused(search, tmp_path):
    run = tmp_path / "run"
    assert szilard("fit", *TINY, "--method", "ssvi", "--out", run, "--quiet").code == 0
    shown = szilard("compress", run, *LATENCY)
    shown.refused("weights with uncertainty, and a policy is for point weights", behind=f"{run} has networks")
    shown = szilard("compress", run, *LATENCY, "--method", "deterministic", "--quiet")
    assert shown.code == 0, shown.output
    assert (run / "deterministic" / "network.onnx").exists()


def test_probabilities_as_outputs_are_refused(typed, search, tmp_path):
    (tmp_path / "n.py").write_text(BUILD.replace("nn.Linear(100, 10)", "nn.Linear(100, 10), nn.Softmax(1)"))
    szilard(*typed, *LATENCY, "--quiet").refused("does not return a logit for each class")


def test_an_error_of_the_search_leaves_no_file(typed, monkeypatch, tmp_path):
    def stops(*_, **__):
        from szilard.errors import SzilardError

        raise SzilardError("the smallest policy takes 0.5 of the original's time; give a larger target")

    monkeypatch.setattr(policy_search, "galen", stops)
    before = {path.name for path in tmp_path.iterdir()}
    szilard(*typed, *LATENCY, "--quiet").refused("the smallest policy takes 0.5")
    after = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}  # of the network's own file
    assert after == before - {"__pycache__"}


def test_a_real_search_ends_in_a_file_in_the_units_of_the_data(tmp_path, monkeypatch, one_registry):
    """The only one here that is not made up: energy is counted, so that no time is measured."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.save(mlp().state_dict(), tmp_path / "net.pt")
    (tmp_path / "n.py").write_text(BUILD)
    monkeypatch.chdir(tmp_path)
    words = ["compress", "net.pt", "--network", "n.py:build", "--data", "digits", "--json"]
    typed = szilard(
        *words, "--search", "galen", "--target-energy", "0.6", "--evaluations", 8, "--searcher", "greedy"
    )
    assert typed.code == 0, typed.output
    found = json.loads(typed.stdout)
    assert found["ratio"] <= 0.6
    assert found["before"]["accuracy"] > 0.9
    data = digits()
    answers = deploy.load(tmp_path / "net.onnx")(data.raw(data.valid.x).float())
    assert float((answers.labels == data.valid.y).float().mean()) == pytest.approx(found["after"]["accuracy"])
    assert tuple(answers.labels.shape) == (found["judged_on"],)
    wrong = (tmp_path / "net.policy.toml").read_text().replace('"3"', '"7"')
    (tmp_path / "p.toml").write_text(wrong)
    szilard(*words, "--policy", "p.toml", "-o", "x.onnx").refused("7")
    assert not (tmp_path / "x.onnx").exists()


def test_a_regression_network_of_szilard_can_be_traced():
    x, inner = torch.randn(5, 4), nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    network = WithNoise(inner, -0.5, outputs=2).eval()
    found = policy_network._traceable(network, x)
    assert torch.equal(found(x), network(x))
    assert list(found.state_dict()) == list(network.state_dict())
    units = ChannelUnits.of(found, x)
    assert units.pools["network.0"].layers == ("network.0",)
    knows = WithNoise(nn.Linear(4, 4), outputs=2).eval()  # outputs its noise itself
    assert policy_network._traceable(knows, x) is knows


def test_channels_of_a_network_without_any_are_not_ranked():
    x = torch.randn(5, 4)
    network = nn.Linear(4, 2).eval()
    assert importance.rank(network, ChannelUnits.of(network, x), x) == {}
