"""A compiled network on another machine, by TVM's RPC: outputs are compared, and times are of that machine's clocks."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.cost.clock import Clock
from szilard.cost.interleave import TURN, Turn, rounds
from szilard.cost.latency import Latency, calls_per_reading, judged
from szilard.deploy import checking, tvm_session
from szilard.deploy.backends.tvm import built, module
from szilard.deploy.compiled import Compiled
from szilard.deploy.cross_compiling import programs_of
from szilard.deploy.graph import Graph
from szilard.errors import SzilardError

_MOST = 64  # inputs that are compared
_SIDE = 192  # of the matrices of the reference loop, as on this machine
_LANES = 16
_LEAST_ROUNDS, _MOST_ROUNDS = 10, 1000


@dataclass(frozen=True)
class OnDevice:
    """What another machine computed, and how fast.

    Attributes:
        address: host and port of its server.
        processor: for which the program was compiled.
        batch: number of inputs of one call.
        inputs: number of inputs whose outputs were compared.
        difference: largest difference of the outputs to those of PyTorch on this machine, relative to their size.
        latency: seconds of one call by the device's clock, without the time on the network.
    """

    address: str
    processor: str
    batch: int
    inputs: int
    difference: float
    latency: Latency


def on_device(
    compiled: Compiled,
    address: str,
    x: Tensor,
    *,
    processor: str | None = None,
    budget: float = 2.0,
    noisy: bool = False,
) -> OnDevice:
    """Run a network on another machine, compare its outputs with those of PyTorch here, and measure its latency there.

    The other machine runs ``python -m tvm.exec.rpc_server`` of the same version of TVM, and has a C++ compiler, which
    links the program. Its server runs whatever a client sends, so let it listen to ``127.0.0.1`` and reach it through
    ``ssh -L``. The network takes turns with a loop of fixed work; both are timed on the device.

    Args:
        compiled: with backend ``"tvm"``. It is compiled again for the device's processor, for batches of its only size,
            or for one input.
        address: ``"HOST:PORT"`` of the server, or ``"HOST"`` for port 9090; ``localhost`` with ``ssh -L``.
        x: inputs ``[N, *shape]``, of which up to 64 are compared.
        processor: a name of ``szilard.deploy.cross_compiling.TARGETS``. By default the device is asked for it.
        budget: seconds of the measurement.
        noisy: return times of a device that is too noisy, too; ``latency.noise`` says why they are not to be trusted.

    Raises:
        SzilardError: another backend, inputs that do not fit, no server, a program that the device cannot run, outputs
            that differ by more than 0.001 of their size, or a device that is too noisy now.
    """
    job = programs_of(compiled).job
    size = compiled.batch or 1
    compiled(x[:size])  # its checks of the inputs
    host, port = tvm_session.parsed(address)
    with tvm_session.opened(host, port) as session:
        target, name = tvm_session.target(session, f"{host}:{port}", processor)
        device = _Device(session, f"{host}:{port}")
        network = device.network(built(module(job, size), target))
        count = max(1, min(len(x), _MOST) // size)
        parts = [checking.some(x[number * size :], size) for number in range(count)]
        worst = max(_difference(device, network, job.graph, part) for part in parts)
        latency = device.latency(network, parts[0], target, budget, noisy)
    return OnDevice(device.name, name, size, count * size, worst, latency)


@torch.no_grad()
def _difference(device: _Device, network: Any, graph: Graph, x: Tensor) -> float:
    """The largest relative difference of the device's outputs to those of PyTorch here.

    Raises:
        SzilardError: it is too large.
    """
    found, where = device.outputs(network, x), f"tvm on {device.name}"
    return checking.check(where, found, graph(x), graph.outputs, in_nats=graph.rule.in_nats)


class _Device:
    """A session with a server.

    Args:
        session: of ``tvm.rpc.connect``.
        name: host and port, for messages.
    """

    def __init__(self, session: Any, name: str) -> None:
        self.session, self.name, self.cpu = session, name, session.cpu()

    def network(self, made: Any) -> Any:
        """A virtual machine on the device that runs a compiled module."""
        from tvm import relax

        loaded = self._loaded(made, "network.tar")
        with self._told("cannot run the program"):
            return relax.VirtualMachine(loaded, self.cpu)

    def outputs(self, network: Any, x: Tensor) -> list[Tensor]:
        """The outputs of a batch, computed there."""
        with self._told("cannot run the program"):
            network.set_input("main", self._tensor(x.numpy()))
            network.invoke_stateful("main")
            return [torch.from_numpy(value.numpy()) for value in network.get_outputs("main")]

    def latency(self, network: Any, x: Tensor, target: dict[str, Any], budget: float, noisy: bool) -> Latency:
        """Seconds of one call, in turn with a loop of fixed work, as :func:`szilard.cost.latency.latencies`."""
        meter = self._loaded(built(_meter(), target), "meter.tar")
        with self._told("cannot be timed"):
            ticks = self._tensor(np.zeros(1, np.int64))
            matrices = [self._tensor(np.ones((_SIDE, _SIDE), np.float32)) for _ in range(3)]
            network.save_function("main", "timed", self._tensor(x.numpy()), include_return=False)

            def processor() -> float:
                meter["ticks"](ticks)
                return float(ticks.numpy()[0]) / 1e6  # POSIX: a million ticks are a second

            timers = {
                "reference": _Timer(meter, "reference", self.cpu, matrices, processor),
                "network": _Timer(network, "timed", self.cpu, [], processor),
            }
            turns = rounds(
                timers, budget=budget, least_rounds=_LEAST_ROUNDS, most_rounds=_MOST_ROUNDS, warmed_up=True
            )
        calls = timers["network"].calls
        return judged(
            turns["reference"], {"network": (turns["network"], calls)}, threads=1, noisy=noisy,
            where=f"the device {self.name}",
        )["network"]  # fmt: skip

    def _loaded(self, made: Any, name: str) -> Any:
        with tempfile.TemporaryDirectory(prefix="szilard-tvm-") as folder:
            path = Path(folder) / name
            made.export_library(str(path))
            with self._told("cannot link the program, which needs a C++ compiler and a fitting target"):
                self.session.upload(str(path))
                return self.session.load_module(name)

    def _tensor(self, values: Any) -> Any:
        import tvm

        return tvm.runtime.tensor(values, self.cpu)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except SzilardError:
            raise
        except Exception as error:
            if any(word in str(error) for word in ("kShutdown", "Socket", "SockChannel")):
                raise SzilardError(
                    f"the device {self.name} ended the session: its processor may lack instructions of the target, or "
                    "it has no memory left; start its server again"
                ) from error
            why = tvm_session.reason(error)
            raise SzilardError(
                f"the device {self.name} {what}: {why}; use the same version of TVM on both machines"
            ) from error


class _Timer:
    """A function on the device, timed there.

    Args:
        module, function: where it is, and its name.
        cpu: of the session.
        arguments: of the function.
        processor: reads the processor seconds of the device's process.
    """

    def __init__(self, module: Any, function: str, cpu: Any, arguments: list[Any], processor: Any) -> None:
        self._module, self._function, self._cpu = module, function, cpu
        self._arguments, self._processor = arguments, processor
        self._fastest = min(self._seconds(1, 3))
        self.calls = calls_per_reading(self._fastest)
        self._seconds(1, math.ceil(TURN / self._fastest))  # warms up

    def _seconds(self, calls: int, readings: int) -> list[float]:
        """Mean seconds of each reading; one call before is not timed."""
        timer = self._module.time_evaluator(self._function, self._cpu, number=calls, repeat=readings)
        return [max(float(one), 1e-9) for one in timer(*self._arguments).results]

    def turn(self, least: float, warm: bool = True, clock: Clock | None = None) -> Turn:
        """As :meth:`szilard.cost.interleave.Timed.turn`, by the clocks of the device."""
        readings = max(1, math.ceil(least / (self.calls * self._fastest)))
        before = self._processor()
        found = self._seconds(self.calls, readings)
        steps = readings * self.calls
        processor = (self._processor() - before) * steps / (steps + 1)  # without the call that is not timed
        return Turn(tuple(found), sum(found) * self.calls, processor, steps)


def _meter() -> Any:
    """A module with fixed work, the product of two float32 matrices ``[192, 192]``, and the processor's clock."""
    import tvm
    from tvm import s_tir, te, tirx

    one, other = (te.placeholder((_SIDE, _SIDE), name=name) for name in ("one", "other"))
    k = te.reduce_axis((0, _SIDE), name="k")
    product = te.compute((_SIDE, _SIDE), lambda i, j: te.sum(one[i, k] * other[k, j], axis=k), name="product")
    schedule = s_tir.Schedule(tvm.IRModule({"main": te.create_prim_func([one, other, product])}))
    row, column, inner = schedule.get_loops(schedule.get_sblock("product"))
    block, lane = schedule.split(column, [None, _LANES])
    schedule.reorder(row, block, inner, lane)
    schedule.vectorize(lane)
    clock = te.compute((1,), lambda _: tirx.call_extern("int64", "clock"), name="clock")
    functions = {"reference": schedule.mod["main"], "ticks": te.create_prim_func([clock])}
    return tvm.IRModule({name: one.with_attr("global_symbol", name) for name, one in functions.items()})
