"""Compiled files that are damaged, changed, from later versions or hostile: one sentence, and nothing is run."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
import torch
from torch import nn

from szilard import SzilardError, deploy
from szilard.deploy.backends import inductor
from szilard.deploy.description import HASH, Description

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from szilard.deploy.backends import onnx_runtime  # noqa: E402


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of a valid file."""
    path = tmp_path_factory.mktemp("files") / "network.onnx"
    deploy.compile(
        nn.Linear(6, 3).eval(), torch.ones(2, 6), backend="onnx", path=path, labels=["a", "b", "c"]
    )
    return path.read_bytes()


def refused(path, **settings) -> str:
    with pytest.raises(SzilardError) as caught:
        deploy.load(path, **settings)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


def changed(content, path, metadata=None, change=None):
    """A file with changed metadata or model, and the hash of it all: what a hostile writer makes."""
    model = onnx.load_model_from_string(content)
    entries = {entry.key: entry.value for entry in model.metadata_props} | (metadata or {})
    if change is not None:
        change(model)
    path.write_bytes(
        onnx_runtime.finished(model, {key: value for key, value in entries.items() if value is not None})
    )
    return path


def test_the_unchanged_file_opens(content, tmp_path):
    assert deploy.load(changed(content, tmp_path / "n.onnx")).labels == ("a", "b", "c")


def test_every_cut_and_every_flipped_byte_is_found(content, tmp_path):
    path = tmp_path / "n.onnx"
    for length in (0, 1, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path)
    for place in range(0, len(content), max(1, len(content) // 200)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        refused(path)


def test_a_later_format_version(content, tmp_path):
    path = changed(content, tmp_path / "n.onnx", {"szilard.format": "99"})
    assert "format version 99 and this szilard knows 1; upgrade szilard" in refused(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "x"), ("format", "-1"), ("mode", "magic"), ("shape", "[6, 1e9]"), ("shape", "[0]"), ("shape", "6"),
        ("shape", "[" * 100_000), ("batch", "[]"), ("batch", "true"), ("dtype", "float4"), ("outputs", '["answer"]'),
        ("labels", "[1]"), ("shape", None), ("batch", None),
    ],
)  # fmt: skip
def test_damaged_descriptions(content, tmp_path, name, value):
    assert "damaged" in refused(changed(content, tmp_path / "n.onnx", {f"szilard.{name}": value}))


@pytest.mark.parametrize(
    "entries", [{"shape": "[7]"}, {"batch": "4"}, {"dtype": "float64"}, {"shape": "[2, 3]"}]
)
def test_descriptions_of_another_network(content, tmp_path, entries):
    path = changed(content, tmp_path / "n.onnx", {f"szilard.{key}": value for key, value in entries.items()})
    assert "not those that it describes" in refused(path)


def test_tensors_in_other_files_are_not_read(content, tmp_path):
    def move(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")

    assert "in other files" in refused(changed(content, tmp_path / "n.onnx", change=move))


def test_tensors_of_subgraphs_in_other_files_are_not_read(content, tmp_path):
    def add(model):
        tensor = onnx.helper.make_tensor("t", 1, [1], [0.0])
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")
        inner = onnx.helper.make_graph(
            [onnx.helper.make_node("Constant", [], ["t"], value=tensor)], "g", [], []
        )
        model.graph.node.append(
            onnx.helper.make_node("If", ["c"], ["t"], then_branch=inner, else_branch=inner)
        )

    assert "in other files" in refused(changed(content, tmp_path / "n.onnx", change=add))


def test_operations_that_the_runtime_does_not_know(content, tmp_path):
    def add(model):
        model.opset_import.add(domain="their.own", version=1)
        model.graph.node[0].domain = "their.own"

    path = changed(content, tmp_path / "n.onnx", change=add)
    with pytest.raises(SzilardError, match="ONNX Runtime cannot open the model"):
        deploy.load(path)


def test_a_file_of_somebody_else(content, tmp_path):
    model = onnx.load_model_from_string(content)
    del model.metadata_props[:]
    path = tmp_path / "theirs.onnx"
    onnx.save(model, path)
    assert "was not written by szilard" in refused(path)


def test_suffixes_and_missing_files(tmp_path):
    assert "ends in .onnx, .pt2, .pte" in refused(tmp_path / "network.bin")
    assert "No such file" in refused(tmp_path / "none.onnx")


def test_own_names_of_metadata_are_refused():
    with pytest.raises(SzilardError, match="prefix"):
        deploy.compile(
            nn.Linear(2, 2).eval(), torch.ones(1, 2), backend="eager", metadata={"szilard.mode": "x"}
        )


def package(metadata=None) -> bytes:
    """A package like those of AOTInductor, with nothing in it that could be run."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("network/data/model.so", b"not a library")
    description = Description(
        "point", (3,), None, torch.float32, ("answer", "aleatoric", "epistemic", "mean"), "rule"
    )
    return inductor.described(file.getvalue(), description.entries() | (metadata or {}))


def test_machine_code_is_not_opened_without_trust(tmp_path, monkeypatch):
    monkeypatch.setattr(inductor, "loaded", lambda _: pytest.fail("it was opened"))
    path = tmp_path / "network.pt2"
    path.write_bytes(package())
    assert "trusted=True" in refused(path)


def test_a_damaged_package_is_not_opened_with_trust(tmp_path, monkeypatch):
    monkeypatch.setattr(inductor, "loaded", lambda _: pytest.fail("it was opened"))
    path, whole = tmp_path / "network.pt2", package()
    assert inductor.read(path, whole)["szilard.mode"] == "point"
    cuts = [
        whole[:100],
        whole.replace(b"not a library", b"now a library"),
        b"",
        whole.replace(b'"point"', b'"paint"'),
    ]
    for damaged in cuts:
        path.write_bytes(damaged)
        refused(path, trusted=True)
    path.write_bytes(package({"szilard.format": "2"}))
    assert "upgrade szilard" in refused(path, trusted=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("network/extra/szilard.json", json.dumps({HASH: "0" * 64}))
    assert "does not match its hash" in refused(path, trusted=True)


def test_the_range_of_training_images_is_in_the_file_and_checked(tmp_path):
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval(), torch.rand(2, 3, 4, 4)
    path = tmp_path / "images.onnx"
    made = deploy.compile(network, x, backend="onnx", path=path, image_range=(0, 1))
    opened = deploy.load(path)
    assert opened.image_range == (0.0, 1.0)
    for function in (made, opened):
        function(x * 1.4)  # within half of the range's width
        for other, shown in ((x * 255, r"values in \[\d+\.?\d*, 2\d\d\.?\d*\]"), (x - 0.8, "values in")):
            with pytest.raises(SzilardError, match=rf"^the images have {shown}.*; give numbers from 0 to 1$"):
                function(other)
    one = x.clone()
    one[0, 0, 0, 0] = 50.0  # one pixel of 96 is 1.04 %
    with pytest.raises(SzilardError, match="50"):
        opened(one)
    opened(torch.cat([one, x]))
    deploy.compile(network, x * 255, backend="eager", image_range=(0.0, 255.0))(x * 255)
    assert deploy.compile(network, x * 255, backend="eager")(x * 255).answer.shape == (2, 3)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ((1.0, 0.0), "image_range must be the lowest and the highest value"),
        ((0.0, float("inf")), "image_range must be"),
        ("01", "not '01'"),
        ((0.0, 1.0), "image_range is for images"),
    ],
)
def test_a_range_that_is_none(found, sentence):
    with pytest.raises(SzilardError, match=sentence):
        deploy.compile(nn.Linear(6, 3).eval(), torch.ones(2, 6), backend="eager", image_range=found)


@pytest.mark.parametrize("text", ["[0, 1, 2]", "[1, 0]", '"01"', "[0, NaN]", "{", "[true, 3]"])
def test_a_damaged_range_of_images(content, tmp_path, text):
    path = changed(content, tmp_path / "n.onnx", {"szilard.image_range": text})
    assert "its image_range is" in refused(path)
