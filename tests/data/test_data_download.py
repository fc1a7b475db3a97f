"""The download, with a fake torchvision, since tests use no network."""

import sys
import types

import numpy as np
import pytest

from szilard import data
from szilard.errors import SzilardError


def test_without_torchvision_the_download_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(SzilardError, match="downloading mnist needs torchvision, which is not installed"):
        data.load("mnist", tmp_path, download=True)
    with pytest.raises(SzilardError, match="yacht cannot be downloaded"):
        data.load("yacht", tmp_path, download=True)


class CIFAR10:
    """The attributes of torchvision.datasets.CIFAR10 that the download reads."""

    calls = 0

    def __init__(self, root, train, download):
        assert download
        CIFAR10.calls += 1
        n = 100 if train else 20
        self.data = np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), np.uint8)
        self.targets = [i % 10 for i in range(n)]


def fake_torchvision(monkeypatch, kind):
    module = types.ModuleType("torchvision")
    module.datasets = types.SimpleNamespace(CIFAR10=kind)
    monkeypatch.setitem(sys.modules, "torchvision", module)


def test_cifar_is_written_in_the_binary_layout_and_downloaded_once(tmp_path, monkeypatch):
    fake_torchvision(monkeypatch, CIFAR10)
    got = data.load("cifar10", tmp_path, download=True)
    want = CIFAR10("", train=False, download=True)
    calls = CIFAR10.calls
    raw = (got.raw(got.test.x) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(raw, want.data)
    assert got.test.y.tolist() == want.targets
    assert (len(got.train), len(got.valid)) == (90, 10)
    assert len(data.load("cifar10", tmp_path, download=True).train) == 90
    assert CIFAR10.calls == calls
    assert not list(tmp_path.rglob("*.partial"))


def test_a_failed_download_is_reported(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("no route to host")

    fake_torchvision(monkeypatch, fail)
    with pytest.raises(SzilardError, match="cifar10 could not be downloaded: no route to host"):
        data.load("cifar10", tmp_path, download=True)
