"""The part of the NNCodec peer that runs in a separate Python (:mod:`files.nncodec_peer` starts it).

    python nncodec_worker.py NETWORK.npz FOLDER  < jobs, one JSON object a line  > answers, likewise

NETWORK.npz holds a state dict. A job contains the ``options`` of ``nncodec.nn.encode``, the ``form`` of its input
("module" or "dict"), and the path ``decoded`` of an output file. The answer contains ``bytes``, the length of the whole
file, and the seconds to write and to read it. The decoded tensors are written to ``decoded`` (npz, no pickle).

NNCodec imports packages that coding does not need (torchvision, OpenCV, pandas, h5py). Missing ones are replaced by
empty modules; all computation is done by the package itself. It prints messages and writes a copy of each file, so its
standard output is redirected to standard error and the copies go to FOLDER.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

#: Imported by NNCodec 2.1.3, and used only for data sets, training and TensorFlow files.
UNUSED = ("cv2", "h5py", "pandas", "ptflops", "torchmetrics", "torchvision", "tqdm")


class Empty(type):
    """Metaclass of a placeholder class: its attributes and the results of calls are the class itself."""

    def __getattr__(cls, name: str) -> Empty:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *args: object, **options: object) -> Empty:
        return cls


class Anything(metaclass=Empty):
    """A placeholder that can be called, have attributes and be a base class, without any effect."""


class EmptyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import finder of last resort: modules on the list that are not installed become empty modules."""

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.split(".", maxsplit=1)[0] not in UNUSED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def rebuilt(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """A network with the same tensors, names and order, whose BatchNorm layers have the class ``BatchNorm2d``.

    NNCodec uses only the state dict of a network and the class of its BatchNorm layers.
    """
    root = torch.nn.Module()
    norms = {name.rpartition(".")[0] for name in state if name.endswith(".running_mean")}
    for name, value in state.items():
        module, prefix = root, ""
        *path, leaf = name.split(".")
        for part in path:
            prefix += f".{part}" if prefix else part
            if part not in module._modules:
                norm = torch.nn.BatchNorm2d(1) if prefix in norms else torch.nn.Module()
                module.add_module(part, norm)
            module = module._modules[part]  # type: ignore[assignment]
        if isinstance(module, torch.nn.BatchNorm2d) and leaf in module._buffers:
            module._buffers[leaf] = value
        elif isinstance(module, torch.nn.BatchNorm2d):
            module._parameters[leaf] = torch.nn.Parameter(value)
        elif value.is_floating_point():
            module.register_parameter(leaf, torch.nn.Parameter(value))
        else:
            module.register_buffer(leaf, value)
    return root


def code(state: dict[str, np.ndarray], job: dict[str, Any], folder: Path) -> tuple[bytearray, float]:
    """The file, and the seconds to write it.

    ``job["form"]`` is the input of ``encode``: a "module" or a "dict" of arrays, which are coded slightly differently
    (a BatchNorm's scale is a weight only in a module). ``lambda_scale``, the price of a bit in the search for levels,
    is not an argument of ``encode``; if it is given, an inner function is called.
    """
    from nncodec.nn import encode
    from nncodec.nnc import compress_model

    options = dict(job["options"])
    form = job.get("form", "module")
    rated = "lambda_scale" in options
    if rated and form == "dict":
        raise ValueError("lambda_scale needs a module")
    network: Any
    if form == "dict":
        network = {name: np.float32(value) for name, value in state.items() if counts(name)}
    else:
        network = rebuilt({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    started = time.perf_counter()
    if rated:
        # The options that encode passes to this function.
        stream, _ = compress_model(
            network,
            **{"qp": -32, "row_skipping": True, **options},
            bitstream_path=None,
            return_bitstream=True,
            return_model_data=True,
            verbose=False,
        )
    else:
        # `ioq` is read and missing from the package's defaults.
        stream = encode(network, args={"ioq": False, "verbose": False, "results": str(folder), **options})
    return stream, time.perf_counter() - started


def read(stream: bytearray, options: dict[str, Any]) -> tuple[dict[str, np.ndarray], float]:
    """The tensors in the file and the seconds to read it; with ``bnf`` scales are multiplied back into weights."""
    from nncodec.nn import decode

    folded = bool(options.get("bnf"))
    started = time.perf_counter()
    return decode(stream, args={"bnf": folded, "lsa": folded}), time.perf_counter() - started


def counts(name: str) -> bool:
    """The arrays without batch counters, which the package also leaves out for a module."""
    return not name.endswith("num_batches_tracked")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.meta_path.append(EmptyModules())
    source, folder = sys.argv[1:3]
    torch.set_num_threads(1)
    with np.load(source, allow_pickle=False) as arrays:
        state = {name: arrays[name] for name in arrays.files}
    for line in sys.stdin:
        job = json.loads(line)
        stream, write_seconds = code(state, job, Path(folder))
        decoded, read_seconds = read(stream, job["options"])
        np.savez(job["decoded"], **decoded)
        answer = {"bytes": len(stream), "write_seconds": write_seconds, "read_seconds": read_seconds}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
