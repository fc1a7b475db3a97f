"""szilard compress, and other commands on the file that it writes."""

from __future__ import annotations

import copy
import json
import re

import pytest
import torch
from cli_tools import TINY, szilard
from trained import accuracy, conv_net, digits, mlp

import szilard as package


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert (
        szilard("fit", *TINY, "--method", "deterministic", "--no-baselines", "--out", out, "--quiet").code
        == 0
    )
    return out


@pytest.fixture
def plain(tmp_path):
    """A PyTorch state dict and the Python file that builds its network."""
    (tmp_path / "n.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))\n"
        "def sized(n_outputs): return nn.Linear(64, n_outputs)\n"
    )
    torch.save(mlp().state_dict(), tmp_path / "net.pt")
    return tmp_path / "net.pt", f"{tmp_path / 'n.py'}:build"


def test_a_users_network_is_compressed_into_one_file(plain, tmp_path):
    path, spec = plain
    out = tmp_path / "small.szd"
    typed = szilard("compress", path, "--network", spec, "--data", "digits", "--max-drop", 1, "-o", out)
    assert typed.code == 0, typed.output
    assert "times smaller" in typed.output
    assert out.stat().st_size < path.stat().st_size / 8
    network = copy.deepcopy(mlp())
    state = package.load(out)
    assert list(state) == list(mlp().state_dict())
    network.load_state_dict(state, strict=True)
    # The printed accuracy is that of the file, and other commands open the file without --network.
    measured = szilard("measure", out, "--json")
    assert measured.code == 0, measured.output
    quality = json.loads(measured.output)["networks"][0]["quality"]
    assert f"{100 * quality['accuracy']:.2f} %" in typed.output
    predicted = szilard("predict", out, "digits")
    assert predicted.code == 0, predicted.output
    assert predicted.output.count("\n") == 1 + len(digits().test)


def test_compress_a_run_folder(run):
    network = run / "deterministic" / "network.pt"
    typed = szilard("compress", run, "--json")
    assert typed.code == 0, typed.output
    found = json.loads(typed.output)
    assert found["file"] == str(network.with_suffix(".szd"))
    assert network.with_suffix(".szd").stat().st_size == found["bytes"]
    assert found["valid_before"] - found["valid_after"] <= 0.005
    assert found["trials"][-1]["bytes"] > 0
    network.with_suffix(".szd").unlink()


def test_max_bytes(plain, tmp_path):
    path, spec = plain
    out = tmp_path / "small.szd"
    typed = szilard(
        "compress", path, "--network", spec, "--data", "digits", "--max-bytes", 4000, "-o", out, "--quiet"
    )
    assert typed.code == 0, typed.output
    assert typed.output == ""
    assert 3000 < out.stat().st_size <= 4000


def test_without_data(plain, tmp_path):
    path, spec = plain
    typed = szilard("compress", path, "--network", spec, "--no-data")
    assert typed.code == 0, typed.output
    assert "note: no data" in typed.output
    state = package.load(path.with_suffix(".szd"))
    assert state.keys() == mlp().state_dict().keys()
    sized = spec.replace(":build", ":sized")
    torch.save(torch.nn.Linear(64, 7).state_dict(), path)
    szilard("compress", path, "--network", sized, "--no-data").refused(
        "needs n_outputs, but only nothing is given"
    )
    assert szilard("compress", path, "--network", sized, "--no-data", "--outputs", 7).code == 0


def test_a_checkpoint_of_data_parallel(tmp_path):
    """Names with the prefix ``module.``, in a dict with other entries, without the batch counters of old BatchNorms."""
    state = {f"module.{k}": v for k, v in conv_net().state_dict().items() if "num_batches" not in k}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "net.pth")
    (tmp_path / "n.py").write_text("from trained import ConvNet\n")
    spec = f"{tmp_path / 'n.py'}:ConvNet"
    out = tmp_path / "net.szd"
    typed = szilard(
        "compress",
        tmp_path / "net.pth",
        "--network",
        spec,
        "--data",
        "digits",
        "-o",
        out,
        "--json",
        "--lam",
        1e-6,
    )
    assert typed.code == 0, typed.output
    assert json.loads(typed.output)["test_before"] == pytest.approx(accuracy(conv_net()))


def test_own_normalisation(plain, tmp_path):
    path, spec = plain
    where = ["--network", spec, "--data", "digits", "--lam", 1e-9, "--json", "-o", tmp_path / "x.szd"]
    usual = json.loads(szilard("compress", path, *where).output)
    # The data set's own normalisation, given explicitly, changes nothing; another one does.
    data = package.data.load("digits")
    own = ["--mean", f"{data.shift.item():.6f}", "--std", f"{data.scale.item():.6f}"]
    same = json.loads(szilard("compress", path, *where, *own).output)
    assert same["test_before"] == usual["test_before"]
    other = json.loads(szilard("compress", path, *where, "--mean", "5", "--std", "0.1").output)
    assert other["test_before"] < usual["test_before"]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--max-drop", 1, "--lam", 1e-6], "give one of --max-drop, --max-bytes and --lam"),
        (["--max-bytes", 30], "does not fit into 30 bytes"),
        (["--no-data", "--max-drop", 1], "needs data to measure the quality"),
        (["-o", "nowhere/x.szd"], "in a folder that does not exist"),
        (["-o", "."], "is a folder"),
        (
            ["-o", "x.safetensors"],
            r"would hold a .szd file under a name that ends in .safetensors; name a file",
        ),
        (["--mean", "0,0", "--std", "1,1"], "--mean has 2 numbers"),
        (["--mean", "0"], "--mean and --std together"),
        (["--mean", "a", "--std", "1"], "write numbers separated by commas"),
        (["--mean", "0", "--std", "0"], "must be positive"),
        (["--data", "digitz"], "digitz"),
        (["--no-data", "--input-shape", "8"], None),
        (["--no-data", "--input-shape", "axb"], "write it like 3x32x32"),
    ],
)
def test_invalid_options_are_refused(plain, tmp_path, monkeypatch, extra, words):
    monkeypatch.chdir(tmp_path)
    path, spec = plain
    given = [] if "--data" in extra or "--no-data" in extra else ["--data", "digits"]
    typed = szilard("compress", path, "--network", spec, "--quiet", *given, *extra)
    if words is None:
        assert typed.code == 0, typed.output
    else:
        typed.refused(words)
        assert not path.with_suffix(".szd").exists()


def test_missing_options_are_named(plain, tmp_path):
    path, spec = plain
    szilard("compress", path, "--network", spec).refused("add --data, or --no-data")
    szilard("compress", path, "--data", "digits").refused("add --network")
    szilard("compress", tmp_path / "none.pt", "--data", "digits").refused("there is no run")
    szilard("compress", path, "--network", "mlp", "--no-data").refused("add --input-shape and --outputs")


def test_the_original_file_is_never_overwritten(plain):
    path, spec = plain
    before = path.read_bytes()
    szilard("compress", path, "--network", spec, "--data", "digits", "-o", path).refused("the network itself")
    assert path.read_bytes() == before


def test_a_file_without_a_description_of_its_network_needs_network(tmp_path):
    package.compress(mlp(), lam=1e-6).save(tmp_path / "bare.szd")
    szilard("predict", tmp_path / "bare.szd", "digits").refused("does not say of which network")
    typed = szilard("measure", tmp_path / "bare.szd", "--network", "mlp:100", "--data", "digits")
    assert typed.code == 0, typed.output


def test_invalid_metadata_are_refused(tmp_path):
    meta = {"network": {"network_spec": "mlp", "method": "deterministic", "shift": "?"}}
    package.compress(mlp(), lam=1e-6, meta=meta).save(tmp_path / "odd.szd")
    szilard("measure", tmp_path / "odd.szd").refused("has an invalid description of its network")


def test_measure_and_predict_use_the_stored_normalisation(plain, tmp_path):
    path, spec = plain
    out = tmp_path / "own.szd"
    own = ["--mean", "0.1", "--std", "0.9", "--lam", 1e-9, "-o", out]
    made = json.loads(szilard("compress", path, "--network", spec, "--data", "digits", *own, "--json").output)
    quality = json.loads(szilard("measure", out, "--json").output)["networks"][0]["quality"]
    assert quality["accuracy"] == pytest.approx(made["test_after"])
    labels = [line.split(",")[0] for line in szilard("predict", out, "digits").output.splitlines()[1:]]
    right = sum(label == str(int(y)) for label, y in zip(labels, digits().test.y, strict=True))
    assert right / len(labels) == pytest.approx(made["test_after"])


def test_a_certificate(plain, tmp_path):
    path, spec = plain
    where = [
        "--network",
        spec,
        "--data",
        "digits",
        "--lam",
        1e-4,
        "-o",
        tmp_path / "small.szd",
        "--certificate",
    ]
    typed = szilard("compress", path, *where)
    assert typed.code == 0, typed.output
    found = re.search(
        r"At most ([\d.]+) % errors on unseen examples.*\((\d+) bits, ([\d.]+) % errors", typed.output
    )
    assert int(found[2]) == 8 * (tmp_path / "small.szd").stat().st_size
    assert float(found[3]) < float(found[1]) <= 100
    assert "independent draws" in typed.output
    szilard("compress", path, "--network", spec, "--no-data", "--certificate").refused(
        "counts errors over training"
    )


class TestOtherFileFormats:
    @pytest.fixture
    def spec(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "n.py").write_text("from trained import mlp as build\n")
        return "n.py:build"

    def test_safetensors(self, spec, tmp_path):
        from safetensors.torch import save_file

        save_file(mlp().state_dict(), "net.safetensors")
        typed = szilard(
            "compress", "net.safetensors", "--network", spec, "--data", "digits", "--json", "--lam", 1e-6
        )
        assert typed.code == 0, typed.output
        assert json.loads(typed.output)["test_before"] == pytest.approx(accuracy(mlp()))
        typed = szilard("measure", "net.safetensors", "--network", spec, "--data", "digits", "--json")
        found = json.loads(typed.output)["networks"][0]["quality"]
        assert found["accuracy"] == pytest.approx(accuracy(mlp()))
        szilard("predict", "net.safetensors", "digits").refused(
            "does not say of which network; add --network"
        )
        szilard("compress", "net.safetensors", "--no-data").refused(
            "does not say of which network; add --network"
        )

    def test_key_chooses_a_state_dict_and_the_choice_is_printed(self, spec):
        trained = {f"model.{name}": value for name, value in mlp().state_dict().items()}
        torch.save({"state_dict": trained, "ema": mlp().state_dict(), "epoch": 3}, "net.ckpt")
        for command in (["compress", "net.ckpt", "--no-data"], ["measure", "net.ckpt", "--data", "digits"]):
            szilard(*command, "--network", spec).refused(
                r"several sets of weights that match \('state_dict.model'"
            )
            typed = szilard(*command, "--network", spec, "--key", "state_dict")
            assert typed.code == 0, typed.output
            assert "net.ckpt: weights of 'state_dict', without the prefix 'model.'" in typed.output
            szilard(*command, "--network", spec, "--key", "no").refused(
                "no tensors under 'no'; it has state_dict, ema"
            )
        quiet = szilard("compress", "net.ckpt", "--no-data", "--network", spec, "--key", "ema", "--quiet")
        assert (quiet.code, quiet.output) == (0, "")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_torchscript(self, spec):
        torch.jit.save(torch.jit.script(mlp()), "net.jit")
        szilard("compress", "net.jit", "--no-data").refused(
            "whose code is not run unless you trust it; add --trust"
        )
        typed = szilard("compress", "net.jit", "--network", spec, "--data", "digits", "--json", "--lam", 1e-6)
        assert json.loads(typed.output)["test_before"] == pytest.approx(accuracy(mlp()))
        typed = szilard("compress", "net.jit", "--no-data", "--trust", "-o", "trusted.szd")
        assert typed.code == 0, typed.output
        assert "running the code in net.jit" in typed.output
        torch.jit.load("net.jit").load_state_dict(package.load("trusted.szd"), strict=True)
        found = json.loads(szilard("inspect", "net.jit", "--json").output)
        assert found["kind"] == "a TorchScript archive"
        assert [one["name"] for one in found["tensors"]] == list(mlp().state_dict())

    def test_the_tensors_of_a_checkpoint_are_listed(self, spec):
        torch.save({"model": mlp().state_dict(), "[red]x\x1b": {"w": torch.ones(3).half()}}, "net.pt")
        typed = szilard("inspect", "net.pt")
        assert typed.code == 0, typed.output
        assert "[red]x\\x1b" in typed.output
        assert "float16" in typed.output
        found = json.loads(szilard("inspect", "net.pt", "--json").output)
        assert found["tensor_bytes"] == 6 + sum(4 * value.numel() for value in mlp().state_dict().values())
