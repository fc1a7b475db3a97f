"""Target types: objects that define what differs between tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from szilard.data.target_readers import reader_of
from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Embedding, Gaussian, NoisyGaussian, TargetType
from szilard.likelihood.targets import (
    CLASSES,
    DATA_TASKS,
    LABELS,
    QUANTITIES,
    TASKS,
    Quantities,
    known,
    of_data,
    of_task,
)
from szilard.run import arrays


def test_every_task_name_gives_its_target_type():
    assert DATA_TASKS == ("classification", "multilabel", "regression")
    assert (*DATA_TASKS, "embedding") == TASKS
    assert [of_data(task) for task in DATA_TASKS] == [CLASSES, LABELS, QUANTITIES]
    assert all(isinstance(of_task(task), TargetType) and of_task(task).name == task for task in TASKS)
    assert known("regression") is QUANTITIES
    assert known("embedding") is known(None) is known([]) is None


@pytest.mark.parametrize(("find", "name"), [(of_data, "embedding"), (of_data, "x"), (of_task, "x")])
def test_unknown_names_are_refused(find, name):
    with pytest.raises(SzilardError, match="take one of classification, multilabel, regression"):
        find(name)


def test_the_number_and_names_of_outputs():
    assert CLASSES.n_outputs(("a", "b", "c"), ()) == 3
    assert LABELS.n_outputs((), ("a", "b")) == 2
    assert [QUANTITIES.n_outputs((), names) for names in ((), ("a",), ("a", "b"))] == [1, 1, 2]
    assert CLASSES.output_names(("a", "b"), ()) == ("a", "b")
    assert QUANTITIES.output_names((), ("c", "d")) == ("c", "d")


def test_output_shapes():
    assert CLASSES.output_shapes(3, 5, ()) == ([(3, 5)], "[B, 5], one logit for each class")
    assert CLASSES.output_shapes(3, 5, (4, 2))[0] == [(3, 5, 4, 2)]
    assert LABELS.output_shapes(3, 2, (2,))[0] == [(3, 2)]
    assert QUANTITIES.output_shapes(3, 2, (2,))[0] == [(3, 2), (3, 4)]


def test_the_likelihood_for_training():
    made = [one.trained() for one in (CLASSES, LABELS, QUANTITIES)]
    assert [type(one) for one in made] == [Categorical, Bernoulli, NoisyGaussian]
    assert [CLASSES.meaning(5), LABELS.meaning(2), QUANTITIES.meaning(1)] == list(DATA_TASKS)
    several = QUANTITIES.meaning(3)
    assert isinstance(several, NoisyGaussian)
    assert several.outputs == 3


def test_the_likelihood_of_given_outputs():
    output = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    found = {task: type(of_task(task).likelihood_of(output, None)) for task in TASKS}
    assert found == {
        "classification": Categorical, "multilabel": Bernoulli, "regression": Gaussian, "embedding": Embedding,
    }  # fmt: skip
    assert isinstance(CLASSES.likelihood_of(output[:, :1], None), Bernoulli)


def test_only_regression_targets_have_units():
    y = torch.tensor([1, 0])
    assert CLASSES.standardised(y, 3.0, 2.0) is y
    assert LABELS.standardised(y, 3.0, 2.0) is y
    assert QUANTITIES.standardised(torch.tensor([7.0, 3.0]), 3.0, 2.0).tolist() == [2.0, 0.0]


def test_the_best_constant_prediction():
    # Classes 0, 0 and 1 with one more of each: frequencies 3/5 and 2/5.
    nll = CLASSES.constant_nll(torch.tensor([0, 0, 1, -100]), torch.tensor([0, 1, -100]), 2)
    assert nll == pytest.approx(-(math.log(3 / 5) + math.log(2 / 5)) / 2)
    # Labels 1, 1 and 0 with one more of each: shares 3/5 and 2/5.
    nll = LABELS.constant_nll(torch.tensor([[1], [1], [0]]), torch.tensor([[1], [0]]), 1)
    assert nll == pytest.approx(-(math.log(3 / 5) + math.log(2 / 5)) / 2)
    # A Gaussian of mean 0 and variance 4 at y = 2: the squared term is 1/2.
    nll = QUANTITIES.constant_nll(torch.tensor([-2.0, 2.0]), torch.tensor([2.0]), 1)
    assert nll == pytest.approx(0.5 * math.log(2 * math.pi * 4) + 0.5)


@pytest.mark.parametrize(
    ("targets", "y", "words"),
    [
        (CLASSES, torch.tensor([0.0]), "must be integers"),
        (CLASSES, torch.tensor([2]), "has 2 classes"),
        (CLASSES, torch.tensor([-100]), "give ignore_index=-100"),
        (LABELS, torch.tensor([[2, 1]]), "must be 0 or 1"),
        (QUANTITIES, torch.tensor([math.nan]), "NaN, infinite or complex"),
    ],
)
def test_invalid_targets_are_refused(targets, y, words):
    with pytest.raises(SzilardError, match=words):
        targets.checked(y, 2)


def test_unknown_target_types_are_refused():
    class Counts(Quantities):
        name = "counts"

    with pytest.raises(SzilardError, match="targets of counts cannot be read from files; add a reader"):
        reader_of(Counts())

    class Data:
        task, target_type = "counts", Counts()

    with pytest.raises(SzilardError, match="no arrays are defined for the plots of counts; add a function"):
        arrays.of_predictions(Data(), None, None)


def test_labels_of_one_column_stay_a_column(tmp_path):
    ys, classes = reader_of(LABELS).of_arrays([np.array([0, 1, 1])], ["y of a.npz"], tmp_path)
    assert ys[0].tolist() == [[0], [1], [1]]
    assert classes == ()
