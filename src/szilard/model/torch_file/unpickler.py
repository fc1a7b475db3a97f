"""A pickle of plain containers and tensors, read without running code from it."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from szilard.model.torch_file.containers import Containers, check_key, complex_number, device, size
from szilard.model.torch_file.refusals import Damaged, Objects
from szilard.model.torch_file.storage import DTYPES, STORAGES, Storage
from szilard.model.torch_file.tensors import Tensors, parameter
from szilard.model.torch_file.unread import Unread

#: The opcodes in protocol-2 pickles of plain containers; torch's own safe reader allows the same ones.
_OPCODES = (
    pickle.GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS,
    pickle.MARK, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.NONE, pickle.NEWFALSE,
    pickle.NEWTRUE, pickle.EMPTY_TUPLE, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.BININT,
    pickle.BININT1, pickle.BININT2, pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINSTRING, pickle.BINPERSID,
    pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT, pickle.LONG1, pickle.PROTO, pickle.STOP,
)  # fmt: skip


def _refuse_opcode(unpickler: Any) -> None:
    raise Objects("more than protocol 2 of a plain container needs")


class Unpickler(pickle._Unpickler):
    """Reads a pickle of tensors; the base class is the one in Python, because the one in C allocates any size that an
    opcode requests.

    Args:
        file: at the start of the pickle.
        storage: the storage of a persistent id.
        lenient: return other objects as :class:`~szilard.model.torch_file.Unread`.
        tensors: makes the tensors; by default only those that are inside their storage.
    """

    dispatch = {  # noqa: RUF012
        code: load if code in {op[0] for op in _OPCODES} else _refuse_opcode
        for code, load in pickle._Unpickler.dispatch.items()
    }

    def __init__(
        self,
        file: io.BytesIO,
        storage: Callable[[Any], Storage],
        lenient: bool = False,
        tensors: Tensors | None = None,
    ) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage
        self._lenient = lenient
        self._tensors = tensors or Tensors()
        self._containers = Containers(len(file.getbuffer()))

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): self._containers.ordered_dict,
            ("collections", "Counter"): self._containers.counter,
            ("torch", "Size"): size,
            ("torch", "device"): device,
            ("torch._utils", "_rebuild_tensor"): self._tensors.tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensors.tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self._tensors.tensor_of_type,
            ("torch._utils", "_rebuild_parameter"): parameter,
            ("_codecs", "encode"): self._containers.encode,
            ("__builtin__", "set"): self._containers.set_of,
            ("builtins", "set"): self._containers.set_of,
            ("__builtin__", "complex"): complex_number,
            ("builtins", "complex"): complex_number,
        }
        if (module, name) in known:
            return known[module, name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
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
        check_key(self.stack[-2])  # type: ignore[attr-defined]
        super().load_setitem()  # type: ignore[misc]

    dispatch[pickle.SETITEM[0]] = load_setitem  # type: ignore[assignment]

    def load_setitems(self) -> None:
        for key in self.stack[::2]:  # type: ignore[attr-defined]
            check_key(key)
        super().load_setitems()  # type: ignore[misc]

    dispatch[pickle.SETITEMS[0]] = load_setitems  # type: ignore[assignment]
