"""Readers of the MNIST family and CIFAR, on small files written here in their formats."""

import gzip
import struct

import numpy as np
import pytest
import torch

from szilard import data
from szilard.errors import SzilardError


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder, *, n_train=120, n_test=20, seed=0, zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    arrays = {}
    for stem, n in (("train", n_train), ("t10k", n_test)):
        arrays[stem] = random.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays[stem], strict=True):
            path = folder / f"{stem}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return arrays


def test_idx_files_are_read_exactly(tmp_path):
    arrays = write_mnist(tmp_path / "mnist")
    got = data.load("mnist", tmp_path)
    assert (len(got.train), len(got.valid), len(got.test)) == (100, 20, 20)
    assert got.input_shape == (1, 28, 28)
    raw = (got.raw(got.test.x) * 255).round().long()
    assert np.array_equal(raw[:, 0].numpy(), arrays["t10k"][0])
    assert got.test.y.tolist() == arrays["t10k"][1].tolist()
    both = torch.cat([got.train.x, got.valid.x])
    pixels = sorted((got.raw(both) * 255).round().long().view(120, -1)[:, :9].tolist())
    assert pixels == sorted(arrays["train"][0].reshape(120, -1)[:, :9].tolist())
    assert got.valid.y.bincount().tolist() == [2] * 10


@pytest.mark.parametrize("folder", ["fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "."])
def test_alternative_folder_names_are_found(tmp_path, folder):
    write_mnist(tmp_path / folder, zipped=folder != "FashionMNIST/raw")
    assert data.load("fashion-mnist", tmp_path).name == "fashion-mnist"
    assert data.load("fashion_mnist", tmp_path / folder).classes[9] == "ankle boot"


def test_root_defaults_to_the_environment(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist")
    monkeypatch.setenv("SZILARD_DATA", str(tmp_path))
    assert len(data.load("mnist").test) == 20


def test_the_ood_set_of_fashion_mnist_depends_on_what_is_present(tmp_path):
    write_mnist(tmp_path / "fashion_mnist")
    assert data.load("fashion-mnist", tmp_path).ood_name == "photographs"
    mnist = write_mnist(tmp_path / "mnist", seed=1)
    got = data.load("fashion-mnist", tmp_path / "fashion_mnist")  # its own folder; others lie beside it
    assert got.ood_name == "mnist"
    assert np.array_equal((got.raw(got.ood.x) * 255).round().numpy()[:, 0], mnist["t10k"][0])
    (tmp_path / "ood").mkdir()
    kmnist = np.random.default_rng(2).integers(0, 256, (15, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "ood" / "kmnist-test-imgs.npz", kmnist)
    got = data.load("fashion-mnist", tmp_path)
    assert got.ood_name == "kmnist"
    assert np.array_equal((got.raw(got.ood.x) * 255).round().numpy()[:, 0], kmnist)
    assert data.load("fashion-mnist", tmp_path, ood="mnist").ood_name == "mnist"


def test_a_data_set_is_not_its_own_ood_set(tmp_path):
    write_mnist(tmp_path / "mine")
    assert data.load("mnist", tmp_path / "mine").ood_name == "photographs"
    with pytest.raises(SzilardError, match="is the data set itself"):
        data.load("mnist", tmp_path / "mine", ood="mnist")


def test_kmnist_reads_its_npz_files(tmp_path):
    folder = tmp_path / "kmnist"
    folder.mkdir()
    for part, n in (("train", 60), ("test", 10)):
        np.savez(
            folder / f"kmnist-{part}-imgs.npz",
            np.random.default_rng(n).integers(0, 256, (n, 28, 28), np.uint8),
        )
        np.savez(folder / f"kmnist-{part}-labels.npz", (np.arange(n) % 10).astype(np.uint8))
    got = data.load("kmnist", tmp_path)
    assert (len(got.train), len(got.valid), len(got.test)) == (50, 10, 10)


def damaged(kind: str, whole: bytes) -> bytes:
    return {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "half inside gzip": gzip.compress(gzip.decompress(whole)[:1000]),
        "header only": gzip.compress(gzip.decompress(whole)[:9]),
        "more than declared": gzip.compress(gzip.decompress(whole) + b"x"),
        "huge header": gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31)),
        "text": b"<html>404</html>",
        "flipped": whole[:500] + bytes(200) + whole[700:],
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "half",
        "half inside gzip",
        "header only",
        "more than declared",
        "huge header",
        "text",
        "flipped",
    ],
)
def test_damaged_idx_files_are_named(tmp_path, kind):
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damaged(kind, path.read_bytes()))
    with pytest.raises(SzilardError, match=r"train-images-idx3-ubyte\.gz .*download the original again"):
        data.load("mnist", tmp_path)


def test_every_truncation_of_an_idx_file_is_refused(tmp_path):
    from szilard.data.idx import read_idx

    whole = idx(np.arange(24).reshape(2, 3, 4))
    path = tmp_path / "a"
    path.write_bytes(whole)
    assert read_idx(path).flatten().tolist() == list(range(24))
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(SzilardError):
            read_idx(path)


def test_labels_out_of_range_and_missing_labels_are_refused(tmp_path):
    write_mnist(tmp_path / "mnist")
    labels = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(idx(np.array([1, 2, 10]))))
    with pytest.raises(
        SzilardError, match=r"label 10 at index 2 of .*labels-idx1.* is out of range; .* 0 to 9"
    ):
        data.load("mnist", tmp_path)
    labels.write_bytes(gzip.compress(idx(np.arange(50) % 10)))
    with pytest.raises(SzilardError, match="has 120 inputs but 50 labels"):
        data.load("mnist", tmp_path)
    labels.write_bytes(gzip.compress(idx(np.arange(120) % 9)))
    with pytest.raises(SzilardError, match="class 9 of mnist has no training example"):
        data.load("mnist", tmp_path)


def test_the_error_on_missing_files_names_the_expected_path(tmp_path):
    with pytest.raises(SzilardError) as caught:
        data.load("fashion-mnist", tmp_path)
    assert f"train-images-idx3-ubyte.gz is expected in {tmp_path / 'fashion_mnist'}" in str(caught.value)
    with pytest.raises(SzilardError, match=r"data_batch_1\.bin is expected in .*cifar-10-batches-bin"):
        data.load("cifar10", tmp_path)


def write_cifar10(folder, per_file=40):
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = {}
    for file in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        rows[file] = random.integers(0, 256, (per_file, 3073)).astype(np.uint8)
        rows[file][:, 0] = np.arange(per_file) % 10
        rows[file].tofile(folder / f"{file}.bin")
    return rows


def test_cifar10_is_read_exactly(tmp_path):
    rows = write_cifar10(tmp_path / "cifar-10-batches-bin")
    got = data.load("cifar10", tmp_path)
    assert got.input_shape == (3, 32, 32)
    assert (len(got.train), len(got.valid), len(got.test)) == (180, 20, 40)
    assert got.shift.shape == (3, 1, 1)
    raw = (got.raw(got.test.x) * 255).round().byte()
    assert np.array_equal(raw.flatten(1).numpy(), rows["test_batch"][:, 1:])
    assert got.test.y.tolist() == rows["test_batch"][:, 0].tolist()
    assert got.classes[3] == "cat"
    assert got.ood_name == "photographs"
    assert got.train.x.mean((0, 2, 3)).abs().max() < 1e-4
    assert len(data.load("cifar10", tmp_path / "cifar-10-batches-bin").test) == 40


def test_cifar100_uses_fine_labels_and_is_the_ood_set_of_cifar10(tmp_path):
    write_cifar10(tmp_path / "cifar-10-batches-bin")
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for file, n in (("train", 300), ("test", 100)):
        rows = np.random.default_rng(n).integers(0, 256, (n, 3074)).astype(np.uint8)
        rows[:, 0], rows[:, 1] = 19, np.arange(n) % 100
        rows.tofile(folder / f"{file}.bin")
    got = data.load("cifar100", tmp_path)
    assert got.n_outputs == 100
    assert got.test.y.tolist() == list(range(100))
    assert got.ood_name == "cifar10"
    assert data.load("cifar10", tmp_path).ood_name == "cifar100"


def test_a_truncated_cifar_file_is_named(tmp_path):
    write_cifar10(tmp_path / "cifar10")
    path = tmp_path / "cifar10" / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SzilardError, match=r"data_batch_4\.bin is truncated"):
        data.load("cifar10", tmp_path)
    path.unlink()
    with pytest.raises(SzilardError, match=r"data_batch_4\.bin is expected in"):
        data.load("cifar10", tmp_path)


def test_an_ood_set_of_another_shape_is_refused(tmp_path):
    write_mnist(tmp_path / "mnist")
    write_cifar10(tmp_path / "cifar10")
    with pytest.raises(SzilardError, match="images of cifar10 are 3x32x32 and those of mnist 1x28x28"):
        data.load("mnist", tmp_path, ood="cifar10")


@pytest.mark.parametrize("shape", [(20, 5, 5), (20, 0, 28)])
def test_images_of_two_sizes_are_refused(tmp_path, shape):
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(shape))))
    with pytest.raises(SzilardError, match=r"must have the same size, but are 1x28x28 and 1x"):
        data.load("mnist", tmp_path)
