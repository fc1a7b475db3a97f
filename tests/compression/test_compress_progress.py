"""Progress output during compression."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console
from torch import nn

from szilard import compress
from szilard.compression.progress import Progress


class Clock:
    """A clock that advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)).eval()


INPUTS = torch.randn(100, 6, generator=torch.Generator().manual_seed(1))


def test_the_time_left_is_estimated_from_the_attempts_so_far():
    clock = Clock()
    progress = Progress(clock=clock)
    progress.attempt(1, 4)
    assert progress.left(0.0) is None  # nothing is known yet
    clock.now += 6
    assert progress.left(0.5) == pytest.approx(4 * 20 - 6)  # half of an attempt's first 60 % took 6 s
    with progress.aside():
        clock.now += 1000  # time aside does not count
    clock.now += 4
    progress.end()
    progress.attempt(2, 4)
    clock.now += 1
    assert progress.left(0.1) == pytest.approx(3 * 10 - 1)
    clock.now += 100
    assert progress.left(0.9) == 0.0


def test_a_line_is_printed_only_every_few_seconds(capsys):
    clock = Clock()
    with Progress(None, Console(file=io.StringIO()), clock=clock) as progress:
        progress.attempt(1, 8)
        progress.step("layer", 1, 4, share=0.0)
        clock.now += 2
        progress.step("layer", 2, 4, share=0.25)
        assert capsys.readouterr().err == ""
        clock.now += 10
        progress.step("layer", 3, 4, share=0.5)
        progress.step("layer", 4, 4, share=0.75)  # too soon after the last line
        assert capsys.readouterr().err == "compressing: λ 1 of about 8: layer 3 of 4, about 5 min left\n"
    clock.now += 100
    progress.step("layer", 4, 4)  # nothing is printed after the end
    assert capsys.readouterr().err == ""


def test_in_a_terminal_one_line_is_updated_and_erased_at_the_end():
    clock, file = Clock(), io.StringIO()
    console = Console(file=file, force_terminal=True, width=200)

    def interrupted() -> None:
        with Progress(None, console, clock=clock) as progress:
            progress.tell("[red]λ = 1e-5[/red]: 12 bytes")
            clock.now += 4
            progress.step("batch", 3, 7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "batch 3 of 7" in file.getvalue()
    assert "[red]" in file.getvalue()  # markup is printed literally
    assert file.getvalue().rstrip().endswith("\x1b[2K")  # erased


def test_a_quiet_console_shows_nothing():
    quiet, normal = io.StringIO(), io.StringIO()
    with Progress.on(Console(file=quiet, quiet=True, force_terminal=True)) as progress:
        progress.tell("found")
        progress.step("layer", 1, 2)
    assert quiet.getvalue() == ""
    with Progress.on(Console(file=normal, force_terminal=True, width=100)) as progress:
        progress.tell("found")
        progress.step("layer", 1, 2)
    assert "found" in normal.getvalue()
    assert "layer 1 of 2" in normal.getvalue()


@pytest.mark.parametrize("given", [None, False, True])
def test_nothing_is_printed_for_small_networks(given, capsys, monkeypatch):
    monkeypatch.setattr("szilard.compression.progress.AFTER", 1e9)
    compress(network(), INPUTS, lam=1e-5, progress=given)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_progress_function_receives_the_task_and_every_trial():
    lines: list[str] = []
    made = compress(network(), INPUTS, max_drop=0.2, confidence=0.0, progress=lines.append)
    trial_lines = [line for line in lines if line.startswith("λ = ")]
    assert len(trial_lines) == len(made.trials)
    assert [line for line in lines[1:] if line not in trial_lines] == [
        f"for comparison, rounding each row to {bits} bits" for bits in (8, 6, 4)
    ]


def test_layers_and_batches_are_reported_in_order():
    clock = Clock()

    class Recorder(Progress):
        def __init__(self) -> None:
            super().__init__(clock=clock)
            self.shown: list[str] = []

        def show(self, text: str) -> None:
            self.shown.append(text)

    recorder = Recorder()
    compress(network(), INPUTS, lam=1e-5, progress=recorder)
    steps = [text for text in recorder.shown if "layer" in text]
    assert [text.split(",")[0] for text in steps] == [
        *("steps of layer 1 of 2", "steps of layer 2 of 2"),
        *("layer 1 of 2", "layer 2 of 2"),
        *("refitting layer 1 of 2", "refitting layer 2 of 2") * 2,  # once for each of two values of alpha
    ]
    batches = [text for text in recorder.shown if text.startswith("curvature")]
    assert batches == ["curvature, batch 1 of 2", "curvature, batch 2 of 2"]
