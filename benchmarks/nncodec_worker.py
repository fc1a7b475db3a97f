"""The half of the NNCodec peer that runs in a Python of its own (:mod:`nncodec_peer` starts it).

    python nncodec_worker.py NETWORK.npz FOLDER  < jobs, one JSON object a line  > answers, likewise

NETWORK.npz holds a state dict. A job names the options of ``nncodec.nn.encode`` and a file ``decoded`` to be
written; the answer holds ``bytes``, the length of the whole file, and what it took to write and read it in
seconds. The tensors that a reader of the file gets are left in ``decoded`` (npz, no pickle).

NNCodec imports packages that coding does not need (torchvision, OpenCV, pandas, h5py). Those that are missing
are replaced by empty modules; everything that computes is the package's own. It prints as it goes and writes a
copy of each file to a folder, so its standard output goes to standard error and the copies into FOLDER.
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
    """The class of a class that stands for anything: its attributes, and what calling it gives, are it again."""

    def __getattr__(cls, name: str) -> Empty:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *args: object, **options: object) -> Empty:
        return cls


class Anything(metaclass=Empty):
    """May be called, asked for attributes, or be the base of a class; none of it does anything."""


class EmptyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last finder to be asked: what no other finder knew, and is on the list, is an empty module."""

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
    """A network of the same tensors under the same names, in the same order, whose BatchNorms are BatchNorms.

    NNCodec asks a network for its state dict and for the class of its BatchNorm layers, and for nothing else.
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


def code(network: torch.nn.Module | dict[str, np.ndarray], options: dict[str, Any], folder: Path) -> tuple[
    bytearray, dict[str, np.ndarray], float, float
]:
    """The file, what a reader gets from it, and the seconds of writing and reading."""
    from nncodec.nn import decode, encode

    # `ioq` is read and missing from the package's defaults; folded BatchNorm comes back as a scale of its own.
    fixed = {"ioq": False, "verbose": False, "results": str(folder)}
    started = time.perf_counter()
    stream = encode(network, args={**fixed, **options})
    written = time.perf_counter()
    folded = bool(options.get("bnf"))
    state = decode(stream, args={"bnf": folded, "lsa": folded})
    return stream, state, written - started, time.perf_counter() - written


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
        network = rebuilt({name: torch.from_numpy(value.copy()) for name, value in state.items()})
        stream, decoded, write_seconds, read_seconds = code(network, job["options"], Path(folder))
        np.savez(job["decoded"], **decoded)
        answer = {"bytes": len(stream), "write_seconds": write_seconds, "read_seconds": read_seconds}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
