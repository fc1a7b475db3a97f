"""``fit`` and ``compress`` killed at random moments, and ``fit`` started twice on one folder.

The commands run in processes forked from this one, which has loaded torch: so a kill hits their work and not their
imports, and there can be many. Moments are drawn from a seed and counted in fractions of what the whole run takes.
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
PATIENCE = 120.0  # seconds, after which a command hangs


class Running:
    """A command in a process of its own.

    Attributes:
        said: the file of what it printed.
    """

    def __init__(self, arguments: Sequence[object], said: Path) -> None:
        self.said = said
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._run([str(argument) for argument in arguments])
        self.code: int | None = None

    def _run(self, arguments: list[str]) -> None:
        code = 70
        try:
            out = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
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


def complete(arguments: Sequence[object], said: Path) -> int | None:
    """Run a command to its end."""
    running = Running(arguments, said)
    code = running.wait()
    running.kill()
    return code


def state_hash(run: Path) -> str:
    """Of names, shapes and bits of a finished network."""
    import torch

    state = torch.load(run / "ssvi" / "network.pt", weights_only=True)["state_dict"]
    found = hashlib.blake2b()
    for name, value in state.items():
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode() + value.numpy().tobytes())
    return found.hexdigest()


# -- fit ------------------------------------------------------------------------------------------------


def fits(folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Runs that are killed again and again, and resumed until they finish, beside one that is left alone."""
    more, said = random.Random(seed), folder / "said"
    begun = time.monotonic()
    if complete([*FIT, "--out", folder / "whole"], said):
        raise RuntimeError(said.read_text())
    whole = time.monotonic() - begun
    wanted, done, runs, different, problems = state_hash(folder / "whole"), 0, 0, 0, []
    while done < kills and len(problems) < 5:
        run = folder / f"killed{runs}"
        runs += 1
        code: int | None = None
        for _ in range(6):
            if done >= kills:
                break
            running = Running([*FIT, "--out", run, "--resume"], said)
            code = running.wait(more.uniform(0.05, 0.8) * whole)
            if code is not None:
                break
            running.kill()
            done += 1
        if code is None:
            code = complete([*FIT, "--out", run, "--resume"], said)
        if code != 0:
            problems.append(f"resumed fit ended with {code}: {said.read_text()[-200:]}")
        elif state_hash(run) != wanted:
            different += 1
        problems += [f"left over: {path.name}" for path in run.rglob("*") if path.name.endswith(".tmp")]
    return {"fit_kills": done, "fit_runs": runs, "fit_different": different, "fit_problems": problems}


# -- compress -------------------------------------------------------------------------------------------


def compressions(folder: Path, network: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """A compression that is killed at many moments: its file is absent or whole, and the same when made again."""
    from szilard import file

    more, said, out = random.Random(seed), folder / "said", folder / "out" / "net.szd"
    out.parent.mkdir()
    typed = ["compress", network, "--lam", "1e-5", "-o", out, "--quiet"]
    begun = time.monotonic()
    if complete(typed, said):
        raise RuntimeError(said.read_text())
    whole, wanted, done, problems = time.monotonic() - begun, out.read_bytes(), 0, []
    out.unlink()
    while done < kills and len(problems) < 5:
        running = Running(typed, said)
        # Half of the moments are about the end, where the file is written.
        code = running.wait(whole * (more.uniform(0, 1) if done % 2 else more.uniform(0.85, 1.1)))
        running.kill()
        done += 1
        if out.exists():
            if out.read_bytes() != wanted:
                problems.append("a killed compression left another file")
            file.verify(out)
            out.unlink()
        elif code == 0:
            problems.append("a compression ended without a file")
    if complete(typed, said) != 0 or out.read_bytes() != wanted:
        problems.append(f"the last compression differs: {said.read_text()[-200:]}")
    problems += [f"left over: {path.name}" for path in out.parent.iterdir() if path != out]
    return {"compress_kills": done, "compress_problems": problems}


# -- two at once ----------------------------------------------------------------------------------------


def double_starts(folder: Path) -> dict[str, Any]:
    """A second ``fit`` on the folder of one that runs is refused, and the first ends as it would have alone."""
    problems, wanted = [], state_hash(folder / "whole")
    for number, how in enumerate(([], ["--overwrite"], ["--resume"])):
        run, said = folder / f"double{number}", folder / f"said{number}"
        first = Running([*FIT, "--out", run], folder / "said")
        patience = time.monotonic() + PATIENCE
        while not (run / "ssvi" / "metrics.jsonl").exists() and first.wait(0.005) is None:
            if time.monotonic() > patience:
                break
        if first.code is None:
            os.kill(first.pid, signal.SIGSTOP)  # so that it certainly runs while the second one begins
            code = complete([*FIT, "--out", run, *how], said)
            os.kill(first.pid, signal.SIGCONT)
            text = said.read_text()
            if code != 2 or len([line for line in text.splitlines() if line.strip()]) != 1:
                problems.append(f"a second fit {how} ended with {code}: {text[-200:]}")
        else:
            problems.append("the first fit was too fast")
        if first.wait() != 0:
            problems.append(
                f"the first fit ended with {first.code} beside {how}: {(folder / 'said').read_text()[-200:]}"
            )
        elif state_hash(run) != wanted:
            problems.append(f"the first fit came out otherwise beside {how}")
    return {"double_problems": problems}


def measure(folder: Path, kills: int) -> dict[str, Any]:
    """All of it.

    Args:
        folder: an empty one.
        kills: of each command.
    """
    import torch

    torch.set_num_threads(1)  # before anything forks
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
