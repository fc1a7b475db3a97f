"""Networks with weights from packages, compared with rounding by row: bytes at the same error of the outputs.

A sentence encoder (MiniLM), a voice encoder (Resemblyzer) and a speech detector (Silero VAD) are compressed once with
calibration data and ``max_drop``, and once without data. The limits are a mean cosine of 0.995, or a relative error of
the probabilities of 0.03. The figures are the error on held-out sentences and voices, and our bytes divided by the
least bytes that rounding by row needs at the same error (:func:`naive_rows.bytes_at`); null if a package is not
installed.

    python benchmarks/any_trained.py [--quick] [--only minilm] [--without-data]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import szilard
from common.harness import finish, print_table
from files.naive_rows import LEVEL, bytes_at, points
from packaged import speech, trained_networks
from packaged.sentences import WordPieces, sentences
from szilard.compression import Compressed

NAMES = ("minilm", "resemblyzer", "silero")
RESULTS = Path(__file__).parent / "results" / "any_trained.json"
COSINE, RELATIVE = 0.005, 0.03  # errors that are allowed
VOICE = 4  # utterances of one voice
COLUMNS = ["network", "data", "bytes", "error", "rounding by row", "ours / theirs", "seconds"]


@dataclass(frozen=True, eq=False)
class Case:
    """A network in eval mode, and its inputs: for calibration, for the choice of the file, and for the reported error.

    ``embedding``: the outputs are unit vectors, and the error is 1 - mean cosine; otherwise it is the relative error.
    """

    network: nn.Module
    calibration: Tensor
    judges: Tensor
    report: Tensor
    embedding: bool

    @property
    def goal(self) -> float:
        return COSINE if self.embedding else RELATIVE

    def error(self, inputs: Tensor) -> Callable[[nn.Module], float]:
        """A function that measures the error of another network's outputs on these inputs."""
        wanted = outputs(self.network, inputs)

        def measured(network: nn.Module) -> float:
            found = outputs(network, inputs)
            if self.embedding:
                return float(1 - (found * wanted).sum(1).mean())
            return float((found - wanted).norm() / wanted.norm())

        return measured


@torch.no_grad()
def outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    """The network's outputs on all inputs, float64."""
    return torch.cat([network(x) for x in inputs.split(64)]).double()


def case(name: str, quick: bool) -> Case | None:
    """The case of one of :data:`NAMES`; None if its package is not installed."""
    network: nn.Module | None = getattr(trained_networks, name)()
    if network is None:
        return None
    calibrating, judging, reporting = (256, 128, 256) if quick else (512, 256, 512)
    count = calibrating + judging + reporting
    if name == "minilm":
        folder = trained_networks.folder(trained_networks.MINILM)
        assert folder is not None
        inputs = WordPieces(folder / "model" / "vocab.txt")(sentences(count))
    elif name == "resemblyzer":
        voices = [speech.Voice.of(i // VOICE) for i in range(count)]
        waves = [speech.utterance(voice, 1.6, i) for i, voice in enumerate(voices)]
        inputs = torch.from_numpy(np.stack([speech.mels(wave)[:160] for wave in waves]))
    else:
        waves = [speech.with_pauses(speech.Voice.of(i), 2.048, i) for i in range(count)]
        inputs = torch.from_numpy(np.stack(waves))
    parts = inputs.split([calibrating, judging, reporting])
    return Case(network, *parts, embedding=name != "silero")


def measure(name: str, quick: bool, without_data: bool = False) -> dict[str, Any]:
    """Figures of one network; all are None if its package is not installed.

    Args:
        without_data: only the file that is made without data.
    """
    keys = ["no_data_vs_rounding"]
    if not without_data:
        keys += ["vs_rounding", "bytes", "error", "seconds", "peak_over_weights"]
    found: dict[str, Any] = {f"{name}_{key}": None for key in keys}
    one = case(name, quick)
    if one is None:
        return found
    reported, files = one.error(one.report), {}
    if not without_data:
        files[""], seconds, peak = _with_data(one)
        found[f"{name}_seconds"], found[f"{name}_peak_over_weights"] = round(seconds, 1), round(peak, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files["no_data_"] = szilard.compress(one.network, progress=_tell)
    rounded = points(one.network, reported, level=12 if quick else LEVEL)
    for key, compressed in files.items():
        error = reported(compressed.network)
        theirs = bytes_at(rounded, error)
        found[f"{name}_{key}bytes"], found[f"{name}_{key}error"] = len(compressed.data), error
        found[f"{name}_{key}rounding_bytes"] = theirs
        ratio = None if theirs is None else round(len(compressed.data) / theirs, 3)
        found[f"{name}_{key}vs_rounding"] = ratio
    found[f"{name}_rounding"] = [[p.name, p.bytes, p.error] for p in rounded]
    return found


def _with_data(one: Case) -> tuple[Compressed, float, float]:
    """A file within the limit, the seconds to make it, and the additional memory divided by that of float32 weights."""
    weights = sum(p.numel() * 4 for p in one.network.parameters())
    judged, memory = one.error(one.judges), _Memory()
    started = time.perf_counter()
    with warnings.catch_warnings(), memory:
        warnings.simplefilter("ignore")
        made = szilard.compress(
            one.network,
            one.calibration,
            max_drop=one.goal,
            evaluate=lambda network: 1 - judged(network),
            task="embedding" if one.embedding else "regression",
            progress=_tell,
        )
        seconds = time.perf_counter() - started
    return made, seconds, memory.most / weights


def run(quick: bool, only: tuple[str, ...] = NAMES, without_data: bool = False) -> dict[str, Any]:
    """Figures of the networks, each measured in its own process, so that memory is measured separately."""
    figures: dict[str, Any] = {}
    for name in only:
        command = [sys.executable, __file__, "--one", name, *(["--quick"] if quick else [])]
        command += ["--without-data"] if without_data else []
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        figures.update(json.loads(done.stdout.splitlines()[-1]))
    return figures


class _Memory:
    """The largest increase of this process's resident memory inside the block, sampled every 10 ms.

    Freed memory is returned to the system first: reuse of freed heap would not be visible as an increase.

    Attributes:
        most: largest increase over the start, bytes.
    """

    def __enter__(self) -> _Memory:
        gc.collect()
        with contextlib.suppress(AttributeError, OSError):  # no glibc
            ctypes.CDLL(None).malloc_trim(0)
        self.most, self._start, self._over = 0, _resident(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, _resident() - self._start)


def _resident() -> int:
    """Resident memory of this process, bytes; where /proc is missing, its largest value so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _table(figures: dict[str, Any], names: tuple[str, ...]) -> None:
    rows = []
    for name in names:
        for key, data in (("", "yes"), ("no_data_", "none")):
            size, error = figures.get(f"{name}_{key}bytes"), figures.get(f"{name}_{key}error")
            if size is None:
                continue
            theirs, ratio = figures[f"{name}_{key}rounding_bytes"], figures[f"{name}_{key}vs_rounding"]
            seconds = "" if key else f"{figures[f'{name}_seconds']:.0f}"
            shown = "none reaches it" if theirs is None else f"{theirs:,}"
            rows.append([name, data, f"{size:,}", f"{error:.4f}", shown, str(ratio), seconds])
    print_table("Bytes at the same error of the outputs", COLUMNS, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--without-data", action="store_true", help="only the files without data")
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.quick, given.without_data)))
        return
    figures = run(given.quick, tuple(given.only), given.without_data)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, **figures}, indent=1) + "\n")
    _table(figures, tuple(given.only))
    finish("any_trained", {k: v for k, v in figures.items() if not isinstance(v, list)})


if __name__ == "__main__":
    main()
