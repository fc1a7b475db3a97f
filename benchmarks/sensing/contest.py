"""All methods on one cell: a ratio, a noise and a seed."""

from __future__ import annotations

import base64
import functools
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.harness import progress
from sensing import classical, dictionary, guarded, unrolled, variation
from sensing.measuring import Cell, generator
from sensing.photographs import SIDE, Photograph, centred, drawn, joined, judged, kodak
from sensing.quality import psnr, ssim
from szilard.errors import SzilardWarning
from szilard.solve import FISTA

FISTA_DCT, FISTA_LEARNED = "FISTA, DCT", "FISTA, learned dictionary"
HYPER, GUARDED, VARIATION = "HyperLISTA", "HyperLISTA, guarded", "total variation"
METHODS = (FISTA_DCT, VARIATION, FISTA_LEARNED, "LISTA", "LISTA-CPSS", "ALISTA", HYPER, GUARDED)
CHOSEN_ON = 1024  # patches of training pictures
TV_CROP = 256  # pixels of the side of a square in the middle of a training picture; there are two
REPEATS = 9  # of times
PICTURED = "kodim19"  # its part in the ladder, in patches: rows and columns
PART = slice(26, 34), slice(8, 16)
THINNED = 4  # of the pictured photograph
SHOWN_ATOMS = 160  # of the dictionary
Row = dict[str, Any]
Solve = Callable[[Tensor], Tensor]


def measured(
    root: Path, D: Tensor, cell: Cell, steps: int, device: str, methods: Sequence[str] = METHODS
) -> Row:
    """PSNR and SSIM of every judged picture and seconds of a picture, by method."""
    pictures, _ = kodak(root)
    D, C = D.to(device), dictionary.cosines().to(device)
    phi = cell.matrix.to(device)
    y, _ = centred(drawn(pictures, CHOSEN_ON, generator(cell.seed, 21)).to(device))
    b = cell.measured(y, generator(cell.ratio, cell.seed, 22))
    row: Row = {**asdict(cell), "steps": steps, "device": device, "training_seconds": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        with torch.no_grad():
            settings = {
                name: classical.chosen(phi @ atoms, atoms, b, y)
                for name, atoms in ((FISTA_DCT, C), (FISTA_LEARNED, D))
            }
        row["settings"] = {name: asdict(found) for name, found in settings.items()}
        solve: dict[str, Solve] = {
            name: _fista(phi @ atoms, atoms, settings[name])
            for name, atoms in ((FISTA_DCT, C), (FISTA_LEARNED, D))
        }
        for name, way in unrolled.WAYS.items():
            if name in methods:
                started = time.time()
                network = unrolled.trained(way, cell, D, pictures, steps)
                row["training_seconds"][name] = time.time() - started
                solve[name] = _patches(network)
                progress(f"{cell}: {name} is trained, {time.time() - started:.0f} s")
        penalty = settings[FISTA_LEARNED].penalty
        started = time.time()
        codes = FISTA(phi @ D, penalty, settings[FISTA_LEARNED].iterations)(b)
        snr = float(20 * torch.log10(b.norm() / (codes.residual.norm() + 1e-12)))
        density = float((codes.x != 0).float().mean())
        hyper = guarded.tuned(phi @ D, cell, density, snr)
        row["hyper"] = {"numbers": hyper.numbers.tolist(), "density": density, "snr": snr}
        row["training_seconds"][HYPER] = time.time() - started
        solve[HYPER] = lambda b: hyper(b).x @ D.t()
        guard = guarded.guard(hyper, cell, penalty)
        with torch.no_grad():
            _judge(root, row, cell, solve, device)
            _judge_guard(root, row, cell, guard, D, penalty, device)
    if VARIATION in methods and variation.installed():
        _judge_variation(root, row, cell, pictures)
    return row


def _fista(A: Tensor, atoms: Tensor, settings: classical.Chosen) -> Solve:
    solver = FISTA(A, settings.penalty, settings.iterations)
    return lambda b: solver(b).x @ atoms.t()


def _patches(network: unrolled.Unrolled) -> Solve:
    return lambda b: network(b)[0]


def _measurements(root: Path, cell: Cell, device: str) -> list[tuple[str, Photograph, Tensor, Tensor]]:
    """Source, picture, b and means of every judged picture."""
    found = []
    for source, pictures in judged(root).items():
        for number, picture in enumerate(pictures):
            y, means = centred(picture.patches.to(device))
            random = generator(cell.ratio, cell.seed, 31, number, len(source))
            found.append((source, picture, cell.measured(y, random), means))
    return found


def _note(row: Row, name: str, source: str, picture: Photograph, found: Tensor) -> None:
    """Add a reconstruction to the row."""
    method = row.setdefault("methods", {}).setdefault(name, {"psnr": {}, "ssim": {}})
    method["psnr"].setdefault(source, {})[picture.name] = psnr(found, picture.luma)
    method["ssim"].setdefault(source, {})[picture.name] = ssim(found, picture.luma)
    if picture.name == PICTURED and row["seed"] == 0 and not row["noise"]:
        row.setdefault("parts", {})[name] = packed(_part(found))
        row["parts"]["original"] = packed(_part(picture.luma))


def _part(picture: Tensor) -> Tensor:
    rows, columns = (slice(one.start * SIDE, one.stop * SIDE) for one in PART)
    return picture[rows, columns]


def _judge(root: Path, row: Row, cell: Cell, solve: dict[str, Solve], device: str) -> None:
    inputs = _measurements(root, cell, device)
    for source, picture, b, means in inputs:
        for name, method in solve.items():
            found = joined((method(b) + means).cpu(), (picture.luma.shape[0], picture.luma.shape[1]))
            _note(row, name, source, picture, found)
    b = inputs[0][2]
    times = classical.seconds([functools.partial(method, b) for method in solve.values()], REPEATS)
    for name, seconds in zip(solve, times, strict=True):
        row["methods"][name]["seconds"] = seconds


def _judge_guard(
    root: Path, row: Row, cell: Cell, guard: Any, D: Tensor, penalty: float, device: str
) -> None:
    A = cell.matrix.to(device) @ D
    counts: dict[str, int] = {}
    times = []
    for source, picture, b, means in _measurements(root, cell, device):
        started = classical.clock()
        answer = guarded.answer(guard, b)
        found = answer.x @ D.t() + means
        times.append((classical.clock() - started) / len(b))
        _note(row, GUARDED, source, picture, joined(found.cpu(), tuple(picture.luma.shape)))  # type: ignore[arg-type]
        for key, value in guarded.counted(answer, A, b, cell, penalty).items():
            counts[key] = counts.get(key, 0) + value
        if picture.name == PICTURED and cell.seed == 0:
            height, width = picture.luma.shape
            fell = torch.tensor([kind != "support" for kind in answer.certificate]).float()
            row["fell"] = packed(fell.reshape(height // SIDE, width // SIDE))
            row["thinned"] = packed(picture.luma[::THINNED, ::THINNED])
    first = judged(root)["Kodak"][0]
    row["methods"][GUARDED]["seconds"] = float(np.mean(times)) * len(first.patches)
    row["guard"] = counts


def _judge_variation(root: Path, row: Row, cell: Cell, pictures: Sequence[Photograph]) -> None:
    problems, truths = [], []
    for number, picture in enumerate(pictures[:2]):
        height, width = ((size - TV_CROP) // 2 // SIDE * SIDE for size in picture.luma.shape)
        crop = picture.luma[height : height + TV_CROP, width : width + TV_CROP].contiguous()
        y, means = centred(Photograph("", crop).patches)
        b = cell.measured(y, generator(cell.ratio, cell.seed, 41, number))
        problems.append(variation.Problem(cell, b, means, (TV_CROP, TV_CROP)))
        truths.append(crop)
    weight, scores = variation.best_weight(problems, truths)
    row["settings"][VARIATION] = {"weight": weight, "psnr": scores}
    times = []
    for source, picture, b, means in _measurements(root, cell, "cpu"):
        shape = (picture.luma.shape[0], picture.luma.shape[1])
        started = time.process_time()
        found = variation.reconstructed(variation.Problem(cell, b, means, shape), weight)
        times.append((time.process_time() - started) / len(b))
        _note(row, VARIATION, source, picture, found)
    first = judged(root)["Kodak"][0]
    row["methods"][VARIATION]["seconds"] = float(np.mean(times)) * len(first.patches)


def packed(picture: Tensor) -> Row:
    """A picture in [0, 1] as JSON, in bytes."""
    values = (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
    return {
        "shape": list(values.shape),
        "values": base64.b64encode(zlib.compress(values.tobytes(), 9)).decode(),
    }


def unpacked(given: Row) -> np.ndarray:
    """Undo :func:`packed`."""
    data = zlib.decompress(base64.b64decode(given["values"]))
    return np.frombuffer(data, np.uint8).reshape(given["shape"]) / 255
