"""Photographs with noise, denoised by convolutional dictionaries: ALISTA, FISTA in the same time, and sporco's ADMM.

The dictionary is learnt on clean training pictures. Penalties of FISTA and of sporco are the best of a grid on training
pictures with noise, for the iterations that they have; judged pictures choose nothing.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.solve import FISTA, ConvALISTA, Convolution, Denoiser, learn_filters
from szilard.solve.denoiser import split
from szilard.solve.filter_learning import random_crops

NOISE = 20 / 255  #: its standard deviation; pictures are in [0, 1]
COUNT, SIDE = 32, 7  # filters, and their size
LAYERS = 5
CROP = 32  # side of the crops of training
TUNED_ON, TUNED_SIDE = 6, 96  # crops on which penalties are chosen, and their side
LEARNING_PENALTY = 0.03
PENALTIES = (0.08, 0.1, 0.12, 0.14, 0.16, 0.19, 0.23)
SPORCO_ITERATIONS = 50
REPEATS, LONGEST = 3, 40  # measurements of time, and the most iterations that FISTA is given
SPORCO = "pip install sporco==0.2.2.post1"

Codes = Callable[[Tensor], Tensor]  # what varies fast in one picture with noise -> without


def denoising(
    training: list[Tensor], judged: list[Tensor], seed: int = 0, steps: int = 500, learning: int = 100
) -> dict[str, Any]:
    """Compare the methods.

    Args:
        training: pictures ``[H, W]`` in [0, 1].
        judged: others.
        seed: of crops, filters and noise.
        steps: batches that train ALISTA.
        learning: batches that learn the dictionary.

    Returns:
        ``conv_alista_minus_fista_db`` (equal time), a row of PSNR in dB and seconds a picture for each method, and
        sporco's ``sporco_db``, ``sporco_seconds`` and ``conv_alista_minus_sporco_db``, or None and how to install it.
    """
    generator = torch.Generator().manual_seed(seed)
    filters = learn_filters(
        [split(picture)[1] for picture in training], COUNT, SIDE, LEARNING_PENALTY, seed, learning
    )
    clean = list(random_crops(training, (TUNED_SIDE, TUNED_SIDE), TUNED_ON, generator))
    tuning = [(noisy(picture, generator), picture) for picture in clean]
    pairs = [(noisy(picture, generator), picture) for picture in judged]

    learned, scalars = (
        Denoiser(ConvALISTA(Convolution(filters, (CROP, CROP), "zero"), LAYERS, 0.15, learned_filters=flag))
        for flag in (True, False)
    )
    learned.fit(training, NOISE, steps, seed=seed)
    scalars.fit(training, NOISE, steps // 4, seed=seed, rate=0.1)

    def by_alista(denoiser: Denoiser) -> Codes:
        def run(high: Tensor) -> Tensor:
            solver = denoiser.solver.resized(tuple(high.shape))
            return solver.images(solver(high.reshape(1, -1)))[0]

        return run

    def by_fista(penalty: float, iterations: int) -> Codes:
        def run(high: Tensor) -> Tensor:
            dictionary = Convolution(filters, tuple(high.shape), "zero")
            solver = FISTA(dictionary, penalty, iterations)
            return dictionary.images(dictionary.product(solver(high.reshape(1, -1)).x))[0]

        return run

    rows = {
        "ALISTA, learned filters": judge(by_alista(learned), pairs),
        "ALISTA, learned steps": judge(by_alista(scalars), pairs),
    }
    count = iterations_in_time(by_alista(learned), partial(by_fista, PENALTIES[0]), pairs[:1])
    for name, iterations in ((f"FISTA, {count} iterations", count), ("FISTA, 20 iterations", 20)):
        penalty = best(partial(by_fista, iterations=iterations), tuning)
        rows[name] = {**judge(by_fista(penalty, iterations), pairs), "penalty": penalty}
    alista, fista = rows["ALISTA, learned filters"]["db"], rows[f"FISTA, {count} iterations"]["db"]
    found: dict[str, Any] = {
        "conv_alista_minus_fista_db": alista - fista,
        "noisy_db": float(np.mean([psnr(given, truth) for given, truth in pairs])),
        "low_db": judge(torch.zeros_like, pairs)["db"],
        "fista_iterations": count,
        "rows": rows,
    }
    return {**found, **sporco(filters, tuning, pairs, alista)}


def iterations_in_time(
    method: Codes, other: Callable[[int], Codes], pairs: list[tuple[Tensor, Tensor]]
) -> int:
    """The first number of iterations that takes at least the time of a method, at most ``LONGEST``."""
    times = [[judge(one, pairs)["seconds"] for one in (method, other(1), other(11))] for _ in range(REPEATS)]
    wanted, first, eleven = (min(column) for column in zip(*times, strict=True))
    each = (eleven - first) / 10
    return LONGEST if each <= 0 else min(max(1 + math.ceil((wanted - first) / each), 1), LONGEST)


def sporco(
    filters: Tensor, tuning: list[tuple[Tensor, Tensor]], pairs: list[tuple[Tensor, Tensor]], alista: float
) -> dict[str, Any]:
    """sporco's ConvBPDN (ADMM) with the same filters."""
    keys = ("sporco_db", "sporco_seconds", "conv_alista_minus_sporco_db")
    try:
        cbpdn = importlib.import_module("sporco.admm.cbpdn")
    except ImportError:
        return {**dict.fromkeys(keys), "sporco_install": SPORCO}
    dictionary = filters.permute(1, 2, 0).contiguous().numpy()
    options = cbpdn.ConvBPDN.Options(
        {"MaxMainIter": SPORCO_ITERATIONS, "RelStopTol": 5e-3, "AuxVarObj": False, "HighMemSolve": True}
    )

    def run_with(penalty: float) -> Codes:
        def run(high: Tensor) -> Tensor:
            # sporco is periodic: zeros keep filters from reaching the other side.
            padded = np.pad(high.numpy(), ((0, SIDE - 1), (0, SIDE - 1)))
            solver = cbpdn.ConvBPDN(dictionary, padded, penalty, options)
            solver.solve()
            image = solver.reconstruct().squeeze()[: high.shape[0], : high.shape[1]]
            return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))

        return run

    row = judge(run_with(best(run_with, tuning)), pairs)
    return dict(zip(keys, (row["db"], row["seconds"], alista - row["db"]), strict=True))


def best(method: Callable[[float], Codes], tuning: list[tuple[Tensor, Tensor]]) -> float:
    """The penalty of the highest PSNR."""
    return max(PENALTIES, key=lambda penalty: judge(method(penalty), tuning)["db"])


def judge(method: Codes, pairs: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Mean PSNR, and seconds a picture."""
    scores, seconds = [], []
    for given, truth in pairs:
        low, high = split(given)
        with torch.no_grad():
            start = time.perf_counter()
            restored = method(high)
            seconds.append(time.perf_counter() - start)
        scores.append(psnr(low + restored, truth))
    return {"db": float(np.mean(scores)), "seconds": float(np.median(seconds))}


def noisy(picture: Tensor, generator: torch.Generator) -> Tensor:
    """The picture with Gaussian noise, not cut to [0, 1]."""
    return picture + NOISE * torch.randn(picture.shape, generator=generator)


def psnr(found: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB; white is 1."""
    return float(-10 * (found.clamp(0, 1).double() - truth.double()).square().mean().log10())
