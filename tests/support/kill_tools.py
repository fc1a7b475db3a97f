"""Kill ``szilard fit`` and ``szilard compress`` again and again; what they end with must not depend on it."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from szilard.model import checkpoint

PATIENCE = 600  # seconds after which a process that should have ended is taken to hang


@dataclass
class Outcome:
    """What killing has come to.

    Attributes:
        kills: processes that were ended by a signal, or left because of it.
        problems: a sentence for each thing that must not be.
        whole, resumed: hash of what the uninterrupted and the killed runs ended with.
    """

    kills: int = 0
    problems: list[str] = field(default_factory=list)
    whole: str = ""
    resumed: str = ""

    @property
    def identical(self) -> bool:
        return bool(self.whole) and self.whole == self.resumed and not self.problems


def start(*arguments: object, folder: Path | None = None) -> subprocess.Popen[str]:
    """``szilard`` in a process of its own, with one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "szilard", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said."""
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def network_hash(path: Path) -> str:
    """Of names, kinds, shapes and bits of the tensors of a ``network.pt``."""
    found = hashlib.sha256()
    for name, value in sorted(checkpoint.load(path, "network")["state_dict"].items()):
        found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        found.update(value.contiguous().view(-1).numpy().tobytes())
    return found.hexdigest()


def leftovers(folder: Path) -> list[str]:
    """Temporary files and locks, which must not stay when nothing runs."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".*") if p.is_file())


def kill_fits(
    arguments: Sequence[object],
    folder: Path,
    *,
    method: str = "ssvi",
    kills: int = 10,
    seed: int = 0,
    signals: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGTERM),
) -> Outcome:
    """Train once without interruption, and once killed at random moments and resumed; compare the networks.

    Args:
        arguments: of ``szilard fit`` after the command, without ``--out``; the run must be longer than its start.
        folder: empty.
        method: whose network is compared.
        kills: at most; fewer if the run ends first.
        signals: one is drawn for each kill.
    """
    whole, killed = folder / "whole", folder / "killed"
    outcome = Outcome()
    code, said = finish(start("fit", *arguments, "--out", whole, "--quiet"))
    if code:
        outcome.problems.append(f"the uninterrupted run ended with {code}: {said}")
        return outcome
    outcome.whole = network_hash(whole / method / "network.pt")
    log = killed / method / "metrics.jsonl"
    draws = random.Random(seed)
    again = ["fit", *arguments, "--out", killed, "--quiet", "--resume"]
    while outcome.kills < kills:
        process = start(*again)
        # A moment counted in epochs of progress, so that it does not depend on the machine; 0 is while it starts.
        _wait_for_lines(process, log, _lines(log) + draws.randrange(3))
        time.sleep(draws.random() * 0.05)
        number = draws.choice(signals)
        process.send_signal(number)
        code, said = finish(process)
        if code == 0:
            break
        outcome.kills += 1
        if number == signal.SIGKILL and code == -signal.SIGKILL:
            continue
        # Before Python has got as far as our handlers, a signal does what it does to every process.
        if code not in (128 + number, -number):
            outcome.problems.append(f"{number.name} ended with {code}: {said}")
        elif "Traceback" in said:
            outcome.problems.append(f"{number.name} ended in a traceback: {said}")
    code, said = finish(start(*again))
    if code:
        outcome.problems.append(f"the last resumption ended with {code}: {said}")
        return outcome
    outcome.resumed = network_hash(killed / method / "network.pt")
    outcome.problems += [f"{name} is left over" for name in leftovers(killed)]
    return outcome


def kill_compressions(
    arguments: Sequence[object],
    folder: Path,
    *,
    kills: int = 10,
    seed: int = 0,
    signals: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGTERM),
) -> Outcome:
    """Compress once without interruption, then kill the same at random moments and let it end at last.

    After each kill the output must be absent or whole; at the end it must be the same file, with nothing beside it.

    Args:
        arguments: of ``szilard compress`` after the command, without ``-o``.
        folder: empty.
        kills: exactly so many processes are started and sent a signal.
    """
    whole, killed = folder / "whole.szd", folder / "killed" / "net.szd"
    killed.parent.mkdir()
    outcome = Outcome()
    begun = time.monotonic()
    code, said = finish(start("compress", *arguments, "-o", whole, "--quiet"))
    took = time.monotonic() - begun
    if code:
        outcome.problems.append(f"the uninterrupted compression ended with {code}: {said}")
        return outcome
    outcome.whole = hashlib.sha256(whole.read_bytes()).hexdigest()
    draws = random.Random(seed)
    for _ in range(kills):
        process = start("compress", *arguments, "-o", killed, "--quiet")
        time.sleep(draws.random() * took)
        number = draws.choice(signals)
        process.send_signal(number)
        code, said = finish(process)
        outcome.kills += code != 0
        if code not in (0, 128 + number, -number) or "Traceback" in said:
            outcome.problems.append(f"{number.name} ended with {code}: {said}")
        if killed.exists() and hashlib.sha256(killed.read_bytes()).hexdigest() != outcome.whole:
            outcome.problems.append("the output is there and is not whole")
    code, said = finish(start("compress", *arguments, "-o", killed, "--quiet"))
    if code:
        outcome.problems.append(f"the last compression ended with {code}: {said}")
        return outcome
    outcome.resumed = hashlib.sha256(killed.read_bytes()).hexdigest()
    outcome.problems += [f"{name} is left over" for name in leftovers(killed.parent)]
    return outcome


def _lines(log: Path) -> int:
    return log.read_text().count("\n") if log.is_file() else 0


def _wait_for_lines(process: subprocess.Popen[str], log: Path, lines: int) -> None:
    patience = time.monotonic() + PATIENCE
    while _lines(log) < lines and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.005)
