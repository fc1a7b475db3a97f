"""Many threads, one network: every answer held against what the network said alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Question = Callable[[], Tensor]


def count_wrong(questions: Sequence[Question], threads: int = 8, rounds: int = 1) -> int:
    """How many answers differ in any bit from those given alone, or are exceptions.

    Each question is asked alone first. Then ``threads`` threads ask all of them ``rounds`` times, each beginning with
    another one, with the interpreter switching threads as often as it can.

    Args:
        questions: calls without arguments that answer one tensor, always the same.
    """
    expected = [ask().clone() for ask in questions]
    start, wrong = threading.Barrier(threads), [0] * threads

    def work(me: int) -> None:
        start.wait()
        for number in range(rounds * len(questions)):
            which = (me + number) % len(questions)
            try:
                right = torch.equal(questions[which](), expected[which])
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
