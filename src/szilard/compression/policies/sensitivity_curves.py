"""Sensitivity as curves and as two numbers for each layer: at half of the channels, and at 8 bits."""

from __future__ import annotations

from szilard.compression.policies.options import FILE_BITS, RUNTIME_BITS, Bits
from szilard.compression.policies.policy import FLOAT
from szilard.compression.policies.sensitivity import Sensitivity
from szilard.report.galen_page import Alone
from szilard.report.galen_plots import Curve

#: 8 bits for weights and inputs, as runtimes have them, and fewer bits for weights alone, as files have them.
BITS: tuple[Bits, ...] = (*RUNTIME_BITS, *FILE_BITS[1:])
_HALF = 0.25  # largest distance of an option from half of the channels


def of_channels(measured: Sensitivity) -> list[Curve]:
    """KL by the share of a pool's channels that stays."""
    found = []
    for decision, nats in zip(measured.space.decisions, measured.nats, strict=True):
        if decision.kind == "channels":
            sizes = [float(option) for option in decision.options]  # type: ignore[arg-type]
            found.append(Curve(decision.name, [size / sizes[0] for size in sizes], list(nats)))
    return found


def of_bits(measured: Sensitivity) -> list[Curve]:
    """KL by the bits of a layer's weights, where they are all that changes."""
    found = []
    for decision, nats in zip(measured.space.decisions, measured.nats, strict=True):
        if decision.kind == "bits":
            pairs = [
                (float(option[0]), one)  # type: ignore[index]
                for option, one in zip(decision.options, nats, strict=True)
                if option[1] == FLOAT and option[0] < FLOAT  # type: ignore[index]
            ]
            found.append(Curve(decision.name, [x for x, _ in pairs], [y for _, y in pairs]))
    return found


def alone(measured: Sensitivity) -> list[Alone]:
    """Two numbers for each name, in the order of the network: at half of the channels, and at 8 bits."""
    half = {curve.name: _at_half(curve) for curve in of_channels(measured)}
    eight: dict[str, float | None] = {}
    for decision, nats in zip(measured.space.decisions, measured.nats, strict=True):
        if decision.kind == "bits":
            pairs = zip(decision.options, nats, strict=True)
            eight[decision.name] = next((one for option, one in pairs if option[0] == 8), None)  # type: ignore[index]
    names = dict.fromkeys(decision.name for decision in measured.space.decisions)
    return [Alone(name, half.get(name), eight.get(name)) for name in names]


def _at_half(curve: Curve) -> float | None:
    """KL at the option closest to half of the channels; None if none is near."""
    distance, nats = min((abs(x - 0.5), y) for x, y in zip(curve.x, curve.nats, strict=True))
    return nats if distance <= _HALF else None
