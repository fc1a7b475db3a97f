"""NNCodec 2.1.3 (ISO/IEC 15938-17; Fraunhofer HHI, ``pip install nncodec``) as a peer.

It needs numpy < 2 and a torchvision that matches torch's build, so it gets its own virtual environment, made on first
use: numpy < 2, nncodec without its dependencies, and the torch of this Python, added with a path file. pip compiles its
C++ coder, which needs a C++ compiler. Its ``encode`` and ``decode`` are called on an ``nn.Module`` with the tensors of
the network, in a process that reads jobs line by line (:mod:`files.nncodec_worker`, which also describes the
replacements of packages that coding does not use).

The input is a state dict, the output is the state dict that a reader of the file gets. Its files do not contain
``num_batches_tracked``; it is added without counting its bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from files.coded import Coded
from szilard.errors import SzilardError

VERSION = "2.1.3"
BATCHNORM_EPS = 1e-5  # epsilon of BatchNorm in torch, and in NNCodec's folding
WORKER = Path(__file__).with_name("nncodec_worker.py")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "szilard-benchmarks"


class Session:
    """Codes one state dict with different options."""

    def __init__(self, worker: subprocess.Popen[str], state: Mapping[str, Tensor], folder: Path) -> None:
        self._worker, self._state, self._folder = worker, state, folder

    def code(self, options: Mapping[str, Any], form: str = "module") -> Coded:
        """One file.

        Args:
            form: input of ``encode``, a "module" or a "dict" of arrays (without ``bnf``).
            options: options of ``nncodec.nn.encode``: ``qp``, ``nonweight_qp``, ``bnf``, ``use_dq``, ...; the others
                have the package's defaults. ``lambda_scale`` is an option of an inner function.
        """
        path = self._folder / "decoded.npz"
        assert self._worker.stdin
        assert self._worker.stdout
        self._worker.stdin.write(
            json.dumps({"options": dict(options), "form": form, "decoded": str(path)}) + "\n"
        )
        self._worker.stdin.flush()
        line = self._worker.stdout.readline()
        if not line:
            raise SzilardError(f"NNCodec failed with {options}; see its output above")
        answer = json.loads(line)
        with np.load(path, allow_pickle=False) as arrays:
            decoded = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        return Coded(
            answer["bytes"], completed(self._state, decoded), answer["write_seconds"], answer["read_seconds"]
        )


@contextmanager
def session(state: Mapping[str, Tensor], cache: Path = CACHE) -> Iterator[Session]:
    """A worker process for ``state``, until the block ends.

    Args:
        state: tensors by name; floating ones as float32.
        cache: folder of the virtual environment, which is made if it is missing.

    Raises:
        SzilardError: the environment cannot be made.
    """
    python = environment(cache)
    with tempfile.TemporaryDirectory(prefix="nncodec-") as temporary:
        folder = Path(temporary)
        np.savez(folder / "network.npz", **{name: value.numpy() for name, value in state.items()})
        worker = subprocess.Popen(
            [str(python), str(WORKER), str(folder / "network.npz"), temporary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=temporary,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
        try:
            yield Session(worker, state, folder)
        finally:
            worker.stdin.close()  # type: ignore[union-attr]
            worker.wait(timeout=60)


def completed(original: Mapping[str, Tensor], decoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``decoded`` in the order, shapes and dtypes of ``original``, with its ``num_batches_tracked``.

    With ``bnf`` NNCodec multiplies each BatchNorm's scale into the convolution before it and stores the rest as
    ``<convolution>.weight.bias``; here it becomes the BatchNorm's bias, and the other tensors become the identity.

    Raises:
        SzilardError: a tensor is missing.
    """
    whole = {}
    folded: Tensor | None = None
    for name, tensor in original.items():
        leaf = name.rpartition(".")[2]
        if name in decoded:
            whole[name] = decoded[name].reshape(tensor.shape).to(tensor.dtype)
            folded = decoded.get(f"{name}.bias", folded)
        elif leaf == "num_batches_tracked":
            whole[name] = tensor.clone()
        elif folded is not None and folded.shape == tensor.shape:
            still = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0 - BATCHNORM_EPS}
            whole[name] = folded.clone() if leaf == "bias" else torch.full_like(tensor, still[leaf])
        else:
            raise SzilardError(f"NNCodec's file does not hold {name!r}; it cannot be compared")
    return whole


def environment(cache: Path = CACHE) -> Path:
    """The Python of the peer's virtual environment, made if it is missing (compilation takes minutes).

    Raises:
        SzilardError: pip or the compiler fails, or there is no numpy < 2 for this Python.
    """
    folder = cache / f"nncodec-{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if complete.exists():
        return python
    if sys.version_info >= (3, 13):
        raise SzilardError(
            "NNCodec needs numpy < 2, which has no wheel for Python 3.13; run this with Python 3.12"
        )
    print(
        f"making an environment for NNCodec {VERSION} in {folder} (compiling its C++ code takes minutes)",
        file=sys.stderr,
    )
    venv.create(folder, with_pip=True, clear=True)
    for wanted in (["numpy<2"], ["--no-deps", f"nncodec=={VERSION}"]):
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        if subprocess.run(pip, check=False).returncode:
            raise SzilardError(f"pip could not install {wanted[-1]} in {folder}; see its output above")
    lend_torch(python)
    complete.touch()
    return python


def lend_torch(python: Path) -> None:
    """Add this Python's packages after those of the environment: it finds torch here, but its own numpy < 2 first."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run(
        [str(python), "-c", ask], check=True, capture_output=True, text=True
    ).stdout.strip()
    lent = Path(torch.__file__).parent.parent
    (Path(packages) / "lent_by_the_benchmark.pth").write_text(f"{lent}\n")
