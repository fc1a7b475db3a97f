"""Jobs in separate processes, so that a job that crashes its process does not affect the others."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from common.harness import progress

Job = TypeVar("Job")


def results(work: Callable[[Job], Any], jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Any]]:
    """Each job and its result, in the order of completion; None if the process died.

    Args:
        work: a function at the top of a module, or a ``functools.partial`` of one: processes are spawned.
        workers: the number of processes.
    """
    left = list(jobs)
    with _pool(workers) as pool:
        started = {pool.submit(work, job): job for job in left}
        try:
            for done in as_completed(started):
                result = done.result()
                left.remove(started[done])
                yield started[done], result
        except BrokenProcessPool:
            progress("a process died; the remaining jobs run one at a time to find the cause")
    for job in left:
        with _pool(1) as pool:
            try:
                yield job, pool.submit(work, job).result()
            except BrokenProcessPool:
                yield job, None


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare)


def _prepare() -> None:
    """Use one thread in this process, and suppress torch's warnings."""
    torch.set_num_threads(1)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open for as long as the process runs
