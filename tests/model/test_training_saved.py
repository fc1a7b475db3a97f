"""The metadata of a saved network are valid or refused; nothing that they name is run, downloaded or opened."""

from __future__ import annotations

import builtins
import importlib.util
import io
import math
import os
import tracemalloc

import pytest
import torch
from saved_networks import INVALID, INVALID_IN_PICKLES, as_szd, metadata_of, network_pt, with_metadata

from szilard import SzilardError, file
from szilard.file import SzilardFileError
from szilard.model import checkpoint, saved_network, schema

FIELDS = (
    "network_spec", "method", "method_options", "n_data", "method_state", "task", "input_shape", "n_outputs", "classes",
    "feature_names", "shift", "scale", "target_shift", "target_scale", "data",
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    path = network_pt(folder)
    return {".pt": path, ".szd": as_szd(path, folder / "network.szd")}


@pytest.fixture
def no_side_effects(monkeypatch):
    """Makes a test fail if a name in the metadata is run, downloaded or opened."""
    opened = builtins.open

    def only(path, *rest, **more):
        assert isinstance(path, int) or os.fspath(path).endswith((".pt", ".szd", ".tmp", "/key")), path
        return opened(path, *rest, **more)

    def never(*_, **__):
        raise AssertionError("metadata of a file must not cause this call")

    monkeypatch.setattr(builtins, "open", only)
    monkeypatch.setattr(io, "open", only)
    monkeypatch.setattr(importlib.util, "spec_from_file_location", never)
    monkeypatch.setattr("szilard.data.load", never)


def refusal(path) -> str | None:
    """The error message for a file, or None; any other exception fails the test."""
    try:
        saved_network.load(path)
    except SzilardFileError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", [".pt", ".szd"])
def test_valid_files_are_loaded(files, kind):
    found = saved_network.load(files[kind])
    assert found.classes == ("no", "yes")
    assert found.scale.tolist() == [1, 1, 1]
    predictive = found.method.predict(found.network, torch.randn(4, 3), samples=2)
    assert predictive.mean.shape == (4, 2)


def test_both_formats_give_the_same_network(files):
    one, two = (saved_network.load(path) for path in files.values())
    assert one.options == two.options
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[name]), name


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", [".pt", ".szd"])
def test_invalid_values_of_any_field(files, tmp_path, kind, field, no_side_effects):
    path, out = files[kind], tmp_path / f"odd{kind}"
    content = metadata_of(path)
    values = [None, *INVALID, *(INVALID_IN_PICKLES if kind == ".pt" else [])]
    messages = [
        sentence
        for value in values
        if (sentence := refusal(with_metadata(path, {**content, field: value}, out)))
    ]
    assert len(messages) >= len(values) - 10, "most of the values must be refused"
    assert all(
        str(out) in sentence and len(sentence) < 1000 and "\n" not in sentence for sentence in messages
    )
    del content[field]
    with pytest.raises(SzilardFileError, match=f"{field} is missing"):
        saved_network.load(with_metadata(path, content, out))


@pytest.mark.parametrize("kind", [".pt", ".szd"])
@pytest.mark.parametrize("field", ["method_options", "method_state", "data"])
def test_invalid_entries_of_any_table(files, tmp_path, kind, field, no_side_effects):
    path, out = files[kind], tmp_path / f"odd{kind}"
    content = metadata_of(path)
    keys = [*content[field], "unknown", "n_data", "self", "network", "download", "fetch", "root"]
    for key in keys:
        for value in [None, *INVALID[::6], *(INVALID_IN_PICKLES[::6] if kind == ".pt" else [])]:
            table = {**content[field], key: value}
            if refusal(with_metadata(path, {**content, field: table}, out)) is None and field == "data":
                assert key in ("name", "root") or value is None or key in content["data"]
                assert value is None or key == "name" or not saved_network.load(out).data_trusted


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": ["one"]}, "n_outputs is 2, and classification with 1 classes has 1"),
        ({"task": "regression"}, "n_outputs is 2, and regression"),
        ({"feature_names": ["a", "b"]}, "feature_names has 2 names for inputs"),
        ({"scale": [1.0]}, "scale must have shape"),
        ({"scale": [[1.0, 1.0, 1.0]]}, "scale must have shape"),
        ({"scale": 1.0}, "scale must have shape"),
        ({"scale": [1.0, 0.0, 1.0]}, "scale must be finite and above zero"),
        ({"scale": [1.0, -1.0, 1.0]}, "scale must be finite and above zero"),
        ({"scale": [1.0, 1e-60, 1.0]}, "scale must be finite and above zero"),
        ({"scale": [1.0, math.inf, 1.0]}, "scale must be a finite number"),
        ({"shift": [1.0, "a", 1.0]}, "shift must have shape"),
        ({"shift": [1.0, True, 1.0]}, "shift must be a finite number"),
        ({"target_scale": 0}, "target_scale must be a finite number above zero"),
        ({"n_data": 0}, "n_data must be a whole number from 1"),
        ({"method": "../../x"}, "method must be one of deterministic"),
        ({"method_options": {"density": 7}}, "density must be in"),
        ({"method_options": {"density": "much"}}, "density .* must be a finite number"),
        ({"method_options": {"pattern": 32}}, "pattern .* must be a word"),
        ({"method_options": {"every": 1.5}}, "every .* must be a whole number"),
        ({"method_options": {"pretrained": 1}}, "pretrained .* must be true or false"),
        ({"data": {"name": "digits", "download": True}}, "data has the entry 'download'"),
        ({"input_shape": [10**12]}, "input_shape must be a whole number"),
        ({"input_shape": [2**13, 2**13]}, "with more than"),
        ({"network_spec": "mlp:6"}, "is of another network"),
        ({"network_spec": "nothing"}, "there is no network"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [".pt", ".szd"])
def test_the_error_names_the_field(files, tmp_path, kind, change, sentence, no_side_effects):
    path = files[kind]
    if kind == ".szd" and change.get("scale") == [1.0, math.inf, 1.0]:
        sentence = "the metadata are not JSON"  # JSON has no infinity
    with pytest.raises(SzilardFileError, match=sentence):
        saved_network.load(with_metadata(path, {**metadata_of(path), **change}, tmp_path / f"odd{kind}"))


@pytest.mark.parametrize(
    "spec", ["mlp:100000,100000", "mlp:5," + ",".join(["9000"] * 900), "mlp:" + "9" * 30, "mlp:0", "resnet9998",
             "mlp:" + "1," * 3000 + "1", "lenet5", "resnet20", "mlp:100000000000000000"],
)  # fmt: skip
@pytest.mark.parametrize(
    "method", ["deterministic", "ssvi", "mean-field", "variational-dropout", "bayesian-compression"]
)
def test_sizes_are_checked_before_a_network_is_built(files, tmp_path, monkeypatch, spec, method):
    """No memory is allocated for such a network: all its parameters are on the meta device."""
    made = []
    linear = torch.nn.Linear.__init__

    def watched(self, *rest, **more):
        linear(self, *rest, **more)
        made.append(self.weight)

    monkeypatch.setattr(torch.nn.Linear, "__init__", watched)
    path = files[".szd"]
    content = {**metadata_of(path), "network_spec": spec, "method": method, "method_options": {}}
    with pytest.raises(SzilardFileError):
        saved_network.load(with_metadata(path, content, tmp_path / "odd.szd"))
    assert all(weight.is_meta for weight in made)


def test_a_large_support_declared_in_a_few_bytes_is_refused(tmp_path):
    """Rows and names match, but there are twelve million columns for three entries: no index is allocated."""
    path = network_pt(tmp_path, spec="mlp:1")
    one = torch.ones(3, 1, 1)
    content = {
        **metadata_of(path),
        "input_shape": [3, 2000, 2000],
        "feature_names": [],
        "shift": 0 * one,
        "scale": one,
    }
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(SzilardFileError, match=r"far too large for its .* numbers"):
        saved_network.load(tmp_path / "odd.pt")


def test_tensors_too_large_for_the_network_are_not_decoded(tmp_path, files, monkeypatch):
    document = file.read(files[".szd"])
    document.records.append(file.Constant("x", "float32", (1 << 28,), bytes(4)))  # a gigabyte in a few bytes
    file.write(tmp_path / "odd.szd", document)
    assert (tmp_path / "odd.szd").stat().st_size < 4000
    monkeypatch.setattr("szilard.file.read", None)
    with pytest.raises(SzilardFileError, match=r"declares 1073.* bytes of tensors, far more than 'mlp:5'"):
        saved_network.load(tmp_path / "odd.szd")


@pytest.mark.parametrize(
    "odd",
    [
        torch.eye(3).to_sparse(), torch.ones(3, dtype=torch.complex64), torch.ones(3, dtype=torch.int64), torch.ones(4),
        torch.ones(()), torch.ones(1).expand(5), "text", None, 3, [1.0],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["1.bias", "1.weight.mean", "1.weight.support.crow", "1.weight.support.col"])
def test_invalid_tensors_are_refused(files, tmp_path, odd, name):
    content = metadata_of(files[".pt"])
    state = {**content["state_dict"], name: odd}
    torch.save({**content, "state_dict": state}, tmp_path / "odd.pt")
    if isinstance(odd, torch.Tensor) and odd.shape == (5,) and name == "1.bias":
        assert saved_network.load(tmp_path / "odd.pt").network.state_dict()[name].tolist() == [1.0] * 5
        return
    with pytest.raises(SzilardFileError):
        saved_network.load(tmp_path / "odd.pt")


@pytest.mark.parametrize("state", [None, 5, [], {}, {1: torch.ones(2)}, torch.ones(2)])
def test_an_invalid_state_dict_is_refused(files, tmp_path, state):
    torch.save({**metadata_of(files[".pt"]), "state_dict": state}, tmp_path / "odd.pt")
    with pytest.raises(SzilardFileError):
        saved_network.load(tmp_path / "odd.pt")


@pytest.mark.parametrize(
    "content",
    [5, [], {}, *({"szilard": "network", **more} for more in ({}, {"format": "1"}, {"format": 1}, {"format": 2**70})),
     {"szilard": ["network"], "format": 1}],
)  # fmt: skip
def test_a_file_without_a_network_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(SzilardFileError):
        saved_network.load(tmp_path / "odd.pt")


def test_unknown_fields_are_ignored(files, tmp_path):
    path = files[".szd"]
    saved_network.load(
        with_metadata(path, {**metadata_of(path), "from_a_later_version": [1]}, tmp_path / "odd.szd")
    )


def test_statistics_have_one_canonical_shape():
    assert schema.narrow(torch.tensor(2.0), (3,)).tolist() == [2, 2, 2]
    assert schema.narrow(torch.ones(3, 1, 1), (3, 8, 8)).shape == (3, 1, 1)
    assert schema.narrow(torch.ones(8), (3, 8, 8)).shape == (3, 8, 8)
    with pytest.raises(SzilardError, match="does not fit inputs"):
        schema.narrow(torch.ones(2), (3,))


def test_errors_on_unexpected_content_are_converted(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for error in (KeyError("x"), TypeError("x"), AttributeError("x"), RuntimeError("x"), IndexError("x")):
        with (
            pytest.raises(SzilardFileError, match="has content that szilard does not write"),
            checkpoint.reading(path, "checkpoint"),
        ):
            raise error
    with pytest.raises(SzilardError, match="mine"), checkpoint.reading(path, "checkpoint"):
        raise SzilardError("mine")


def test_loading_takes_little_memory(files):
    saved_network.load(files[".pt"])
    tracemalloc.start()
    saved_network.load(files[".pt"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
