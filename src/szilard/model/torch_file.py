"""Read files of ``torch.save`` without torch's own reader: only tensors and plain containers.

Other objects in a checkpoint (settings, callbacks, classes of a trainer) can be returned as :class:`Unread`, which
holds only a name, so that the tensors can still be read. The modules of a TorchScript archive are such objects with
attributes.

``torch.load(weights_only=True)`` runs no code from the file, but a file of a kilobyte can make it allocate gigabytes: a
compressed record, a storage that is not in the file, ``bytearray(10**12)``, a view larger than its storage. Here every
storage is a slice of the file's bytes, so memory is bounded by the size of the file.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOST_VIEW = 64 << 20  #: bytes by which expanded views can exceed their storages, in total
_MOST_DEPTH = 100  # of nested containers
_MOST_DIMENSIONS = 64  # of a tensor, as in torch
_MOST_KEY = 16  # entries of a tuple that is a key of a dict
_SCALARS = (str, int, float, bool, bytes, complex, type(None))
_ARCHIVE = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C  # of files from before torch 1.6
_PROTOCOL = 1001
_CODE = re.compile(r"[^/]+/code/")

_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128, "UntypedStorage": torch.uint8,
}  # fmt: skip
_DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
        "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
        "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2",
    )
    if hasattr(torch, name)
}  # fmt: skip

#: The opcodes in protocol-2 pickles of plain containers; torch's own safe reader allows the same ones.
_OPCODES = (
    pickle.GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS,
    pickle.MARK, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.NONE, pickle.NEWFALSE,
    pickle.NEWTRUE, pickle.EMPTY_TUPLE, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.BININT,
    pickle.BININT1, pickle.BININT2, pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINSTRING, pickle.BINPERSID,
    pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT, pickle.LONG1, pickle.PROTO, pickle.STOP,
)  # fmt: skip


class Damaged(Exception):
    """The file is truncated or changed, or is not a file of ``torch.save``."""


class Objects(Exception):
    """The file has more than dense tensors, numbers, strings and containers; the message names it."""


def is_archive(data: bytes) -> bool:
    """Whether the bytes begin like files of current versions of torch."""
    return data.startswith(_ARCHIVE)


class Unread:
    """Placeholder for an object of another class: its name, and its attributes in the file. No code was run.

    Attributes:
        name: of the class or function.
        attributes: from the file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.attributes: dict[Any, Any] = {}

    def __call__(self, *_: Any) -> Unread:
        return Unread(self.name)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an entry of a subclass of dict."""

    def extend(self, items: Any) -> None:
        """Ignore entries of a subclass of list."""


def loads(data: bytes, *, lenient: bool = False) -> Any:
    """Read what ``torch.save`` wrote onto the CPU; tensors that shared storage share it again.

    Args:
        lenient: return objects other than dense tensors and plain containers as :class:`Unread` instead of refusing the
            file.

    Raises:
        Damaged: truncated, changed, or not of torch.
        Objects: it has more than dense tensors and plain containers.
    """
    try:
        found = _archive(data, lenient) if is_archive(data) else _legacy(data, lenient)
        _check_tree(found, len(data))
    except (Damaged, Objects):
        raise
    except Exception as error:  # anything that an invalid pickle causes; no code from the file was run
        raise Damaged(f"{type(error).__name__}: {error}") from error
    return found


class _Storage:
    """A storage: a slice of the file's bytes.

    Attributes:
        dtype: of its entries in the file.
        count: number of these entries.
    """

    def __init__(self, data: bytearray, dtype: torch.dtype, count: int) -> None:
        self.dtype, self.count = dtype, count
        self.storage = (
            torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if data else torch.UntypedStorage(0)
        )


def _refuse_opcode(unpickler: Any) -> None:
    raise Objects("more than protocol 2 of a plain container needs")


class _Unpickler(
    pickle._Unpickler
):  # the one in Python: the one in C allocates any size that an opcode requests
    dispatch = {  # noqa: RUF012
        code: load if code in {op[0] for op in _OPCODES} else _refuse_opcode
        for code, load in pickle._Unpickler.dispatch.items()
    }

    def __init__(self, file: io.BytesIO, storage: Callable[[Any], _Storage], lenient: bool = False) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage
        self._lenient = lenient
        self._repeated = 0
        # Entries and bytes that functions can still create: each takes a byte of the pickle, unless it is a copy.
        self._left = len(file.getbuffer())

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Damaged("copies of copies")

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): self._ordered,
            ("collections", "Counter"): self._counter,
            ("torch", "Size"): self._size,
            ("torch", "device"): _device,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self._tensor_of_type,
            ("torch._utils", "_rebuild_parameter"): _parameter,
            ("_codecs", "encode"): self._encode,
            ("__builtin__", "set"): self._set,
            ("builtins", "set"): self._set,
            ("__builtin__", "complex"): _complex,
            ("builtins", "complex"): _complex,
        }
        if (module, name) in known:
            return known[module, name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if self._lenient:
            return Unread(f"{module}.{name}")
        raise Objects(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        if self._lenient and type(pid) is tuple and len(pid) > 1 and type(pid[1]) is Unread:
            return pid[1]  # the storage of a quantised tensor, which is unread as well
        return self._storage(pid)

    def load_build(self) -> None:
        attributes = self.stack.pop()  # type: ignore[attr-defined]  # for a state dict: versions of its modules
        found = self.stack[-1]  # type: ignore[attr-defined]
        if type(found) is Unread:
            found.attributes = attributes if type(attributes) is dict else {}
        elif type(found) is not OrderedDict:
            raise Objects("an object with attributes")

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]

    def load_newobj(self) -> None:
        arguments = self.stack.pop()  # type: ignore[attr-defined]
        made = self.stack.pop()  # type: ignore[attr-defined]
        if type(made) is not Unread or type(arguments) is not tuple:
            raise Objects("an object of a class")
        self.append(made())  # type: ignore[attr-defined]

    dispatch[pickle.NEWOBJ[0]] = load_newobj  # type: ignore[assignment]

    def load_append(self) -> None:
        value = self.stack.pop()  # type: ignore[attr-defined]
        self._list().extend([value])

    dispatch[pickle.APPEND[0]] = load_append  # type: ignore[assignment]

    def load_appends(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._list().extend(items)

    dispatch[pickle.APPENDS[0]] = load_appends  # type: ignore[assignment]

    def _list(self) -> Any:
        found = self.stack[-1]  # type: ignore[attr-defined]
        if type(found) not in (list, Unread):
            raise Damaged("entries for something that is not a list")
        return found

    def load_setitem(self) -> None:
        _check_key(self.stack[-2])  # type: ignore[attr-defined]
        super().load_setitem()  # type: ignore[misc]

    dispatch[pickle.SETITEM[0]] = load_setitem  # type: ignore[assignment]

    def load_setitems(self) -> None:
        for key in self.stack[::2]:  # type: ignore[attr-defined]
            _check_key(key)
        super().load_setitems()  # type: ignore[misc]

    dispatch[pickle.SETITEMS[0]] = load_setitems  # type: ignore[assignment]

    def _ordered(self, items: Any = ()) -> OrderedDict[Any, Any]:
        if type(items) not in (list, tuple) or not all(
            type(pair) in (list, tuple) and len(pair) == 2 for pair in items
        ):
            raise Objects("collections.OrderedDict of other items than pairs")
        self._spend(len(items))
        for key, _ in items:
            _check_key(key)
        return OrderedDict(items)

    def _counter(self, *items: Any) -> Counter[Any]:
        if len(items) > 1 or not all(type(item) is dict for item in items):
            raise Objects("collections.Counter")
        self._spend(sum(map(len, items)))
        return Counter(*items)

    def _size(self, shape: Any) -> tuple[int, ...]:
        if type(shape) not in (list, tuple) or len(shape) > _MOST_DIMENSIONS:
            raise Damaged("an invalid shape")
        return torch.Size(shape)

    def _set(self, items: Any = ()) -> set[Any]:
        if type(items) not in (list, tuple):
            raise Objects("a set that is not made from a list")
        self._spend(len(items))
        for item in items:
            _check_key(item)
        return set(items)

    def _encode(self, text: Any, code: Any = "latin1") -> bytes:
        if type(text) is not str or code not in ("latin1", "latin-1", "utf-8", "utf8"):
            raise Objects("_codecs.encode")
        self._spend(len(text))
        return text.encode(code)

    def _tensor(
        self,
        storage: _Storage,
        offset: int,
        size: Any,
        stride: Any,
        _grad: Any = False,
        _hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:
        return _lazily(self._view(storage, storage.dtype, offset, size, stride), metadata)

    def _tensor_of_type(
        self,
        storage: _Storage,
        offset: int,
        size: Any,
        stride: Any,
        _grad: Any,
        _hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> Tensor:
        if not isinstance(dtype, torch.dtype):
            raise Damaged("a tensor without a type")
        return _lazily(self._view(storage, dtype, offset, size, stride), metadata)

    def _view(self, storage: _Storage, dtype: torch.dtype, offset: int, size: Any, stride: Any) -> Tensor:
        """A tensor on a storage; raises if any entry is outside it."""
        if not isinstance(size, tuple | list) or not isinstance(stride, tuple | list):
            raise Damaged("a tensor of impossible shape")
        if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS:
            raise Damaged("a tensor of impossible shape")
        if any(type(n) is not int or not 0 <= n < 1 << 62 for n in (offset, *size, *stride)):
            raise Damaged("a tensor of impossible shape")
        count = 1
        for n in size:
            count *= n
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        held = storage.storage.nbytes() // dtype.itemsize
        if count and last >= held:
            raise Damaged("a tensor that is larger than its storage")
        if max((*size, *stride, offset, count), default=0) >= 1 << 62:
            raise Damaged("a tensor of impossible shape")
        self._repeated += max(0, count - held) * dtype.itemsize
        if self._repeated > MOST_VIEW:
            raise Objects("an expanded view; save a copy of it, made with .clone()")
        return torch.empty(0, dtype=dtype).set_(storage.storage, offset, size, stride)


def _archive(data: bytes, lenient: bool) -> Any:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error) as error:
        raise Damaged(str(error)) from error
    members = archive.infolist()
    if lenient:  # TorchScript compresses its code, which is not read here
        members = [info for info in members if not _CODE.match(info.filename)]
    infos = {info.filename: info for info in members}
    # torch does not compress records, so together they cannot be larger than the file.
    if sum(info.file_size for info in infos.values()) > len(data) or len(infos) != len(members):
        raise Damaged("records that are larger than the file")
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
        raise Damaged("compressed records, which torch does not write")
    top = next((name.removesuffix("data.pkl") for name in infos if name.endswith("/data.pkl")), None)
    if top is None or top.count("/") != 1:
        raise Damaged("no data.pkl")
    if infos.get(f"{top}byteorder") and archive.read(f"{top}byteorder") != b"little":
        raise Objects("tensors of a big-endian machine")
    made: dict[str, _Storage] = {}

    def storage(pid: Any) -> _Storage:
        dtype, key, count = _named(pid)
        if key not in made:
            content = bytearray(archive.read(f"{top}data/{key}"))  # zipfile verifies the checksum
            if len(content) < count * dtype.itemsize:
                raise Damaged("a truncated storage")
            made[key] = _Storage(content, dtype, count)
        if made[key].dtype != dtype:
            raise Damaged("a storage of two types")
        return made[key]

    for info in infos.values():  # also unused records, so that a flipped byte anywhere is detected
        archive.read(info.filename) if not info.filename.startswith(f"{top}data/") else None
    found = _Unpickler(io.BytesIO(archive.read(f"{top}data.pkl")), storage, lenient).load()
    for name in infos:
        if name.startswith(f"{top}data/") and name.removeprefix(f"{top}data/") not in made:
            archive.read(name)
    return found


def _legacy(data: bytes, lenient: bool) -> Any:
    """A file of torch before 1.6: five pickles, followed by the storages."""
    if not data.startswith(pickle.PROTO):
        raise Damaged("no pickle")
    file = io.BytesIO(data)
    if _plain(file) != _MAGIC or _plain(file) != _PROTOCOL:
        raise Damaged("no file of torch.save")
    system = _plain(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Objects("tensors of a big-endian machine")
    start = file.tell()
    wanted: dict[str, tuple[torch.dtype, int]] = {}

    def note(pid: Any) -> _Storage:
        dtype, key, count = _named(pid)
        wanted[key] = (dtype, count)
        return _Storage(bytearray(), dtype, 0)

    _Survey(file, note, lenient).load()  # the storages come later in the file: the first pass only lists them
    keys = _plain(file)
    if lenient and isinstance(keys, list) and len(keys) > len(wanted):
        raise Objects("a quantized tensor in an old format")
    if not isinstance(keys, list) or not all(key in wanted for key in keys):
        raise Damaged("storages that are not used")
    made: dict[str, _Storage] = {}
    for key in keys:
        dtype, count = wanted[key]
        (declared,) = struct.unpack("<q", file.read(8))
        if declared != count or count * dtype.itemsize > len(data) - file.tell():
            raise Damaged("a truncated storage")
        made[key] = _Storage(bytearray(file.read(count * dtype.itemsize)), dtype, count)
    file.seek(start)
    return _Unpickler(file, lambda pid: made[_named(pid)[1]], lenient).load()


class _Survey(_Unpickler):
    """Reads a pickle only to list its storages."""

    def _view(self, storage: _Storage, dtype: torch.dtype, offset: int, size: Any, stride: Any) -> Tensor:
        return torch.empty(0, dtype=dtype)


def _plain(file: io.BytesIO) -> Any:
    """A pickle without tensors."""

    def none(pid: Any) -> _Storage:
        raise Damaged("an unexpected tensor")

    return _Unpickler(file, none).load()


def _named(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and number of entries of a storage, from its persistent id."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] not in ("storage", b"storage"):
        raise Damaged("a storage without a name")
    dtype, key, count = pid[1], pid[2], pid[4]
    if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int or count < 0:
        raise Damaged("a storage without a type")
    if len(pid) == 6 and pid[5] is not None:
        raise Objects("views of storages in an old format")
    return dtype, key, count


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise Damaged("a parameter that is not a tensor")
    return data


def _check_key(key: Any) -> None:
    """Raise unless a key is a scalar or a short tuple of scalars: hashing nested tuples can take exponential time."""
    parts = key if type(key) in (tuple, torch.Size) and len(key) <= _MOST_KEY else (key,)
    if not all(
        isinstance(part, _SCALARS) or type(part) in (torch.dtype, torch.device, Unread) for part in parts
    ):
        raise Objects(f"a {type(key).__name__} as a key")


def _lazily(tensor: Tensor, metadata: Any) -> Tensor:
    """A tensor, as a lazily conjugated or negated view if its metadata request that."""
    if metadata is None:
        return tensor
    if not isinstance(metadata, dict) or not set(metadata) <= {"conj", "neg"}:
        raise Objects("a tensor with unknown properties")
    if metadata.get("conj"):
        if not tensor.is_complex():
            raise Damaged("a conjugated tensor of real numbers")
        tensor = tensor.conj()
    return torch._neg_view(tensor) if metadata.get("neg") else tensor


def _device(*names: Any) -> str:
    if len(names) > 2 or not all(type(name) in (str, int) and len(str(name)) <= 32 for name in names[:2]):
        raise Damaged("an invalid device")
    return ":".join(str(name) for name in names)


def _complex(*parts: Any) -> complex:
    if len(parts) > 2 or not all(type(part) in (int, float) and abs(part) < 1e300 for part in parts):
        raise Damaged("an invalid complex number")
    return complex(*parts)


def _check_tree(found: Any, size: int) -> None:
    """Raise for containers that are too deep, cyclic, or repeated so often that walking them takes too long."""
    left = 1000 + 4 * size  # an entry takes more than a byte of the pickle

    def walk(value: Any, depth: int) -> None:
        nonlocal left
        left -= 1
        if left < 0 or depth > _MOST_DEPTH:
            raise Damaged("containers that are nested or repeated too often")
        if isinstance(value, dict):
            for key, item in value.items():
                walk(key, depth + 1)
                walk(item, depth + 1)
        elif isinstance(value, list | tuple | set):
            for item in value:
                walk(item, depth + 1)

    walk(found, 0)
