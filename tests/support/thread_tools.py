"""Checks that calls from many threads return the same as calls from one thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Call = Callable[[], Tensor]


def count_wrong(calls: Sequence[Call], threads: int = 8, rounds: int = 1) -> int:
    """The number of results that differ in any bit from those of a single thread, or are exceptions.

    Each call is made alone first. Then ``threads`` threads make all calls ``rounds`` times, each starting with another
    one, while the interpreter switches threads as often as possible.

    Args:
        calls: functions without arguments that return one tensor, always the same.
    """
    expected = [ask().clone() for ask in calls]
    start, wrong = threading.Barrier(threads), [0] * threads

    def work(me: int) -> None:
        start.wait()
        for number in range(rounds * len(calls)):
            which = (me + number) % len(calls)
            try:
                right = torch.equal(calls[which](), expected[which])
            except Exception:
                right = False
            wrong[me] += not right

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=work, args=(me,)) for me in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    return sum(wrong)
