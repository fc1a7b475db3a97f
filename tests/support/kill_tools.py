"""Kill ``szilard fit`` and ``szilard compress`` repeatedly; the final result must not depend on it."""

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

PATIENCE = 600  # seconds after which a process is assumed to hang


@dataclass
class Outcome:
    """The result of repeated kills.

    Attributes:
        kills: processes that a signal ended or made exit.
        problems: a message for each fault.
        whole, resumed: hash of the result of the uninterrupted and of the killed runs.
    """

    kills: int = 0
    problems: list[str] = field(default_factory=list)
    whole: str = ""
    resumed: str = ""

    @property
    def identical(self) -> bool:
        return bool(self.whole) and self.whole == self.resumed and not self.problems


def start(*arguments: object, folder: Path | None = None) -> subprocess.Popen[str]:
    """Start ``szilard`` in a subprocess with one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "szilard", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; its exit code and standard error."""
    _, message = process.communicate(timeout=PATIENCE)
    return process.returncode, message


def network_hash(path: Path) -> str:
    """Hash of names, dtypes, shapes and bits of the tensors of a ``network.pt``."""
    found = hashlib.sha256()
    for name, value in sorted(checkpoint.load(path, "network")["state_dict"].items()):
        found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        found.update(value.contiguous().view(-1).numpy().tobytes())
    return found.hexdigest()


def leftovers(folder: Path) -> list[str]:
    """Temporary files and locks, which must not remain when no process runs."""
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
        arguments: of ``szilard fit`` after the command, without ``--out``; the run must take longer than its start-up.
        folder: an empty folder.
        method: the method whose network is compared.
        kills: maximum number; fewer if the run ends first.
        signals: one is drawn for each kill.
    """
    whole, killed = folder / "whole", folder / "killed"
    outcome = Outcome()
    code, message = finish(start("fit", *arguments, "--out", whole, "--quiet"))
    if code:
        outcome.problems.append(f"the uninterrupted run ended with {code}: {message}")
        return outcome
    outcome.whole = network_hash(whole / method / "network.pt")
    log = killed / method / "metrics.jsonl"
    draws = random.Random(seed)
    again = ["fit", *arguments, "--out", killed, "--quiet", "--resume"]
    while outcome.kills < kills:
        process = start(*again)
        # The moment is counted in epochs, so that it does not depend on the machine; 0 is during start-up.
        _wait_for_lines(process, log, _lines(log) + draws.randrange(3))
        time.sleep(draws.random() * 0.05)
        number = draws.choice(signals)
        process.send_signal(number)
        code, message = finish(process)
        if code == 0:
            break
        outcome.kills += 1
        if number == signal.SIGKILL and code == -signal.SIGKILL:
            continue
        # Before Szilard's handlers are installed, a signal has its default effect.
        if code not in (128 + number, -number):
            outcome.problems.append(f"{number.name} ended with {code}: {message}")
        elif "Traceback" in message:
            outcome.problems.append(f"{number.name} ended in a traceback: {message}")
    code, message = finish(start(*again))
    if code:
        outcome.problems.append(f"the last resumption ended with {code}: {message}")
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
    """Compress once without interruption, then kill the same command at random moments, and finally let it end.

    After each kill the output must be absent or complete; at the end it must be the same file, without leftovers.

    Args:
        arguments: of ``szilard compress`` after the command, without ``-o``.
        folder: an empty folder.
        kills: number of processes that are started and sent a signal.
    """
    whole, killed = folder / "whole.szd", folder / "killed" / "net.szd"
    killed.parent.mkdir()
    outcome = Outcome()
    begun = time.monotonic()
    code, message = finish(start("compress", *arguments, "-o", whole, "--quiet"))
    took = time.monotonic() - begun
    if code:
        outcome.problems.append(f"the uninterrupted compression ended with {code}: {message}")
        return outcome
    outcome.whole = hashlib.sha256(whole.read_bytes()).hexdigest()
    draws = random.Random(seed)
    for _ in range(kills):
        process = start("compress", *arguments, "-o", killed, "--quiet")
        time.sleep(draws.random() * took)
        number = draws.choice(signals)
        process.send_signal(number)
        code, message = finish(process)
        outcome.kills += code != 0
        if code not in (0, 128 + number, -number) or "Traceback" in message:
            outcome.problems.append(f"{number.name} ended with {code}: {message}")
        if killed.exists() and hashlib.sha256(killed.read_bytes()).hexdigest() != outcome.whole:
            outcome.problems.append("the output exists and is not complete")
    code, message = finish(start("compress", *arguments, "-o", killed, "--quiet"))
    if code:
        outcome.problems.append(f"the last compression ended with {code}: {message}")
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
