"""szilard inspect and szilard verify."""

from __future__ import annotations

import json

import file_tools
import pytest
import torch
from cli_tools import szilard

from szilard import file, methods, networks
from szilard.file import Document, Levels
from szilard.model import checkpoint


@pytest.fixture
def path(tmp_path):
    file.write(tmp_path / "net.szd", file_tools.everything())
    return tmp_path / "net.szd"


def test_inspect_as_a_table(path):
    typed = szilard("inspect", path)
    assert typed.code == 0, typed.output
    size = path.stat().st_size
    assert f"{size:,} bytes" in typed.output
    for part in ("prefix", "names", "fields", "metadata", "adaptive", "static", "raw", "trailer"):
        assert part in typed.output
    for record in file_tools.everything().records:
        assert record.name in typed.output
    assert "add --tensors" in typed.output
    assert "mlp:30,40" in typed.output
    decoded = szilard("inspect", path, "--tensors")
    assert decoded.code == 0
    assert "add --tensors" not in decoded.output


def test_inspect_as_json(path):
    found = json.loads(szilard("inspect", path, "--json").output)
    assert found["bytes"] == sum(found["parts"].values()) == path.stat().st_size
    assert found["meta"] == file_tools.everything().meta
    assert [entry["name"] for entry in found["entries"]] == [r.name for r in file_tools.everything().records]
    assert found["entries"][0]["bits"] is None
    decoded = json.loads(szilard("inspect", path, "--tensors", "--json").output)
    assert decoded["entries"][0]["bits"] > 100
    assert decoded["content"] == found["content"] == file.verify(path).content


def test_an_empty_file_of_no_tensors(tmp_path):
    file.write(tmp_path / "net.szd", Document([]))
    assert szilard("inspect", tmp_path / "net.szd").code == 0
    assert szilard("verify", tmp_path / "net.szd").code == 0


def test_names_are_printed_literally(tmp_path):
    file.write(
        tmp_path / "net.szd",
        Document(
            [
                Levels("[red]w[/nothing]", "float32", (2,), file_tools.numbers(0, 2), 0),
                Levels("\x1b[2J\nx", "float32", (2,), file_tools.numbers(0, 2), 0),
            ],
            {"[bold]\x1b": 1},
        ),
    )
    typed = szilard("inspect", tmp_path / "net.szd")
    assert typed.code == 0
    assert "[red]w[/nothing]" in typed.output
    assert "[bold]" in typed.output
    assert r"\x1b[2J\nx" in typed.output
    assert "\x1b" not in typed.output


class TestVerify:
    def test_complete(self, path):
        typed = szilard("verify", path)
        assert typed.code == 0
        assert f"{path} is complete" in typed.output
        assert file.verify(path).content in typed.output
        assert json.loads(szilard("verify", path, "--json").output)["whole"] is True

    def test_damaged(self, path):
        data = path.read_bytes()
        for at in (0, 4, 100, len(data) - 1):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            szilard("verify", path).refused("net.szd cannot be opened: .*; ")
        path.write_bytes(data[:-1])
        szilard("verify", path).refused("cut short or damaged")
        szilard("inspect", path).refused("cut short or damaged")

    def test_wrong_content_with_a_valid_file_hash(self, path):
        """The file's hash is valid, but the hash of its content is wrong: only verify, which decodes, detects it."""
        data = bytearray(path.read_bytes())
        data[-24] ^= 1
        path.write_bytes(file_tools.reseal(bytes(data)))
        assert szilard("inspect", path).code == 0
        szilard("verify", path).refused("not those that were written")

    def test_against_itself_and_its_original(self, path, tmp_path):
        typed = szilard("verify", path, "--against", path)
        assert typed.code == 0
        assert "36 of 36 tensors" not in typed.output  # supports are two tensors each
        count = len(file.arrays(file.read(path)))
        assert f"{count} of {count} tensors are those of" in typed.output

        state = {"w": torch.linspace(-1, 1, 50).reshape(5, 10), "b": torch.ones(5), "n": torch.tensor(3)}
        levels = (state["w"] * 8).round().to(torch.int32).numpy()
        document = file.from_state_dict(state, {"w": Levels("w", "float32", (5, 10), levels, -48)})
        file.write(tmp_path / "q.szd", document)
        torch.save({"epoch": 3, "state_dict": state}, tmp_path / "q.pt")
        typed = szilard("verify", tmp_path / "q.szd", "--against", tmp_path / "q.pt")
        assert typed.code == 0, typed.output
        assert "2 of 3 tensors are those of" in typed.output
        arguments = ("verify", tmp_path / "q.szd", "--against", tmp_path / "q.pt", "--json")
        differences = json.loads(szilard(*arguments).output)["differences"]
        assert [one["identical"] for one in differences] == [False, True, True]
        exact = (torch.from_numpy(levels) / 8 - state["w"]).double()
        assert differences[0]["largest"] == pytest.approx(float(exact.abs().max()))
        assert differences[0]["relative"] == pytest.approx(
            float(exact.norm() / state["w"].double().norm()), rel=1e-6
        )

    def test_against_another_network(self, path, tmp_path):
        state = {"w": torch.ones(3)}
        file.write(tmp_path / "q.szd", file.from_state_dict(state))
        for other, words in (
            ({"w": torch.ones(4)}, r"w is float32 \[3\] in the one and float32 \[4\] in the other"),
            ({"w": torch.ones(3).double()}, "float64"),
            ({"w": torch.ones(3), "b": torch.ones(1)}, "b is missing in the one"),
            ({}, "missing in the other"),
        ):
            torch.save(other, tmp_path / "q.pt")
            szilard("verify", tmp_path / "q.szd", "--against", tmp_path / "q.pt").refused(words)
        torch.save([1, 2], tmp_path / "q.pt")
        szilard("verify", path, "--against", tmp_path / "q.pt").refused("has no state dict")
        szilard("verify", path, "--against", tmp_path / "none.pt").refused("there is no file .*none.pt")
        szilard("verify", path, "--against", tmp_path / "none.szd").refused("none.szd does not exist")

    def test_floats_of_four_bits(self, tmp_path):
        for name, entries in (("a", [0x21, 0x7F]), ("b", [0x21, 0x72])):
            value = torch.tensor(entries, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
            file.write(tmp_path / f"{name}.szd", file.from_state_dict({"w": value}))
        arguments = ("verify", tmp_path / "a.szd", "--against", tmp_path / "b.szd", "--json")
        (found,) = json.loads(szilard(*arguments).output)["differences"]
        assert found["largest"] == 7  # 0xF is -6 and 0x2 is 1
        assert found["relative"] == pytest.approx((49 / (0.25 + 1 + 1 + 36)) ** 0.5)

    def test_against_a_network_of_szilard_fit(self, tmp_path):
        """network.pt in the format of szilard fit."""
        network = methods.make("ssvi", n_data=100).prepare(networks.build("mlp:8", (1, 8, 8), 10))
        state = network.state_dict()
        checkpoint.save(tmp_path / "network.pt", "network", {"method": "ssvi", "state_dict": state})
        file.write(tmp_path / "net.szd", file.from_state_dict(state))
        typed = szilard("verify", tmp_path / "net.szd", "--against", tmp_path / "network.pt")
        assert typed.code == 0, typed.output
        assert f"{len(state)} of {len(state)} tensors are those of" in typed.output


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_errors(tmp_path, command):
    szilard(command, tmp_path / "none.szd").refused("none.szd does not exist; name a .szd file")
    szilard(command, tmp_path).refused("is a folder")
    (tmp_path / "net.szd").write_text("hello")
    szilard(command, tmp_path / "net.szd").refused("is not a .szd file; name one that szilard wrote")
    typed = szilard(command, "--help")
    assert "Examples" in typed.output
    assert f"szilard {command} net.szd" in typed.output
