"""The progress of a search: a bar in a terminal, a line every ten seconds elsewhere, or nothing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from szilard.compression.policies.search_bar import SearchBar, duration
from szilard.compression.policies.search_progress import SearchProgress, progress_of


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def searched(bar: SearchBar, clock: Clock, *, first: int = 0) -> None:
    """A stage of ten steps of four seconds."""
    with bar:
        bar.stage("searching")
        for done in range(first, 11):
            bar.step(done, 10, f"best F {1 / (1 + done):.3f}")
            clock.now += 4


def test_lines_without_a_terminal(capsys):
    clock = Clock()
    searched(SearchBar(Console(file=io.StringIO()), clock=clock), clock)
    assert capsys.readouterr().err.splitlines() == [
        "searching: 3 of 10, best F 0.250, 28 s left",
        "searching: 6 of 10, best F 0.143, 16 s left",
        "searching: 9 of 10, best F 0.100, 4 s left",
    ]


def test_a_resumed_search_counts_its_own_pace():
    clock = Clock()
    bar = SearchBar(clock=clock)
    with bar:
        bar.stage("searching")
        bar.step(80, 100)
        assert bar.left(80, 100) is None
        clock.now = 30.0
        assert bar.left(90, 100) == pytest.approx(30)
        bar.stage("finishing")
        assert bar.left(1, 2) is None


def test_a_terminal_shows_a_bar():
    clock, shown = Clock(), io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80, color_system=None)
    searched(SearchBar(console, clock=clock), clock)
    text = shown.getvalue()
    assert "searching" in text
    assert "10 of 10, best F 0.091" in text


@pytest.mark.parametrize("given", [False, None])
def test_nothing_is_shown_for_short_work(given, capsys):
    with progress_of(given) as bar:
        bar.stage("searching")
        bar.step(1, 2, "best F 1")
        bar.tell("a sentence")
    assert capsys.readouterr() == ("", "")


def test_a_function_receives_the_results():
    lines: list[str] = []
    with progress_of(lines.append) as bar:
        bar.stage("searching")
        bar.step(1, 2)
        bar.tell("a sentence")
    assert lines == ["a sentence"]


def test_an_object_is_used_itself():
    bar = SearchBar()
    assert isinstance(bar, SearchProgress)
    assert progress_of(bar) is bar


def test_a_bar_ends_after_an_error():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    bar = SearchBar(console, clock=Clock())

    def stopped() -> None:
        with bar:
            bar.stage("searching")
            assert bar._bar is not None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert bar._bar is None


def test_durations():
    assert [duration(seconds) for seconds in (0.2, 45, 180, 7200)] == ["1 s", "45 s", "3 min", "2.0 h"]
