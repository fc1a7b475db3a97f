"""Estimated joules: counted operations and bytes, times published energies per operation."""

from __future__ import annotations

from szilard.cost.record import Cost

#: Picojoules, 45 nm, 0.9 V: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.
MULTIPLY_FP32 = 3.7
ADD_FP32 = 0.9
MULTIPLY_INT8 = 0.2
ADD_INT32 = 0.1  # the sum of products of 8-bit integers
#: Picojoules to read 64 bits from a cache of at most this many bytes, or from DRAM: the lower end of 1300-2600.
MEMORY = ((8 << 10, 10.0), (32 << 10, 20.0), (1 << 20, 100.0))
DRAM = 1300.0

#: Bytes that one Adam step moves for one fp32 value: read w, g, m, v; write w, m, v.
ADAM_BYTES = 28


def joules(cost: Cost, *, steps: int = 0, trained_values: int = 0) -> Cost:
    """``cost`` with its joules estimated from its counted figures.

    Inference: one multiply and one add for each MAC, and every byte read once from the smallest memory that holds the
    weights. Training: the arithmetic of ``train_flops`` and the optimiser's DRAM traffic. Instruction overhead, static
    power and the movement of training activations are not included. The results are lower bounds for a 45 nm chip:
    use them to compare networks, not to predict the consumption of a device.

    Args:
        cost: with its counted figures.
        steps: number of optimiser steps.
        trained_values: number of trained values (means and log σ count separately).
    """
    found = cost
    if cost.macs is not None and cost.bytes_moved is not None and cost.bits is not None:
        picojoules = cost.macs * (MULTIPLY_FP32 + ADD_FP32) + cost.bytes_moved / 8 * _level(cost.bits // 8)
        found = found.with_(joules_inference=picojoules * 1e-12)
    if cost.train_flops is not None:
        picojoules = cost.train_flops / 2 * (MULTIPLY_FP32 + ADD_FP32)
        picojoules += steps * trained_values * ADAM_BYTES / 8 * DRAM
        found = found.with_(joules_training=picojoules * 1e-12)
    return found


def joules_of_products(macs: float, integer_macs: float, bytes_moved: float, held: float) -> float:
    """Estimated joules of one inference in which some products are of 8-bit integers, by the same table.

    Args:
        macs: multiply-adds in float32.
        integer_macs: multiply-adds of 8-bit integers, summed in 32 bits.
        bytes_moved: of weights and of inputs and outputs of layers.
        held: bytes of the weights, which decide from which memory everything is read.
    """
    picojoules = macs * (MULTIPLY_FP32 + ADD_FP32) + integer_macs * (MULTIPLY_INT8 + ADD_INT32)
    return (picojoules + bytes_moved / 8 * _level(held)) * 1e-12


def _level(held: float) -> float:
    """Picojoules to read 64 bits from the smallest memory that holds so many bytes."""
    return next((pj for size, pj in MEMORY if held <= size), DRAM)
