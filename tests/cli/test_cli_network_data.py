"""The columns of a table are matched by name, and a change of the table since training is reported."""

import random
import warnings
from types import SimpleNamespace

import pytest
import torch

from szilard import data
from szilard.cli import network_data
from szilard.errors import SzilardError, SzilardWarning


def write(path, order=("a", "b", "colour"), n=60, *, labels=("no", "yes")):
    draws = random.Random(0)
    lines = [",".join([*order, "y"])]
    for _ in range(n):
        row = {
            "a": f"{draws.gauss(0, 10):.4f}",
            "b": f"{draws.gauss(5, 1):.4f}",
            "colour": draws.choice("uv"),
        }
        lines.append(",".join([*(row.get(name, "0.5") + "" for name in order), labels[float(row["a"]) > 0]]))
    path.write_text("\n".join(lines))
    return path


def trained_on(path):
    """A data set, and the attributes of a network trained on it that describe its data."""
    data_source = {"name": str(path), "target": "y", "ood": "none"}
    found = data.load(**data_source)
    keys = (
        "task", "input_shape", "n_outputs", "classes", "feature_names", "shift", "scale", "target_shift",
        "target_scale", "reading",
    )  # fmt: skip
    attributes = {key: getattr(found, key) for key in keys}
    return found, SimpleNamespace(data=data_source, data_trusted=True, targets=(), **attributes)


def test_columns_are_matched_by_name(tmp_path):
    path = write(tmp_path / "a.csv")
    original, network = trained_on(path)
    write(path, ("colour", "b", "a"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = network_data.for_network(network, {}, "network.pt")
    assert got.feature_names == original.feature_names
    for part in ("train", "valid", "test"):
        torch.testing.assert_close(getattr(got, part).x, getattr(original, part).x)


def test_other_columns_and_other_classes_are_refused(tmp_path):
    path = write(tmp_path / "a.csv")
    _, network = trained_on(path)
    other = write(tmp_path / "b.csv", labels=("bad", "good"))
    with pytest.raises(SzilardError, match=r"b\.csv has classes '(bad|good)', '(bad|good)', which network"):
        network_data.for_network(network, {"name": str(other)}, "network.pt")
    network.reading = None  # older versions did not store how the table was read
    with pytest.raises(
        SzilardError, match=r"b\.csv has classes 'bad', 'good', which network\.pt was not trained on"
    ):
        network_data.for_network(network, {"name": str(other)}, "network.pt")
    write(path, ("a", "colour", "b"))
    path.write_text(path.read_text().replace("a,colour,b,y", "a,colour,bb,y"))
    with pytest.raises(SzilardError, match="it lacks b and has bb more"):
        network_data.for_network(network, {}, "network.pt")


def test_changed_rows_are_warned_about(tmp_path):
    path = write(tmp_path / "a.csv")
    _, network = trained_on(path)
    write(path, n=61)
    with pytest.warns(SzilardWarning, match=r"a\.csv has changed since training"):
        network_data.for_network(network, {}, "network.pt")
    other = write(tmp_path / "b.csv", n=61)  # another table has no training rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network_data.for_network(network, {"name": str(other)}, "network.pt")


@pytest.mark.parametrize("large", ["1e300", "1e200"])
def test_targets_too_large_to_compute_with_are_refused_at_once(tmp_path, large):
    rows = [f"{i * 0.37:.2f},{large if i % 2 else -1.5}" for i in range(60)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["a,y", *rows]))
    with pytest.raises(
        SzilardError, match=r"the target of a\.csv has values too large or too close together"
    ):
        data.load(path, target="y", task="regression", ood="none")
