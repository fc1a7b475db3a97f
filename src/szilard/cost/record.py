"""Cost figures, each with its source: counted, estimated or measured."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, ClassVar

_RATES = ("seconds_per_step", "seconds_per_inference")


class Source(Enum):
    """How a figure was obtained; figures from different sources are never mixed."""

    COUNTED = "counted"  # exact, from shapes and supports
    ESTIMATED = "estimated"  # counted, times published energies
    MEASURED = "measured"  # by a clock or the operating system


@dataclass(frozen=True)
class Cost:
    """Costs of a network, of its training, or of both; None if unknown.

    Attributes:
        parameters: number of entries of the dense architecture's weights, biases and other parameters.
        nonzeros: number of entries that exist: all of dense tensors, and those of supports. Their values can be zero.
        bits: values (means and log σ) and the indices that the patterns of supports need: of an unstructured one int32
            CSR (``docs/cost.md`` lists the others).
        macs: multiply-adds of one inference of one example with the mean network; existing entries only.
        bytes_moved: bytes of one inference of one example: weights and int32 CSR indices once, each layer's input and
            output.
        train_flops: FLOPs of the whole training; a multiply-add is two.
        joules_inference, joules_training: see :func:`szilard.cost.joules`.
        seconds: wall-clock time of training; seconds_per_step: of one optimiser step.
        peak_bytes: peak resident memory of the process during training.
        seconds_per_inference: median wall-clock seconds of one call of the network (:mod:`szilard.cost.latency`) with
            ``inference_batch`` examples and ``inference_threads`` threads.
    """

    parameters: int | None = None
    nonzeros: int | None = None
    bits: int | None = None
    macs: int | None = None
    bytes_moved: int | None = None
    train_flops: int | None = None
    joules_inference: float | None = None
    joules_training: float | None = None
    seconds: float | None = None
    seconds_per_step: float | None = None
    peak_bytes: int | None = None
    seconds_per_inference: float | None = None
    inference_batch: int | None = None
    inference_threads: int | None = None

    SOURCES: ClassVar[dict[str, Source]] = {
        "parameters": Source.COUNTED,
        "nonzeros": Source.COUNTED,
        "bits": Source.COUNTED,
        "macs": Source.COUNTED,
        "bytes_moved": Source.COUNTED,
        "train_flops": Source.COUNTED,
        "joules_inference": Source.ESTIMATED,
        "joules_training": Source.ESTIMATED,
        "seconds": Source.MEASURED,
        "seconds_per_step": Source.MEASURED,
        "peak_bytes": Source.MEASURED,
        "seconds_per_inference": Source.MEASURED,
    }
    #: Fields that are no figures but the conditions of one: by figure, the field of each condition by its short name.
    CONDITIONS: ClassVar[dict[str, dict[str, str]]] = {
        "seconds_per_inference": {"batch": "inference_batch", "threads": "inference_threads"}
    }

    def __add__(self, other: Cost) -> Cost:
        """The cost of both, one after the other: figures add, memory is the larger one, rates become unknown."""
        total: dict[str, Any] = {}
        for field in fields(self):
            a, b = getattr(self, field.name), getattr(other, field.name)
            if a is None or b is None or field.name not in self.SOURCES or field.name in _RATES:
                total[field.name] = None
            else:
                total[field.name] = max(a, b) if field.name == "peak_bytes" else a + b
        return Cost(**total)

    def with_(self, **figures: Any) -> Cost:
        """A copy with these figures set."""
        return replace(self, **figures)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Known figures only: ``{"macs": {"value": 1000, "source": "counted"}, ...}``.

        A figure with conditions has those beside its source: ``"batch"`` and ``"threads"``, if they are known.
        """
        return {
            name: {"value": getattr(self, name), "source": source.value} | self._conditions(name)
            for name, source in self.SOURCES.items()
            if getattr(self, name) is not None
        }

    def _conditions(self, figure: str) -> dict[str, Any]:
        fields_of = self.CONDITIONS.get(figure, {})
        return {
            short: getattr(self, name) for short, name in fields_of.items() if getattr(self, name) is not None
        }
