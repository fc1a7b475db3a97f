"""Labels of another output, of rare classes and of embeddings, and the messages about them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import szilard
from szilard.cli.option_names import for_command_line
from szilard.compression import constant_targets
from szilard.compression.calibration import Calibration
from szilard.compression.judge import Scores, judge
from szilard.compression.original_score import check_original
from szilard.compression.progress import Progress
from szilard.compression.promise import Promise
from szilard.errors import SzilardError
from szilard.likelihood import Gaussian, choose


class ValueAndClasses(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.value, self.classes = nn.Linear(5, 1), nn.Linear(5, 3)

    def forward(self, x):
        return self.value(x), self.classes(x)


def made(labels):
    network, x = ValueAndClasses().eval(), torch.randn(300, 5)
    with torch.no_grad():
        y = labels(*network(x))
    data = Calibration.of([(x, y)], network)
    return judge(network, data), data


def test_class_labels_select_the_output_that_predicts_them():
    found, data = made(lambda value, classes: classes.argmax(1))
    assert found.output == "result[1]"
    assert found.choice.likelihood.name == "classification"
    assert any("result[1] is judged, because labels are class numbers" in note for note in data.notes)


@pytest.mark.parametrize(
    "labels",
    [
        lambda value, classes: value,
        lambda value, classes: (3 * value[:, 0]).round().long(),
        lambda value, classes: torch.arange(len(value)) % 3,
    ],
)
def test_other_labels_select_the_first_output(labels):
    found, data = made(labels)
    assert found.output == "result[0]"
    assert not data.notes


def scores(**more):
    values = (torch.arange(200) % 20 != 0).double()
    return Scores(0.95, values, guessing=0.95, **more)


def test_the_advice_depends_on_the_task():
    with pytest.raises(SzilardError, match=r"more examples of rare ones.*balanced accuracy") as found:
        check_original(scores())
    assert "logarithm" not in str(found.value)
    assert "evaluate" not in for_command_line(str(found.value))
    with pytest.raises(SzilardError, match="such as logarithms"):
        check_original(scores(relative=True))
    with pytest.raises(SzilardError, match='give task="embedding"'):
        check_original(scores(vectors=True))
    with pytest.raises(SzilardError, match=r"result.*give forward"):
        check_original(scores(output="result[0]"))
    with pytest.raises(SzilardError, match=r"let at least 16 judge"):
        check_original(scores(distinct=10))


@pytest.mark.parametrize("classes", [40, 4])
def test_class_labels_of_embeddings(classes):
    torch.manual_seed(0)
    output, y = F.normalize(torch.randn(200, 8), dim=1), torch.arange(200) % classes
    if classes > 8:
        with pytest.raises(SzilardError, match='number them from 0 to 7, or give task="embedding"'):
            choose(output, y)
    else:
        network = nn.Identity().eval()
        assert judge(network, Calibration.of([(output, y)], None, examples=0)).vectors
    with pytest.raises(SzilardError, match="number them from 0 to 3") as found:
        choose(torch.randn(200, 4), torch.arange(200) % 4 + 1)  # counted from 1
    assert "embedding" not in str(found.value)


def test_no_number_of_examples_guarantees_a_drop_of_0():
    right = torch.ones(388, dtype=torch.float64)
    right[:20] = 0
    (note,) = Promise(Scores(float(right.mean()), right), 0.0, 0.9).notes()
    assert note.startswith("no number of examples can guarantee a drop of at most 0 on others")


def test_a_smaller_file_that_is_not_used_is_explained():
    torch.manual_seed(0)
    values = torch.randn(100, dtype=torch.float64) * 0.1 + 0.5
    before = Scores(float(values.mean()), values, relative=True)
    after = values + 0.02 + 0.2 * torch.randn(100, dtype=torch.float64)
    promise = Promise(before, 0.01, 0.9)
    assert "judged by 100 examples" in promise.why_uncertain(
        Scores(float(after.mean()), after, relative=True)
    )
    assert not promise.why_uncertain(before)


def test_points_in_messages_and_the_progress_line(capsys):
    assert for_command_line("a drop of at most 0.01 on others") == "a drop of at most 1 point on others"
    assert for_command_line("a drop of at most 0.011 on others") == "a drop of at most 1.1 points on others"
    now = iter([0.0, 20.0])
    from rich.console import Console

    with Progress(None, Console(), after=0.0, clock=lambda: next(now)):
        assert capsys.readouterr().err == "compressing\n"


def test_the_change_of_a_constant_target_is_reported():
    torch.manual_seed(0)
    network, x = nn.Linear(6, 2).eval(), torch.randn(200, 6)
    with torch.no_grad():
        network.weight[1] = 0
        network.bias[1] = 7.0
        y = network(x)
        other = nn.Linear(6, 2)
        other.load_state_dict(network.state_dict())
        other.bias[1] += 0.25
    likelihood = Gaussian.of(y)
    note = constant_targets.changes(
        likelihood, lambda net, batch: net(batch), [x[:100], x[100:]], network, other
    )
    assert note.startswith("the output for target 1, which is left out")
    assert note.endswith("changed by 0.25 on average and by at most 0.25")
    with pytest.warns(szilard.SzilardWarning, match="left out of the score"):
        small = szilard.compress(network, [(x, y)], lam=1e-6, progress=False)
    assert any("target 1, which is left out of the score, changed by" in text for text in small.notes)
