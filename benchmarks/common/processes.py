"""Jobs in processes of their own, so that one that takes its process with it costs no other its result."""

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
    """Each job and its result, as they are done; None where the process died.

    Args:
        work: a function at the top of a module, or a ``functools.partial`` of one: processes are spawned.
        workers: the number of processes.
    """
    left = list(jobs)
    with _pool(workers) as pool:
        begun = {pool.submit(work, job): job for job in left}
        try:
            for done in as_completed(begun):
                result = done.result()
                left.remove(begun[done])
                yield begun[done], result
        except BrokenProcessPool:
            progress("a process died; its job is found by trying one at a time")
    for job in left:
        with _pool(1) as pool:
            try:
                yield job, pool.submit(work, job).result()
            except BrokenProcessPool:
                yield job, None


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare)


def _prepare() -> None:
    """One thread each, and no warnings of torch's own."""
    torch.set_num_threads(1)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it lives as long as the process
