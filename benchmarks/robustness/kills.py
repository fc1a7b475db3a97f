"""``fit`` and ``compress`` killed at random times, and ``fit`` started twice in one folder.

The commands run in processes forked from this one, which has already imported torch, so that they start fast and are
not killed during imports. The times are random fractions of the duration of a complete run, from a fixed seed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FIT = [
    "fit", "--data", "digits", "--n-train", "64", "--network", "mlp:16", "--no-baselines", "--density", "0.3",
    "--option",
    "every=10", "--option", "growth_batches=4", "--batch-size", "8", "--epochs", "16", "--checkpoint-steps",
    "5", "--samples",
    "2", "--ood", "none", "--accelerator", "cpu", "--quiet",
]  # fmt: skip
PATIENCE = 120.0  # time limit of a command, seconds


class Running:
    """A command in a separate process.

    Attributes:
        log: file with its output.
    """

    def __init__(self, arguments: Sequence[object], log: Path) -> None:
        self.log = log
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._run([str(argument) for argument in arguments])
        self.code: int | None = None

    def _run(self, arguments: list[str]) -> None:
        code = 70
        try:
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.argv = ["szilard", *arguments]
            from szilard.cli import main

            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """The exit code, negative after a signal; None if it is still running."""
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                return None
            else:
                time.sleep(0.002)
        return self.code

    def kill(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def complete(arguments: Sequence[object], log: Path) -> int | None:
    """Run a command until it ends; the exit code."""
    running = Running(arguments, log)
    code = running.wait()
    running.kill()
    return code


def state_hash(run: Path) -> str:
    """Hash of the names, shapes and bits of a trained network."""
    import torch

    state = torch.load(run / "ssvi" / "network.pt", weights_only=True)["state_dict"]
    found = hashlib.blake2b()
    for name, value in state.items():
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode() + value.numpy().tobytes())
    return found.hexdigest()


# -- fit ------------------------------------------------------------------------------------------------


def fits(folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Compare runs that are killed repeatedly and resumed until they finish with an uninterrupted run."""
    rng, log = random.Random(seed), folder / "log"
    started = time.monotonic()
    if complete([*FIT, "--out", folder / "whole"], log):
        raise RuntimeError(log.read_text())
    whole = time.monotonic() - started
    wanted, done, runs, different, problems = state_hash(folder / "whole"), 0, 0, 0, []
    while done < kills and len(problems) < 5:
        run = folder / f"killed{runs}"
        runs += 1
        code: int | None = None
        for _ in range(6):
            if done >= kills:
                break
            running = Running([*FIT, "--out", run, "--resume"], log)
            code = running.wait(rng.uniform(0.05, 0.8) * whole)
            if code is not None:
                break
            running.kill()
            done += 1
        if code is None:
            code = complete([*FIT, "--out", run, "--resume"], log)
        if code != 0:
            problems.append(f"resumed fit ended with {code}: {log.read_text()[-200:]}")
        elif state_hash(run) != wanted:
            different += 1
        problems += [f"left over: {path.name}" for path in run.rglob("*") if path.name.endswith(".tmp")]
    return {"fit_kills": done, "fit_runs": runs, "fit_different": different, "fit_problems": problems}


# -- compress -------------------------------------------------------------------------------------------


def compressions(folder: Path, network: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill ``compress`` at many times: its file must be absent or complete; a second run must give the same file."""
    from szilard import file

    rng, log, out = random.Random(seed), folder / "log", folder / "out" / "net.szd"
    out.parent.mkdir()
    arguments = ["compress", network, "--lam", "1e-5", "-o", out, "--quiet"]
    started = time.monotonic()
    if complete(arguments, log):
        raise RuntimeError(log.read_text())
    whole, wanted, done, problems = time.monotonic() - started, out.read_bytes(), 0, []
    out.unlink()
    while done < kills and len(problems) < 5:
        running = Running(arguments, log)
        # Half of the times are near the end, when the file is written.
        code = running.wait(whole * (rng.uniform(0, 1) if done % 2 else rng.uniform(0.85, 1.1)))
        running.kill()
        done += 1
        if out.exists():
            if out.read_bytes() != wanted:
                problems.append("a killed compression left a different file")
            file.verify(out)
            out.unlink()
        elif code == 0:
            problems.append("a compression ended without a file")
    if complete(arguments, log) != 0 or out.read_bytes() != wanted:
        problems.append(f"the repeated compression differs: {log.read_text()[-200:]}")
    problems += [f"left over: {path.name}" for path in out.parent.iterdir() if path != out]
    return {"compress_kills": done, "compress_problems": problems}


# -- two at once ----------------------------------------------------------------------------------------


def double_starts(folder: Path) -> dict[str, Any]:
    """A second ``fit`` in the folder of a running one must be refused, and must not change the first one's result."""
    problems, wanted = [], state_hash(folder / "whole")
    for number, how in enumerate(([], ["--overwrite"], ["--resume"])):
        run, log = folder / f"double{number}", folder / f"log{number}"
        first = Running([*FIT, "--out", run], folder / "log")
        patience = time.monotonic() + PATIENCE
        while not (run / "ssvi" / "metrics.jsonl").exists() and first.wait(0.005) is None:
            if time.monotonic() > patience:
                break
        if first.code is None:
            os.kill(first.pid, signal.SIGSTOP)  # so that it is still running when the second one starts
            code = complete([*FIT, "--out", run, *how], log)
            os.kill(first.pid, signal.SIGCONT)
            text = log.read_text()
            if code != 2 or len([line for line in text.splitlines() if line.strip()]) != 1:
                problems.append(f"a second fit {how} ended with {code}: {text[-200:]}")
        else:
            problems.append("the first fit was too fast")
        if first.wait() != 0:
            problems.append(
                f"the first fit ended with {first.code} during a second one with {how}: "
                f"{(folder / 'log').read_text()[-200:]}"
            )
        elif state_hash(run) != wanted:
            problems.append(f"a second fit with {how} changed the result of the first one")
    return {"double_problems": problems}


def measure(folder: Path, kills: int) -> dict[str, Any]:
    """Run all three tests.

    Args:
        folder: an empty folder.
        kills: number of kills of each command.
    """
    import torch

    torch.set_num_threads(1)  # before the first fork
    found = fits(folder, kills)
    found |= compressions(folder, folder / "whole" / "ssvi" / "network.pt", kills)
    found |= double_starts(folder)
    identical = not (found["fit_different"] or found["fit_problems"] or found["compress_problems"])
    enough = found["fit_kills"] >= kills and found["compress_kills"] >= kills
    return {
        "kill_resume_identical": identical and enough,
        "double_start_safe": not found["double_problems"],
        **found,
    }
