"""Processor time of each test, including the processes it starts.

Wall-clock time would include other load on the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

SHOWN = 15  # number of tests and files listed in the summary
LISTED = 2.0  # seconds of a file that has a line in the table of tests/parts.py


def spent() -> float:
    """Processor seconds of this process and of the child processes that it has waited for."""
    import resource  # POSIX only

    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


@dataclass(eq=False)  # pytest puts plugins into sets
class ProcessorTime:
    """A pytest plugin: measures processor time, and fails the session if a test not marked slow exceeds the limit.

    The time of a fixture is counted apart from the test's own time, for the test that requested it first.

    Attributes:
        limit: seconds that a test, or its fixtures, may take.
        listing: whether the summary ends with the table of tests/parts.py.
    """

    limit: float
    listing: bool = False
    tests: Counter[str] = field(default_factory=Counter)
    fixtures: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    slow: set[str] = field(default_factory=set)

    @contextmanager
    def _count(self, item: pytest.Item, phase: Counter[str]) -> Iterator[None]:
        begun = spent()
        try:
            yield
        finally:
            took = spent() - begun
            phase[item.nodeid] += took
            self.files[item.nodeid.split("::")[0]] += took
            if item.get_closest_marker("slow"):
                self.slow.add(item.nodeid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        with self._count(item, self.fixtures):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        with self._count(item, self.tests):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        with self._count(item, self.fixtures):
            return (yield)

    def over(self) -> list[str]:
        """A line for each test above the limit."""
        kinds = ("takes", self.tests), ("has fixtures that take", self.fixtures)
        return [
            f"{name} {does} {took:.1f} s of processor time; above {self.limit:g} s it must be marked slow"
            for does, counted in kinds
            for name, took in counted.most_common()
            if took > self.limit and name not in self.slow
        ]

    def table(self) -> list[str]:
        """Lines for tests/parts.py: the seconds of slow files by name, and the mean of the others."""
        slow = {name: took for name, took in sorted(self.files.items()) if took >= LISTED}
        others = [took for name, took in self.files.items() if name not in slow]
        lines = [f'    "{name}": {took:.1f},' for name, took in slow.items()]
        return [
            "SECONDS: dict[str, float] = {",
            *lines,
            "}",
            f"USUAL = {sum(others) / max(1, len(others)):.1f}",
        ]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.over() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"processor time: {sum(self.files.values()):.0f} s")
        for counted in (self.files, self.tests + self.fixtures):
            for name, took in counted.most_common(SHOWN):
                terminalreporter.line(f"{took:8.1f} s  {name}")
            terminalreporter.line("")
        for line in self.table() if self.listing else ():
            terminalreporter.line(line)
        for line in self.over():
            terminalreporter.line(line, red=True)
