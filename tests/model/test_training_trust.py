"""Code and data named in a file are used only if signed with this user's key, or with --trust."""

from __future__ import annotations

import os
import stat

import pytest
from cli_tools import TINY, szilard
from saved_networks import as_szd, metadata_of, network_pt, with_metadata

from szilard import SzilardError
from szilard.file import SzilardFileError
from szilard.model import saved_network, trust

CODE = (
    "import pathlib\n"
    "from torch import nn\n"
    "pathlib.Path(__file__).with_name('ran').touch()\n"
    "def build(input_shape, n_outputs):\n"
    "    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], 5), nn.ReLU(), nn.Linear(5, n_outputs))\n"
)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The config folder of this user; another folder stands for another user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "szilard"


@pytest.fixture
def own_files(tmp_path, config):
    """A network of the user's code in both file formats, and the file that its code creates when it runs."""
    (tmp_path / "net.py").write_text(CODE)
    path = network_pt(tmp_path, spec=f"{tmp_path / 'net.py'}:build")
    files = {"pt": path, "szd": as_szd(path, tmp_path / "n.szd")}
    (tmp_path / "ran").unlink()
    return files, tmp_path / "ran"


@pytest.mark.parametrize("kind", ["pt", "szd"])
class TestCode:
    def test_own_code_is_run(self, own_files, kind):
        files, ran = own_files
        lines = []
        saved_network.load(files[kind], tell=lines.append)
        assert ran.exists()
        assert not lines

    def test_code_of_another_user_is_not_run(self, own_files, kind, monkeypatch, tmp_path):
        files, ran = own_files
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
        with pytest.raises(
            SzilardFileError, match=r"needs to run .*net.py:build.*; add --trust .* --network"
        ):
            saved_network.load(files[kind])
        assert not ran.exists()
        assert not (tmp_path / "another").exists()  # checking a signature creates no key

    def test_trusted_code_is_run_with_a_message(self, own_files, kind, monkeypatch, tmp_path):
        files, ran = own_files
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
        lines = []
        saved_network.load(files[kind], trusted=True, tell=lines.append)
        assert ran.exists()
        assert lines == [f"running {tmp_path / 'net.py'}, named by {files[kind]}"]

    def test_a_given_network_is_used_instead(self, own_files, kind, monkeypatch, tmp_path):
        files, ran = own_files
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
        (tmp_path / "own.py").write_text(CODE.replace("'ran'", "'own'"))
        saved_network.load(files[kind], f"{tmp_path / 'own.py'}:build")
        assert (tmp_path / "own").exists()
        assert not ran.exists()

    @pytest.mark.parametrize("signature", [None, "", "0" * 64, "é", "other", 5])
    def test_a_forged_signature_is_refused(self, own_files, kind, signature, tmp_path):
        files, ran = own_files
        content = metadata_of(files[kind])
        own = content["network_signature"]
        assert len(own) == 64
        content["network_signature"] = own[::-1] if signature == "other" else signature
        with pytest.raises(SzilardFileError):
            saved_network.load(with_metadata(files[kind], content, tmp_path / f"odd.{kind}"))
        assert not ran.exists()

    def test_a_signature_is_valid_for_one_path_and_function(self, own_files, kind, tmp_path):
        files, _ = own_files
        (tmp_path / "hostile.py").write_text(CODE.replace("'ran'", "'hostile'"))
        spec = metadata_of(files[kind])["network_spec"]
        for other in (spec.replace("net.py", "hostile.py"), spec + "2", spec.replace("/net.py", "/./net.py")):
            content = {**metadata_of(files[kind]), "network_spec": other}
            with pytest.raises(SzilardFileError, match="needs to run"):
                saved_network.load(with_metadata(files[kind], content, tmp_path / f"odd.{kind}"))
        assert not (tmp_path / "hostile").exists()

    def test_code_is_not_run_for_a_damaged_file(self, own_files, kind, tmp_path):
        files, ran = own_files
        data = bytearray(files[kind].read_bytes())
        at = data.rindex(b"\0\0\xf0?") if kind == "pt" else len(data) // 2  # a 1.0 of the scale
        data[at] ^= 0xFF
        (tmp_path / f"odd.{kind}").write_bytes(data)
        with pytest.raises(SzilardFileError):
            saved_network.load(tmp_path / f"odd.{kind}", trusted=True)
        assert not ran.exists()

    def test_code_is_not_run_for_a_file_with_other_invalid_fields(self, own_files, kind, tmp_path):
        files, ran = own_files
        for change in ({"scale": [0.0] * 3}, {"classes": []}, {"method": "x"}):
            with pytest.raises(SzilardFileError):
                saved_network.load(
                    with_metadata(
                        files[kind], {**metadata_of(files[kind]), **change}, tmp_path / f"o.{kind}"
                    ),
                    trusted=True,
                )
        assert not ran.exists()

    def test_commands(self, own_files, kind, monkeypatch, tmp_path):
        files, ran = own_files
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
        out = tmp_path / "out.szd"
        small = ["compress", files[kind], "-o", out]
        for command in (
            ["measure", files[kind]],
            ["predict", files[kind], "x.csv"],
            small,
            [*small, "--no-data"],
        ):
            szilard(*command).refused("needs to run .*net.py:build")
        assert not ran.exists()
        assert not out.exists()
        (tmp_path / "x.csv").write_text("a,b,c\n1,2,3\n")
        typed = szilard("predict", files[kind], tmp_path / "x.csv", "--trust")
        assert typed.code == 0, typed.output
        assert f"running {tmp_path / 'net.py'}, named by {files[kind]}" in typed.output


def test_saved_paths_are_absolute(tmp_path, config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)
    path = network_pt(tmp_path, spec="net.py:build", source={"name": "a.csv", "root": "d"})
    assert metadata_of(path)["network_spec"] == f"{tmp_path / 'net.py'}:build"
    assert metadata_of(path)["data"] == {"name": str(tmp_path / "a.csv"), "root": str(tmp_path / "d")}
    monkeypatch.chdir(tmp_path.parent)
    assert saved_network.load(path).data_trusted


class TestData:
    @pytest.mark.parametrize(
        "source",
        [{"name": "/etc/passwd"}, {"name": "~/a.npz"}, {"name": "digits", "root": "/"},
         {"name": "mnist", "root": "//host/share"}, {"name": "digits.csv"}, {"name": "\\\\host\\a.npz"}],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", ["pt", "szd"])
    def test_unsigned_paths_are_not_used(self, tmp_path, config, source, kind):
        path = network_pt(tmp_path)
        path = path if kind == "pt" else as_szd(path, tmp_path / "n.szd")
        odd = with_metadata(path, {**metadata_of(path), "data": source}, tmp_path / f"odd.{kind}")
        assert not saved_network.load(odd).data_trusted
        szilard("measure", odd).refused(
            "as its data, and your own szilard did not write that name; add --trust"
        )
        szilard("predict", odd, source["name"] if "root" in source else "digits").refused("")

    def test_names_of_known_data_sets_are_used(self, tmp_path, config):
        for name in ("digits", "MNIST", "fashion", "wine", "Fashion_MNIST"):
            assert not trust.data_paths({"name": name})
        assert not config.exists()

    def test_a_file_converted_from_an_unsigned_one_is_not_signed(self, tmp_path, config):
        path = network_pt(tmp_path)
        odd = with_metadata(path, {**metadata_of(path), "data": {"name": "/x.csv"}}, tmp_path / "odd.pt")
        assert saved_network.to_meta(saved_network.load(odd))["network"]["data_signature"] is None
        assert not saved_network.load(as_szd(odd, tmp_path / "n.szd")).data_trusted


class TestKey:
    def test_the_key_is_created_once_and_private(self, config):
        one = trust.sign_network("/a.py:f")
        assert one == trust.sign_network("/a.py:f") != trust.sign_network("/b.py:f")
        assert trust.knows_network("/a.py:f", one)
        if os.name == "posix":
            assert stat.S_IMODE((config / "key").stat().st_mode) == 0o600
        assert [path.name for path in config.iterdir()] == ["key"]

    def test_no_key_is_created_if_nothing_is_signed(self, config):
        assert trust.sign_network("mlp:5") is None
        assert trust.sign_data({"name": "digits"}) is None
        assert not config.exists()

    def test_without_a_config_folder_nothing_is_signed(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
        assert trust.sign_network("/a.py:f") is None
        assert not trust.knows_network("/a.py:f", "0" * 64)

    @pytest.mark.skipif(os.name != "posix", reason="modes of files")
    @pytest.mark.parametrize("mode", [0o644, 0o620, 0o604])
    def test_a_key_readable_by_others_is_not_used(self, config, mode):
        signature = trust.sign_network("/a.py:f")
        (config / "key").chmod(mode)
        assert not trust.knows_network("/a.py:f", signature)

    @pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
    def test_a_damaged_key_is_not_used(self, config, content):
        trust.sign_network("/a.py:f")
        (config / "key").write_bytes(content)
        assert trust.sign_network("/a.py:f") is None

    def test_signatures_of_data_and_code_differ(self, config):
        """A signature of data is never valid for code."""
        source = {"name": "/a.py:f"}
        assert not trust.knows_network('{"name": "/a.py:f"}.py:f', trust.sign_data(source))
        assert trust.knows_data(source, trust.sign_data(source))


class TestRuns:
    @pytest.fixture
    def code(self, tmp_path, config):
        (tmp_path / "net.py").write_text(
            "import pathlib\nfrom torch import nn\npathlib.Path(__file__).with_name('ran').touch()\n"
            "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        )
        return f"{tmp_path / 'net.py'}:build"

    def test_own_runs_need_no_confirmation(self, tmp_path, code, monkeypatch):
        tiny = [word for word in TINY if word not in ("--network", "mlp:8")]
        out = tmp_path / "run"
        fit = ["fit", *tiny, "--method", "deterministic", "--no-baselines", "--quiet"]
        assert szilard(*fit, "--network", code, "--out", out).code == 0
        assert "signature = " in (out / "run.toml").read_text()
        again = ["fit", out / "run.toml", "--quiet", "--out", tmp_path / "again"]
        assert szilard(*again).code == 0
        assert szilard("fit", "--out", out, "--resume", "--quiet").code == 0
        small = tmp_path / "small.szd"
        typed = szilard("compress", out, "--lam", 1e-6, "-o", small, "--quiet")
        assert typed.code == 0, typed.output
        assert szilard("predict", small, "digits", "--samples", 1).code == 0
        # The same folder with another key, as for another user.
        (tmp_path / "ran").unlink()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
        szilard("measure", out).refused("needs to run")
        szilard("predict", small, "digits").refused("needs to run")
        szilard("fit", out / "run.toml", "--out", tmp_path / "third").refused(
            "run.toml needs to run .*; add --trust"
        )
        szilard("fit", "--out", out, "--resume").refused("needs to run")
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "third").exists()
        typed = szilard("fit", out / "run.toml", "--quiet", "--out", tmp_path / "third", "--trust")
        assert typed.code == 0
        assert f"running {tmp_path / 'net.py'}, named by {out / 'run.toml'}" in typed.output

    def test_an_unsigned_run_toml(self, tmp_path, code):
        path = tmp_path / "run.toml"
        path.write_text(f"methods = ['deterministic']\n[network]\nspec = '{code}'\n")
        szilard("fit", path, "--out", tmp_path / "x").refused("needs to run")
        for data in ("name = '/x/secret.csv'", "root = '/x'"):
            path.write_text(f"methods = ['deterministic']\n[data]\n{data}\n")
            szilard("fit", path, "--out", tmp_path / "x").refused("as its data, and your own")
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "x").exists()

    @pytest.mark.parametrize("name", ["../../x", "/etc", "..", "", "ssvi/../../x", "."])
    def test_names_of_methods_are_not_paths(self, tmp_path, config, name):
        run = tmp_path / "a" / "run"
        run.mkdir(parents=True)
        (run / "run.toml").write_text(f"methods = [{name!r}]\n")
        network_pt(tmp_path)  # the file that such a name would find
        for command in (
            ["measure", run],
            ["predict", run, "digits"],
            ["compress", run],
            ["fit", run / "run.toml"],
        ):
            szilard(*command).refused("names an unknown method")
        from szilard.run.folder import RunFolder

        with pytest.raises(SzilardError, match="unknown method"):
            RunFolder(run).method(name)


def test_formulas_in_class_names_are_escaped(tmp_path, config):
    path = network_pt(tmp_path)
    odd = with_metadata(
        path, {**metadata_of(path), "classes": ["=cmd|' /C calc'!A0", "-1"]}, tmp_path / "odd.pt"
    )
    (tmp_path / "x.csv").write_text("a,b,c\n" + "".join(f"{i},{-i},{i % 3}\n" for i in range(-20, 20)))
    output = szilard("predict", odd, tmp_path / "x.csv").output
    labels = {line.split(",")[0] for line in output.splitlines()[1:]}
    assert labels <= {"'=cmd|' /C calc'!A0", "-1"}
