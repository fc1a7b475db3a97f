"""A network on another machine, for ``szilard deploy --remote``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from szilard.cost.latency import Latency
from szilard.deploy import Compiled, on_device, tvm_session
from szilard.deploy.cross_compiling import target_of
from szilard.errors import SzilardError
from szilard.report.figure_names import seconds


@dataclass(frozen=True)
class Device:
    """Another machine on which a network is compared and timed, as typed.

    Attributes:
        address: host and port of its server.
        processor: name of its target, or None to ask the device.
        noisy: whether times of a noisy device are printed.
    """

    address: str
    processor: str | None
    noisy: bool

    @classmethod
    def typed(
        cls, remote: str | None, backend: str, out: Path | None, *, processor: str | None, noisy: bool
    ) -> Device | None:
        """The device, or None without ``--remote``.

        Raises:
            SzilardError: an option that does not go with the others.
        """
        if remote is None:
            for name, given in (("--processor", processor is not None), ("--noisy", noisy)):
                if given:
                    raise SzilardError(f"{name} is an option of --remote; add --remote, or leave {name} out")
            return None
        if backend not in ("auto", "tvm"):
            raise SzilardError(f"--remote is for backend tvm, not {backend}; leave out --backend")
        if out is not None:
            raise SzilardError("--remote measures on another machine and writes no file; leave out --out")
        if processor is not None:
            target_of(processor)
        return cls(remote, processor, noisy)

    def reach(self) -> None:
        """Find out whether the device answers, before anything is compiled.

        Raises:
            SzilardError: it does not.
        """
        tvm_session.knock(*tvm_session.parsed(self.address))

    def measured(self, made: Compiled, x: Tensor) -> tuple[dict[str, Any], Latency]:
        """The figures of the device, and its latency; see :func:`szilard.deploy.on_device`."""
        found = on_device(made, self.address, x, processor=self.processor, noisy=self.noisy)
        figures = {
            name: getattr(found, name) for name in ("address", "processor", "batch", "inputs", "difference")
        }
        times = {name: getattr(found.latency, name) for name in ("median", "p10", "p90")}
        return figures | times, found.latency


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines of the table for the figures of a device: where it ran, and its outputs."""
    on = f"{figures['inputs']:,} {'input' if figures['inputs'] == 1 else 'inputs'}"
    return [
        ("device", f"{figures['address']}, {figures['processor']}"),
        ("difference there", f"{figures['difference']:.2g} of the outputs' size, on {on}"),
    ]


def spread(figures: Mapping[str, Any]) -> tuple[str, str]:
    """The line below the time."""
    return "", f"{seconds(figures['p10'])} to {seconds(figures['p90'])} (p10 to p90)"
