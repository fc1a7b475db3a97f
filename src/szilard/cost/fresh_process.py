"""Run a measurement in a fresh process with a fixed number of threads on processors of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from szilard.errors import OwnCodeError, SzilardError

#: Read by OpenMP, MKL, OpenBLAS, Accelerate and numexpr when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_CHILD = "from szilard.called_job import run; run()"
_TOPOLOGY = Path("/sys/devices/system/cpu")


def in_fresh_process(
    job: str | Sequence[str], arguments: Mapping[str, Any] | None = None, *, threads: int = 1
) -> Any:
    """What a function or a command finds in a process in which nothing else has run.

    Libraries of the process use ``threads`` threads (:data:`THREAD_VARIABLES`). Where the system can (Linux), the
    process is bound to as many processors, of different cores if there are enough.

    Args:
        job: ``"package.module:function"``, which is imported there and called; or a command line, a list of words, that
            reads the arguments as JSON on standard input and prints one JSON value on standard output. What a function
            prints goes to standard error.
        arguments: JSON values, the function's by name.
        threads: number of threads.

    Returns:
        the value that the function returned or the command printed, through JSON: tuples become lists.

    Raises:
        SzilardError: the function raised it, or the process failed in another way; or there are fewer processors than
            threads.
    """
    if threads < 1:
        raise SzilardError(f"threads must be at least 1, not {threads}")
    is_function = isinstance(job, str)
    words = [sys.executable, "-P", "-c", _CHILD] if isinstance(job, str) else list(job)
    given: Any = dict(arguments or {})
    with _bound_to(_processors(threads)):
        # A session of its own: the terminal's Ctrl-C reaches this process alone, which then ends the other.
        done = subprocess.run(
            words, input=json.dumps([job, given] if is_function else given), stdout=subprocess.PIPE,
            env=_environment(threads), text=True, encoding="utf-8", start_new_session=True, check=False,
        )  # fmt: skip
    name = job if isinstance(job, str) else words[0]
    if done.returncode:
        raise SzilardError(
            f"the fresh process for {name} ended with exit code {done.returncode}; see its messages above"
        )
    try:
        reply = json.loads(done.stdout)
    except ValueError as error:
        raise SzilardError(
            f"the fresh process for {name} printed no JSON value; print exactly one on standard output"
        ) from error
    if not is_function:
        return reply
    if "error" in reply:
        raise (OwnCodeError if reply["own"] else SzilardError)(reply["error"])
    return reply["value"]


def _environment(threads: int) -> dict[str, str]:
    """This process's environment, with the number of threads and the places from which this process imports."""
    places = [place or os.getcwd() for place in sys.path]
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "OMP_DYNAMIC": "FALSE",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)),
    }


@contextmanager
def _bound_to(processors: Sequence[int] | None) -> Iterator[None]:
    """This thread on these processors only, which a process that starts meanwhile inherits; None: as it is."""
    if processors is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _processors(threads: int) -> list[int] | None:
    """Processors for that many threads; None where the system does not bind processes to processors.

    Faster ones come first (cores of a processor can differ), then one of each core, then those of low number.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < threads:
        raise SzilardError(
            f"threads is {threads}, and this process may use {len(allowed)} processors; ask for at most {len(allowed)}"
        )
    seen: dict[str, int] = {}
    rank = {}
    for one in allowed:
        core = _said(one, "topology/thread_siblings_list") or str(one)
        seen[core] = seen.get(core, 0) + 1
        rank[one] = (-int(_said(one, "cpufreq/cpuinfo_max_freq") or 0), seen[core], one)
    return sorted(allowed, key=rank.__getitem__)[:threads]


def _said(processor: int, what: str) -> str:
    """What Linux says of a processor; empty if nothing."""
    try:
        return (_TOPOLOGY / f"cpu{processor}" / what).read_text().strip()
    except OSError:
        return ""
