"""Files of torch.save are read as torch reads them, with memory limited by the file size."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from szilard.model import torch_file
from szilard.model.torch_file import Damaged, Objects, loads, unpickler


def saved(content, **how) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def pickled(data_pkl: bytes, records: dict[str, bytes] | None = None, how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, content in {"data.pkl": data_pkl, "version": b"3\n", **(records or {})}.items():
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


class Calls:
    """Its pickle calls a function."""

    def __init__(self, function, *arguments) -> None:
        self.what = function, arguments

    def __reduce__(self):
        return self.what


def equal(one, two) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and one.stride() == two.stride() and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(two) and len(one) == len(two) and all(map(equal, one, two))
    return one == two


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_content_is_read_as_torch_reads_it(how):
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    weight = torch.randn(6, 4)
    content = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 4]).state_dict(),
        "views": [weight, weight.t(), weight[2:, 1:], nn.Parameter(weight)],
        "kinds": [weight.to(kind) for kind in (torch.bfloat16, torch.float64, torch.int8, torch.complex64, torch.bool)],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3.5),
        "plain": (None, True, 2**100, 1.5, "Σ", b"xyz", {1, 2}, torch.Size([2, 3]), torch.float16, 3j),
    }  # fmt: skip
    data = saved(content, **how)
    found, theirs = loads(data), torch.load(io.BytesIO(data), weights_only=True)
    assert equal(found, theirs)
    pointers = {view.untyped_storage().data_ptr() for view in found["views"]}
    assert len(pointers) == 1  # views still share their memory


@pytest.mark.parametrize(
    "content",
    [
        nn.Linear(2, 2),
        torch.eye(3).to_sparse(),
        torch.ones(2, device="meta"),
        Calls(os.system, "true"),
        Calls(bytearray, 10**12),
        Calls(torch.Tensor, 10**12),
        Calls(torch.FloatStorage, 10**12),
        Calls(eval, "1"),
    ],
    ids=["module", "sparse", "meta", "system", "bytearray", "tensor", "storage", "eval"],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_objects_are_refused(content, protocol):
    with pytest.raises((Objects, Damaged)):
        loads(saved({"x": content}, pickle_protocol=protocol))


def test_unneeded_opcodes_are_refused():
    needed = {op[0] for op in unpickler._OPCODES}
    assert len(needed) < 40
    for code in set(range(256)) - needed:
        for body in (bytes([code]), b"\x80\x02]" + bytes([code]) + b"\xff" * 9 + b"."):
            with pytest.raises((Objects, Damaged)):
                loads(pickled(body))


def rebuild(size, stride, offset=0, count=4, kind=b"FloatStorage") -> bytes:
    """The pickle of one tensor with arbitrary sizes, strides and offset."""
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + pickle.dumps(count, 2)[2:-1] + b"tQ"
    )  # fmt: skip
    numbers = b"".join(pickle.dumps(value, 2)[2:-1] for value in (offset,))
    shapes = b"".join(
        b"(" + b"".join(pickle.dumps(n, 2)[2:-1] for n in tuple_) + b"t" for tuple_ in (size, stride)
    )
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers + shapes + b"\x89NtR."


def test_a_valid_tensor_pickle_is_read():
    found = loads(pickled(rebuild((2, 2), (2, 1)), {"data/0": bytes(16)}))
    assert torch.equal(found, torch.zeros(2, 2))


@pytest.mark.parametrize(
    "broken",
    [
        rebuild((10**12,), (1,)),
        rebuild((10**9,), (0,)),
        rebuild((10**6, 10**6, 10**6, 10**6), (0, 0, 0, 0)),
        rebuild((2, 2), (4, 1)),
        rebuild((2,), (-1,), 3),
        rebuild((-2,), (1,)),
        rebuild((2,), (1,), 10**15),
        rebuild((2,), (1,), -1),
        rebuild((2**70, 0), (1, 1)),
        rebuild((2,), (1, 1)),
        rebuild((4,), (1,), count=10**12),
        rebuild((4,), (1,), count=-4),
        rebuild((4,), (1,), kind=b"DoubleStorage"),
        rebuild((4,), (1,), kind=b"QInt8Storage"),
    ],
)
def test_views_beyond_their_storage_are_refused(broken):
    data = pickled(broken, {"data/0": bytes(16)})
    tracemalloc.start()
    with pytest.raises((Objects, Damaged)):
        loads(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_compressed_records_are_refused_before_they_are_read():
    data = pickled(rebuild((4,), (1,)), {"data/0": bytes(50 << 20)}, zipfile.ZIP_DEFLATED)
    assert len(data) < 100_000
    tracemalloc.start()
    with pytest.raises(Damaged, match="larger than the file"):
        loads(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_records_of_any_size_are_refused(how):
    """The decoder tables of some compression methods can take gigabytes if a file requests it."""
    noise = bytes(torch.randint(256, (4000,)).tolist())
    data = pickled(rebuild((4,), (1,), count=1000), {"data/0": noise}, how)
    with pytest.raises(Damaged):
        loads(data)


def test_wrong_sizes_in_a_legacy_file_are_refused():
    data = saved([torch.arange(5.0)], _use_new_zipfile_serialization=False)
    assert torch.equal(loads(data)[0], torch.arange(5.0))
    at = data.index(b"K\x05N") if b"K\x05N" in data else data.index(b"K\x05")
    with pytest.raises((Damaged, Objects)):
        loads(data[:at] + b"K\xff" + data[at + 2 :])
    for size in (2**40, -1, 6):
        count = (5).to_bytes(8, "little")
        with pytest.raises(Damaged):
            loads(data.replace(count, size.to_bytes(8, "little", signed=True)))


def test_exponentially_nested_containers_are_refused():
    """2^60 leaves in a hundred bytes: each list holds the one before it twice."""
    body = b"\x80\x02]q\x00"
    for i in range(60):
        body += b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e"
    with pytest.raises(Damaged):
        loads(pickled(body + b"."))
    with pytest.raises(Damaged):
        loads(pickled(b"\x80\x02]q\x00h\x00a."))  # a list that contains itself
    with pytest.raises(Damaged):
        loads(pickled(b"\x80\x02" + b"(" * 5000 + b"N" + b"t" * 5000 + b"."))


def test_damaged_bytes():
    """A damaged file gives content or one of the two errors; no other exception is raised."""
    generator = torch.Generator().manual_seed(0)
    for how in ({}, {"_use_new_zipfile_serialization": False}):
        data = saved({"a": torch.arange(20.0), "b": [1, {"c": "d"}]}, **how)
        for _ in range(400):
            at, value = (int(torch.randint(high, (), generator=generator)) for high in (len(data), 256))
            with contextlib.suppress(Damaged, Objects):
                loads(data[:at] + bytes([value]) + data[at + 1 :])
        for cut in range(0, len(data), 37):
            with pytest.raises((Damaged, Objects)):
                loads(data[:cut])


def test_memory_is_proportional_to_the_file():
    data = saved({"a": torch.zeros(1 << 20)})
    tracemalloc.start()
    loads(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(data)
    assert torch_file.is_archive(data)


def nested(depth: int, make):
    """An object nested ``depth`` times, referenced twice each time: a few bytes per level in a pickle."""
    found = "x"
    for _ in range(depth):
        found = make(found)
    return found


SHARED = "y" * 100_000
COPIES = {
    "a key that takes exponential time to hash": Calls(OrderedDict, [(nested(60, lambda t: (t, t)), 1)]),
    "a set of such": Calls(set, [nested(60, lambda t: (t, t))]),
    "a device that doubles": nested(60, lambda x: Calls(torch.device, x, x)),
    "bytes of one text, many times": [Calls(codecs.encode, SHARED, "latin1") for _ in range(2000)],
    "a set of no list": Calls(set, "abc"),
    "a shape of many sizes": [Calls(torch.Size, (1,) * 10_000)] * 2,
}


@pytest.mark.parametrize("content", COPIES.values(), ids=COPIES)
def test_no_call_creates_more_data_than_the_file_holds(content):
    data_pkl = pickle.dumps(content, protocol=2)
    tracemalloc.start()
    with pytest.raises((Damaged, Objects)):
        loads(pickled(data_pkl))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(data_pkl) + (16 << 20)


@pytest.mark.parametrize("tail", [b"K\x01s.", b"K\x01u."], ids=["one", "several"])
def test_a_key_that_takes_exponential_time_to_hash(tail):
    key = pickle.dumps(nested(60, lambda t: (t, t)), protocol=2)[2:-1]
    with pytest.raises(Objects, match="as a key"):
        loads(pickled(b"\x80\x02}" + b"(" * (tail[2:3] == b"u") + key + tail))


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_conjugate_and_negative_views(how):
    z = torch.complex(torch.arange(3.0), torch.arange(1.0, 4.0))
    for view in (z.conj(), z.conj().imag, z.conj().imag[1:], z):
        found = loads(saved(view, **how))
        assert torch.equal(found.resolve_conj().resolve_neg(), view.resolve_conj().resolve_neg())


def test_keys_of_every_type():
    content = {0: 1, "a": 2, (1, "b"): 3, None: 4, 1.5: 5, torch.float32: 6, b"x": 7, "set": {1, 2, "three"}}
    assert loads(saved(content)) == content
