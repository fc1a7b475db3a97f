"""Memory of training between two steps, counted from the tensors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

from szilard.cost import Stopwatch
from szilard.sparse import Support
from training.contestants import Contestant

PARTS = ("weights", "gradients", "optimiser", "buffers", "index")
MIB = 1 << 20


def held(contestant: Contestant) -> dict[str, int]:
    """Bytes by part, after a step.

    ``index`` contains the index arrays of supports that are not full. Those of full supports are counted separately as
    ``index of full supports``: a dense network does not need them, so they are left out of comparisons.
    """
    network = contestant.network
    parameters = list(network.parameters())
    supports = [module for module in network.modules() if isinstance(module, Support)]
    index = {id(b) for support in supports for b in support.buffers()}
    state = [value for values in contestant.optimizer.state.values() for value in values.values()]
    return {
        "weights": size(parameters),
        "gradients": size(p.grad for p in parameters if p.grad is not None),
        "optimiser": size(value for value in state if isinstance(value, Tensor)),
        "buffers": size(b for b in network.buffers() if id(b) not in index),
        "index": size(b for support in supports if not support.is_full for b in support.buffers()),
        "index of full supports": size(
            b for support in supports if support.is_full for b in support.buffers()
        ),
    }


def total(parts: dict[str, int]) -> int:
    """Sum of all parts except activations and the indices of full supports."""
    return sum(parts[part] for part in PARTS)


def growth(contestant: Contestant) -> int:
    """Peak memory of growth in an interval: inputs and output gradients, or their products, bytes."""
    moves = getattr(contestant.method, "moves", None)
    if moves is None:
        return 0
    most = 0
    for _ in range(contestant.every):
        contestant.step()
        held = moves.state_dict().values()
        tensors = [tensor for batches, _ in held for pair in batches for tensor in pair]
        most = max(most, size(tensors + [total for _, total in held if total is not None]))
    return most


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors' storages, each counted once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def peak(make: Callable[[], Contestant], steps: int) -> int:
    """Largest increase of this process's resident memory while a row is made and takes ``steps`` steps, bytes."""
    before = resident()
    with Stopwatch() as watch:
        contestant = make()
        for _ in range(max(steps, contestant.every)):
            contestant.step()
    return watch.peak_bytes - before


def peak_in_a_process_of_its_own(network: str, row: str, batch: int) -> int | None:
    """:func:`peak`, measured in a new process; None if it cannot make the row."""
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "train_step.py"),
        "--peak",
        network,
        row,
        str(batch),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1])["bytes"] if done.returncode == 0 else None


def resident() -> int:
    """Resident memory of this process, bytes; 0 if the operating system does not report it."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
