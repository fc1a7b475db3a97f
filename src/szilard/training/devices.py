"""The devices and processes of a run, by Lightning Fabric."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from szilard.errors import SzilardError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")

T = TypeVar("T")


def start(
    accelerator: str = "auto", devices: int | str = "auto", strategy: str = "auto", precision: str = "32-true"
) -> Fabric:
    """A launched Fabric.

    With ``devices="auto"`` one device is used, unless ``torchrun`` or ``fabric run`` has started several
    processes; then this process is one of them. With ``devices=2`` or more, Fabric starts the others.

    Args:
        accelerator: "auto" (a GPU if there is one), "cpu", "cuda", "mps".
        devices: number of devices on this machine.
        strategy: "auto", "ddp" or "ddp_find_unused_parameters_true". Sharded strategies are not supported: a
            support that moves needs its whole weight on each device.
        precision: "32-true", "bf16-mixed" or "16-mixed".

    Raises:
        SzilardError: an unknown option, or a device that is not available.
    """
    from lightning_fabric import Fabric

    if precision not in PRECISIONS:
        raise SzilardError(f"there is no precision {precision!r}; choose {', '.join(PRECISIONS)}")
    if strategy not in STRATEGIES:
        raise SzilardError(f"there is no strategy {strategy!r}; choose {', '.join(STRATEGIES)}")
    if isinstance(devices, str) and devices != "auto":
        if not devices.isdigit():
            raise SzilardError(f"devices must be a number or 'auto', not {devices!r}")
        devices = int(devices)
    if devices != "auto" and int(devices) < 1:
        raise SzilardError(f"a run needs at least one device, not {devices}")
    wanted: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "strategy": strategy}
    by_fabric = os.environ.get("LT_CLI_USED") == "1"  # `fabric run` sets everything in the environment
    if not by_fabric:
        wanted |= _from_torchrun() if devices == "auto" else {}
        if wanted["devices"] == "auto":
            wanted["devices"] = 1
    gpus = {"cuda": torch.cuda.is_available()}
    gpus["gpu"] = gpus["cuda"] or torch.backends.mps.is_available()
    if not gpus.get(accelerator, True):
        raise SzilardError(
            f"accelerator {accelerator!r} needs a GPU, and torch finds none here; use accelerator='cpu' and devices=1, "
            "or install a build of torch with CUDA"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice about settings that szilard chooses on purpose
            fabric = Fabric(precision=precision, **wanted)  # type: ignore[arg-type]
            if not by_fabric:  # else Fabric has launched already, and raises on a second launch
                fabric.launch()
    except (ValueError, RuntimeError, ImportError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SzilardError(
            f"cannot compute with accelerator {accelerator!r} and {devices} devices: {reason}; "
            "try accelerator='cpu' and devices=1"
        ) from error
    return fabric


def _from_torchrun() -> dict[str, Any]:
    """Settings for processes of ``torchrun``: without them Fabric would start a separate run in each, on a CPU."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    return {"devices": processes, "num_nodes": world // processes, "strategy": "ddp"}


def rank() -> int:
    """Rank of this process before Fabric is launched, from the environment variables of the launcher."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def launched() -> bool:
    """Whether ``torchrun`` or ``fabric run`` has started this process."""
    return os.environ.get("LT_CLI_USED") == "1" or "TORCHELASTIC_RUN_ID" in os.environ


def on_rank_zero(fabric: Fabric, work: Callable[[], T]) -> T:
    """Run ``work`` in the first process; all processes get its value or its SzilardError."""
    if fabric.world_size == 1:
        return work()
    answer: tuple[Any, SzilardError | None] = (None, None)
    if fabric.global_rank == 0:
        try:
            answer = (work(), None)
        except SzilardError as error:
            answer = (None, error)
    value, problem = fabric.broadcast(answer)
    if problem is not None:
        raise problem
    return value


def gather(fabric: Fabric, value: Any) -> list[Any]:
    """The values of all processes, in order of rank, in every process."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values


@contextmanager
def own_random_numbers(device: torch.device) -> Iterator[Callable[[int], None]]:
    """Let layers that use the global random generators (dropout) draw from them; restore their states afterwards.

    Yields:
        a function that seeds them.
    """
    cuda = [device.index or 0] if device.type == "cuda" else []

    def seed(number: int) -> None:
        # Not torch.manual_seed: it also queues work for accelerators that are not used.
        torch.default_generator.manual_seed(number)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(number)

    with torch.random.fork_rng(devices=cuda):
        yield seed
