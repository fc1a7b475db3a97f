"""Folds of the given labels, the ways that they compare, and the file that keeps their scores."""

from __future__ import annotations

import io
import json
import math
import re

import pytest
import torch
from rich.console import Console

from szilard import SzilardError
from szilard.data import Split
from szilard.training import prior_folds
from szilard.training.folds_progress import FoldsBar
from szilard.training.prior_folds import Candidate, Scores


@pytest.mark.parametrize("count", [2, 3, 4, 20, 21])
def test_every_example_is_held_out_once(count):
    train = Split(torch.zeros(count, 1), torch.arange(count) % 3)
    parts = prior_folds.parts(train, seed=5, stratify=True)
    assert len(parts) == min(prior_folds.FOLDS, count)
    assert sorted(torch.cat([held for _, held in parts]).tolist()) == list(range(count))
    for index, held in parts:
        assert sorted([*index.tolist(), *held.tolist()]) == list(range(count))
        assert abs(len(held) - count / len(parts)) < 1


def test_folds_spread_classes_and_depend_on_the_seed():
    train = Split(torch.zeros(40, 1), torch.arange(40) % 10)
    parts = prior_folds.parts(train, seed=0, stratify=True)
    assert all(sorted(train.y[held].tolist()) == list(range(10)) for _, held in parts)
    again, other = (prior_folds.parts(train, seed=seed, stratify=True) for seed in (0, 1))
    assert torch.equal(parts[0][1], again[0][1])
    assert not torch.equal(parts[0][1], other[0][1])


def test_one_example_has_no_folds():
    with pytest.raises(SzilardError, match="there is one; give at least two"):
        prior_folds.parts(Split(torch.zeros(1, 1), torch.zeros(1)), 0, stratify=False)


def test_candidates_are_different_ways():
    ways = prior_folds.candidates(0.1, 1e-3)
    assert len({way.name for way in ways}) == len(ways) == 10
    assert [way.widen for way in ways[:8]] == [1.0, 1.0, 2.0, 2.0, 4.0, 4.0, None, None]
    assert {way.temperature for way in ways if way.widen is None and way.lr is None} == {0.1, 0.1 * 0.1}
    assert [way.lr for way in ways if way.lr is not None] == [1e-3, 1e-4]
    assert len({way.name for way in prior_folds.candidates(0.0, 1e-3)}) == 6  # T = 0 has no cooler one


def around(mean: float, spread: float = 0.0, count: int = 20) -> torch.Tensor:
    """NLL of examples that alternate about their mean."""
    return mean + spread * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(count // 2)


def test_the_lowest_held_out_nll_is_chosen_if_labels_tell_it_from_the_others():
    ways = prior_folds.candidates(1.0, 1e-3)
    scores = {way: around(float(number)) for number, way in enumerate(reversed(ways))}
    choice = prior_folds.chosen(scores, 4)
    assert choice.fine_tuning.lr == 1e-4
    assert choice.best == choice.without == Candidate(None, 1.0)
    assert choice.nll[choice.best.name] == min(
        value for name, value in choice.nll.items() if not name.startswith("fine")
    )
    assert "without transfer" not in choice.sentence()
    scores[Candidate(2.0, 1.0)] = around(-1.0)
    choice = prior_folds.chosen(scores, 4)
    assert choice.best == Candidate(2.0, 1.0)
    assert choice.without == Candidate(None, 1.0)
    assert choice.sentence() == (
        "4 folds chose prior with 2 σ, T 1: held-out NLL -1 nats; 2 without transfer; 0 by fine-tuning"
    )


def test_the_first_way_within_a_standard_error_of_the_lowest_is_chosen():
    ways = prior_folds.candidates(1.0, 1e-3)
    scores = {way: around(5.0) for way in ways}
    scores[ways[5]] = around(1.0)
    error = 0.3 / 19**0.5  # of the mean of differences of ±0.3
    scores[ways[3]] = around(1.0 + 0.9 * error, 0.3)
    choice = prior_folds.chosen(scores, 4)
    assert (choice.best, choice.lowest) == (ways[3], ways[5])
    assert choice.sentence() == (
        "4 folds chose prior with 2 σ, T 1: held-out NLL 1.06 nats; 5 without transfer; the lowest is 1 by prior "
        "with 4 σ, T 1; 5 by fine-tuning"
    )
    scores[ways[3]] = around(1.0 + 1.1 * error, 0.3)
    assert prior_folds.chosen(scores, 4).best == ways[5]
    scores[ways[2]], scores[ways[3]] = around(1.0), around(1.0 + 0.1 * error, 0.3)  # the lowest comes first
    assert prior_folds.chosen(scores, 4).best == ways[2]
    scores[ways[2]], scores[ways[3]] = (
        around(5.0),
        around(1.0 + 0.9 * error),
    )  # as small, but for every example
    assert prior_folds.chosen(scores, 4).best == ways[5]


def test_only_differences_count_and_not_what_all_ways_find_hard():
    ways = prior_folds.candidates(1.0, 1e-3)
    scores = {way: around(2.0, 1.9) for way in ways}
    scores[ways[4]] = around(1.9, 1.9)
    assert prior_folds.chosen(scores, 4).best == ways[4]


def test_a_wrong_source_is_refused_though_no_transfer_comes_last():
    generator = torch.Generator().manual_seed(0)
    hard = torch.randn(100, generator=generator, dtype=torch.float64)
    ways = prior_folds.candidates(1.0, 1e-3)
    scores = {
        way: hard + torch.randn(100, generator=generator, dtype=torch.float64) + 0.5 * (way.widen is not None)
        for way in ways
    }
    choice = prior_folds.chosen(scores, 4)
    assert choice.best.widen is None
    assert choice.best == choice.without


def test_the_lowest_prior_must_be_a_standard_error_below_no_transfer():
    ways = prior_folds.candidates(1.0, 1e-3)
    narrow, wide, alone = Candidate(1.0, 1.0), Candidate(4.0, 1.0), Candidate(None, 1.0)
    error = 0.5 / 19**0.5  # of the mean of differences of ±0.5
    scores = {way: around(5.0) for way in ways} | {wide: around(1.0 - 0.9 * error, 0.5), alone: around(1.0)}
    scores[narrow] = around(0.999)
    choice = prior_folds.chosen(scores, 4)
    assert (choice.best, choice.lowest) == (alone, wide)
    scores[narrow] = around(1.001)
    scores[wide] = around(1.0 - 1.1 * error, 0.5)
    assert prior_folds.chosen(scores, 4).best == wide
    scores[wide] = around(1.0 - 1.1 * error, 0.5)
    scores[narrow] = around(
        1.0 - 0.5 * error, 0.5
    )  # below no transfer, but above the lowest for every example
    assert prior_folds.chosen(scores, 4).best == wide
    scores[narrow] = around(1.0 - 0.5 * error)
    assert prior_folds.chosen(scores, 4).best == narrow
    scores[narrow] = around(1.001, -0.5)  # within a standard error of the lowest, but above no transfer
    assert prior_folds.chosen(scores, 4).best == wide


def test_a_prior_is_taken_if_no_transfer_diverges():
    ways = prior_folds.candidates(1.0, 1e-3)
    scores = {way: None if way.widen is None and way.lr is None else around(1.0) for way in ways}
    choice = prior_folds.chosen(scores, 4)
    assert choice.best == ways[0]
    assert choice.without == Candidate(None, 0.1)


def test_of_equal_ways_the_first_is_chosen():
    ways = prior_folds.candidates(1.0, 1e-3)
    scores = {way: around(1.0 + (way.widen is None)) for way in ways}
    choice = prior_folds.chosen(scores, 4)
    assert choice.best == ways[0] == Candidate(1.0, 0.1)
    assert choice.without == Candidate(None, 0.1)
    assert choice.fine_tuning.lr == 1e-3


def test_one_held_out_label_chooses_the_lowest():
    ways = prior_folds.candidates(1.0, 1e-3)
    scores = {way: torch.tensor([float(way.widen != 4.0)]) for way in ways}
    assert prior_folds.chosen(scores, 1).best.widen == 4.0


def test_ways_that_diverge_are_not_chosen():
    ways = prior_folds.candidates(1.0, 1e-3)
    with pytest.raises(SzilardError, match="no way to use the prior gave a finite held-out NLL"):
        prior_folds.chosen(dict.fromkeys(ways), 4)
    choice = prior_folds.chosen(dict.fromkeys(ways) | {ways[2]: around(3.0)}, 4)
    assert choice.best == ways[2]
    assert choice.without.widen is None
    assert choice.nll[choice.without.name] == math.inf


@pytest.mark.parametrize("width", [60, 80, 120])
def test_progress_fits_the_terminal(width):
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width, color_system=None)
    with FoldsBar("SSVI, 5 % of weights", 40, 4, 20, True, console) as bar:
        for _ in range(40):
            bar.step()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue())
    lines = [line for line in re.split(r"[\r\n]+", plain) if line]
    assert all(len(line) <= width for line in lines)
    assert "choosing the prior" in lines[-1]
    assert "40/40" in lines[-1]


def test_without_a_terminal_there_are_lines_and_when_quiet_none(capsys):
    for show, expected in (
        (True, "net: choosing the prior by 4 folds of 20 labels, 0/8 trainings\n"),
        (False, ""),
    ):
        with FoldsBar("net", 8, 4, 20, show, Console(file=io.StringIO())) as bar:
            bar.step()
        assert capsys.readouterr().err == expected


def test_scores_are_kept_and_damaged_lines_are_measured_again(tmp_path):
    path = tmp_path / "folds.jsonl"
    first, second = Candidate(2.0, 1.0), Candidate(None, 1.0)
    scores = Scores(path, "me")
    kept = scores.score(first, 0, lambda: torch.tensor([1 / 3, 1234567.0]))
    assert kept == [0.333333, 1234570.0]  # six digits, with or without the file
    assert scores.score(first, 1, lambda: torch.tensor([2.0])) == [2.0]
    other = {"belongs": "another run", "candidate": second.name, "fold": 0, "nll": [9.0]}
    wrong = [{**other, "belongs": "me", "nll": nll} for nll in (9.0, [], [None], ["9"])]
    whole = path.read_text()
    lines = "".join(json.dumps(line) + "\n" for line in (other, *wrong))
    path.write_text(whole + lines + "[1]\nNaN\n" + '{"belongs": "me", "cand')
    again = Scores(path, "me")
    assert path.read_text() == whole  # a new line does not continue the one that was cut short

    def never():
        raise AssertionError("trained again")

    assert again.score(first, 0, never) == kept
    assert again.score(second, 0, lambda: torch.tensor([4.0])) == [4.0]
    assert again.each(first, 2).tolist() == [*kept, 2.0]
    assert len(Scores(path, "me").found) == 3


def test_scores_that_are_not_finite_are_not_kept(tmp_path):
    path = tmp_path / "folds.jsonl"
    one = Candidate(2.0, 1.0)
    scores = Scores(path, "me")
    assert scores.score(one, 0, lambda: torch.tensor([1.0, math.nan])) == [math.inf]
    assert scores.each(one, 1) is None
    assert not path.exists()
