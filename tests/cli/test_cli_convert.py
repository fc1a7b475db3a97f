"""szilard convert: names, types, shapes and bits stay as they are."""

from __future__ import annotations

import json

import pytest
import saved_networks
import torch
from cli_tools import szilard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import szilard as package
from szilard import SzilardError, file
from szilard.file.state import contiguous
from szilard.model import conversion, formats, saved_network, stored

KINDS = tuple(name for name in file.dtypes.BY_NAME if name != "complex128")


def bits(tensor):
    return contiguous(tensor).reshape(-1).view(torch.uint8).tolist() if tensor.numel() else []


def same(one, other) -> bool:
    return set(one) == set(other) and all(
        (one[name].dtype, one[name].shape, bits(one[name]))
        == (other[name].dtype, other[name].shape, bits(other[name]))
        for name in one
    )


def state():
    found = {}
    for place, name in enumerate(KINDS):
        data = (torch.arange(64, dtype=torch.uint8) * (place + 3)).reshape(2, 32)
        found[name] = (data % 2).bool() if name == "bool" else data.view(getattr(torch, name))
    tied = torch.randn(3, 4)
    base = torch.randn(5, 6)
    return {
        **found, "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "tied": tied, "again": tied,
        "part": base[1:3, ::2],
        "float4": torch.arange(12, dtype=torch.uint8).reshape(3, 4).view(torch.float4_e2m1fn_x2).t(),
        "transposed": base.t(), "expanded": torch.ones(1).expand(1, 1), "rows": torch.ones(1, 3).expand(4, 3),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
        "equal": torch.full((100, 100), 0.5), "名前/..": torch.ones(2),
    }  # fmt: skip


def read(path):
    return stored.read(path).groups[""]


@pytest.mark.parametrize(
    "steps",
    [
        (".szd",),
        (".safetensors",),
        (".szd", ".safetensors"),
        (".safetensors", ".szd", ".pth"),
        (".pt", ".bin"),
        (".szd", ".ckpt", ".safetensors", ".szd"),
    ],
)
def test_every_conversion_keeps_names_types_shapes_and_bits(tmp_path, steps):
    original = state()
    path = tmp_path / "net.pt"
    torch.save(original, path)
    for number, suffix in enumerate(steps):
        target = tmp_path / f"{number}{suffix}"
        typed = szilard("convert", path, target)
        assert typed.code == 0, typed.output
        assert f"{len(original)} tensors, {target.stat().st_size:,} bytes" in typed.output
        path = target
        assert same(read(path), original)
    found = read(path)
    if path.suffix != ".safetensors":
        assert found["tied"].data_ptr() == found["again"].data_ptr()
    if path.suffix in conversion.TORCH:
        assert same(torch.load(path, weights_only=True), original)
        assert path.stat().st_size < 100_000  # of a view only its own entries are stored
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        theirs = load_file(path)
        assert torch.equal(theirs["float32"], original["float32"])
        assert torch.equal(theirs["again"], original["tied"])


def test_a_compressed_network_and_back(tmp_path):
    network = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
    package.compress(network, lam=1e-6, meta={"by": "me", "n": 3}).save(tmp_path / "net.szd")
    for name in ("net.safetensors", "net.pt"):
        package.convert(tmp_path / "net.szd", tmp_path / name)
    network.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True), strict=True)
    assert same(network.state_dict(), package.load(tmp_path / "net.szd"))
    package.convert(tmp_path / "net.safetensors", tmp_path / "again.szd")
    assert file.inspect(tmp_path / "again.szd").meta == {"by": "me", "n": 3}
    typed = szilard("convert", tmp_path / "net.szd", tmp_path / "net.pt")
    assert (
        "note: a state dict holds only tensors: the metadata (by, n) of net.szd is left out" in typed.output
    )
    assert szilard("verify", tmp_path / "net.szd", "--against", tmp_path / "net.safetensors").output.endswith(
        "bit for bit\n"
    )


def test_metadata_of_other_safetensors_files_are_kept(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    save_file({"w": torch.ones(3)}, tmp_path / "a.safetensors", {"format": "pt", "license": "mit"})
    package.convert(tmp_path / "a.safetensors", tmp_path / "a.szd")
    package.convert(tmp_path / "a.szd", tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt", "license": "mit"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"szilard.meta": "[" * 5000, "szilard.ties": "{"},
        {"szilard.meta": "[1]", "szilard.ties": '{"w": 3, "x": "w", "v": "w"}'},
    ],
)
def test_invalid_metadata_are_ignored(tmp_path, metadata):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(3), "v": torch.zeros(3)}, tmp_path / "a.safetensors", metadata)
    package.convert(tmp_path / "a.safetensors", tmp_path / "a.szd")
    assert same(package.load(tmp_path / "a.szd"), {"w": torch.ones(3), "v": torch.zeros(3)})


def test_a_checkpoint(tmp_path):
    weights = {"net.weight": torch.randn(2, 3)}
    torch.save(
        {"state_dict": weights, "ema": {"net.weight": torch.ones(2, 3)}, "lr": 0.1}, tmp_path / "a.ckpt"
    )
    szilard("convert", tmp_path / "a.ckpt", tmp_path / "a.szd").refused(
        "several groups of tensors .*; choose one with --key"
    )
    typed = szilard("convert", tmp_path / "a.ckpt", tmp_path / "a.szd", "--key", "state_dict", "--json")
    assert typed.code == 0, typed.output
    assert json.loads(typed.output)["notes"][0] == "tensors of 'state_dict'"
    assert same(package.load(tmp_path / "a.szd"), weights)


def test_a_network_of_szilard_fit_keeps_its_description(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved_networks.network_pt(tmp_path)
    for source, target in ((path, "a.szd"), ("a.szd", "b.safetensors"), ("b.safetensors", "c.szd")):
        typed = szilard("convert", source, target)
        assert typed.code == 0, typed.output
    one, other = saved_network.load(path), saved_network.load(tmp_path / "c.szd")
    assert same(one.network.state_dict(), other.network.state_dict())
    assert (one.classes, one.data, one.options, one.network_spec) == (
        other.classes, other.data, other.options, other.network_spec,
    )  # fmt: skip
    assert torch.equal(one.scale, other.scale)
    assert saved_network.is_finished(tmp_path / "c.szd")


def test_errors(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    (tmp_path / "link.pt").symlink_to(tmp_path / "a.pt")
    for target, message in (
        ("b.onnx", r"b\.onnx has a suffix that cannot be written; .* \.szd, \.safetensors or \.pt"),
        ("b", "has a suffix that cannot be written"),
        ("a.pt", "is the file to be converted"),
        ("link.pt", "is the file to be converted"),
        ("none/b.szd", "in a folder that does not exist"),
    ):
        szilard("convert", tmp_path / "a.pt", tmp_path / target).refused(message)
    szilard("convert", tmp_path / "none.pt", tmp_path / "b.szd").refused(
        r"there is no (file|network) .*none\.pt"
    )
    szilard("convert", tmp_path / "none.szd", tmp_path / "b.pt").refused("none.szd does not exist")
    szilard("convert", tmp_path, tmp_path / "b.pt").refused("there is no|is a folder")
    torch.save({"w": torch.ones(3, dtype=torch.complex128)}, tmp_path / "c.pt")
    szilard("convert", tmp_path / "c.pt", tmp_path / "c.safetensors").refused(
        "cannot hold w, which is complex128"
    )
    assert not (tmp_path / "c.safetensors").exists()
    torch.save({}, tmp_path / "d.pt")
    szilard("convert", tmp_path / "d.pt", tmp_path / "d.szd").refused("has no state dict of tensors")
    szilard("convert", tmp_path / "a.pt", tmp_path / "a.szd")
    szilard("convert", tmp_path / "a.szd", tmp_path / "b.pt", "--key", "x").refused("leave --key out")
    typed = szilard("convert", "--help")
    assert "szilard convert net.szd net.safetensors" in typed.output


def test_the_target_of_a_link_is_replaced_and_keeps_its_mode(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    (tmp_path / "there.szd").write_bytes(b"old")
    (tmp_path / "there.szd").chmod(0o600)
    (tmp_path / "link.szd").symlink_to(tmp_path / "there.szd")
    package.convert(tmp_path / "a.pt", tmp_path / "link.szd")
    assert (tmp_path / "link.szd").is_symlink()
    assert formats.of(tmp_path / "there.szd") == formats.Format.SZD
    assert (tmp_path / "there.szd").stat().st_mode & 0o777 == 0o600


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=4),
    kinds=st.lists(st.sampled_from(KINDS), min_size=4, max_size=4),
    steps=st.lists(st.sampled_from([".szd", ".safetensors", ".pt"]), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_random_tensors_through_random_conversions(tmp_path_factory, shapes, kinds, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    original = {}
    for number, (sides, kind) in enumerate(zip(shapes, kinds, strict=False)):
        shape = sides or [1] * (kind == "float4_e2m1fn_x2")  # safetensors has no scalar of this type
        size = file.dtypes.named(kind).size
        data = torch.randint(0, 256, (*shape, size), generator=generator, dtype=torch.uint8)
        dtype = getattr(torch, kind)
        value = data[..., 0] % 2 == 1 if kind == "bool" else data.flatten().view(dtype).reshape(shape)
        original[f"t.{number}"] = value
    folder = tmp_path_factory.mktemp("any")
    path = folder / "0.pt"
    torch.save(original, path)
    for number, suffix in enumerate(steps):
        target = folder / f"{number + 1}{suffix}"
        package.convert(path, target)
        path = target
    assert same(read(path), original)


def test_convert_raises_szilard_errors():
    with pytest.raises(SzilardError):
        package.convert("nowhere.pt", "nowhere.szd")
