"""Labels and padding of every common structure: the reported score is that of the file."""

from __future__ import annotations

import pytest
import torch
from compressed_inputs import SIZE, A, B, N, compressed, made, parts, reopened
from odd_batches import (
    Any,
    Detector,
    Maybe,
    TakesList,
    Two,
    Words,
    sentences,
)
from torch import nn
from torch.nn import functional as F

LABELLED = {
    "pairs": (
        nn.Linear,
        {"in_features": 12, "out_features": 4},
        lambda a, b, y: (a, y),
        lambda n, a, b: n(a),
    ),
    "pairs where a second input is optional": (Maybe, {}, lambda a, b, y: (a, y), lambda n, a, b: n(a)),
    "triples": (Two, {}, lambda a, b, y: (a, b, y), lambda n, a, b: n(a, b)),
    "triples of any inputs": (Any, {}, lambda a, b, y: (a, b, y), lambda n, a, b: n(a, b)),
    "tuples inside of pairs": (Two, {}, lambda a, b, y: ((a, b), y), lambda n, a, b: n(a, b)),
    "lists inside of pairs": (TakesList, {}, lambda a, b, y: ([a, b], y), lambda n, a, b: n([a, b])),
    "dicts inside of pairs": (Two, {}, lambda a, b, y: ({"a": a, "b": b}, y), lambda n, a, b: n(a, b)),
    "dicts": (Two, {}, lambda a, b, y: {"a": a, "b": b, "label": y}, lambda n, a, b: n(a, b)),
    "dicts by other names": (
        nn.Linear,
        {"in_features": 12, "out_features": 4},
        lambda a, b, y: {"image": a, "label": y},
        lambda n, a, b: n(a),
    ),
    "names behind the labels": (
        nn.Linear,
        {"in_features": 12, "out_features": 4},
        lambda a, b, y: (a, y, ["name"] * len(a)),
        lambda n, a, b: n(a),
    ),
    "several outputs": (Detector, {}, lambda a, b, y: (a, y), lambda n, a, b: n(a)[0]),
}


@pytest.mark.parametrize("name", list(LABELLED))
def test_with_labels_the_reported_accuracy_equals_that_of_the_file(name, tmp_path):
    kind, options, pack, run = LABELLED[name]
    network = made(kind, **options)
    with torch.no_grad():
        y = run(network, A, B).argmax(1)
    y[::7] = 0  # wrong labels
    small = compressed(network, [pack(*one) for one in parts(A, B, y)])
    fresh = reopened(network, small, tmp_path)
    with torch.no_grad():
        right = (run(fresh, A, B).argmax(1) == y).double().mean()  # so few that all are judged
    assert small.task.startswith("classification")
    assert small.score == pytest.approx(float(right))
    assert small.score > 0.6


@pytest.mark.parametrize("labelled", [True, False])
def test_padding_is_not_judged(labelled, tmp_path):
    network = made(Words, tokens=True)
    batches, truth = [], []
    for ids, mask in sentences():
        with torch.no_grad():
            y = network(input_ids=ids, attention_mask=mask).logits.argmax(-1)
        y[:, 1] = 0
        truth.append(y)
        labels = {"labels": torch.where(mask > 0, y, -100)} if labelled else {}
        batches.append({"input_ids": ids, "attention_mask": mask, **labels})
    small = compressed(network, batches, **({} if labelled else {"task": "embedding"}))
    fresh = reopened(network, small, tmp_path)
    values = []
    for (ids, mask), y in zip(sentences(), truth, strict=True):
        with torch.no_grad():
            outputs = fresh(input_ids=ids, attention_mask=mask).logits
            wanted = network(input_ids=ids, attention_mask=mask).logits
        each = (
            (outputs.argmax(-1) == y).double()
            if labelled
            else F.cosine_similarity(outputs.double(), wanted.double(), dim=-1)
        )
        values += [float(row[: int(own.sum())].mean()) for row, own in zip(each, mask, strict=True)]
    judged = values if labelled else values[-100:]  # without labels a quarter is kept back for judging
    assert small.score == pytest.approx(sum(judged) / len(judged), abs=1e-6)


def test_a_second_part_that_cannot_be_labels_is_an_input():
    network = made(Maybe)
    noted = compressed(network, parts(A, B), lam=1e-9).notes
    assert any("part 1 of each batch was given to the network as b" in note for note in noted)


def test_forward_gets_the_batch_without_labels():
    network = made(Words)
    seen = []

    def forward(net, batch):
        seen.append(set(batch))
        return net(**batch).logits

    batches = [
        {"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(len(ids), dtype=torch.long)}
        for ids, mask in sentences()
    ]
    compressed(network, batches, forward=forward)
    assert all(keys == {"input_ids", "attention_mask"} for keys in seen)


def test_labels_are_ignored_if_evaluate_is_given():
    network = made(nn.Linear, in_features=12, out_features=4)
    batches = [(a, [{"boxes": a}] * len(a)) for a in A.split(SIZE)]
    small = compressed(network, batches, evaluate=lambda net: -float((net(A) - network(A)).square().mean()))
    assert small.score < 0


def test_tokens_as_labels_mean_the_next_token():
    class Next(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(20, 20), nn.Linear(20, 20, bias=False)

        def forward(self, input_ids, labels=None):
            return {"logits": self.head(self.words(input_ids))}

    network = Next()
    with torch.no_grad():
        network.words.weight.copy_(torch.eye(20))
        network.head.weight.copy_(5 * torch.eye(20).roll(1, 0))  # predicts v after v - 1
    start = torch.randint(0, 20, (N, 1), generator=torch.Generator().manual_seed(0))
    ids = (start + torch.arange(6)) % 20
    small = compressed(network, [{"input_ids": one, "labels": one} for one in ids.split(SIZE)])
    assert small.original_score == 1
    assert "taken as next-token labels" in small.task


def test_as_many_positions_as_classes():
    """Labels [B, T] of outputs [B, T, 6], with batches of 6 and 7 positions."""

    class Tags(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(30, 8), nn.Linear(8, 6)

        def forward(self, ids):
            return self.head(self.words(ids))

    network = made(Tags)
    batches = []
    for number in range(8):
        ids = torch.randint(30, (40, 6 + number % 2), generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            batches.append((ids, network(ids).argmax(-1)))
    small = compressed(network, batches, lam=1e-9)
    assert small.original_score == 1
    assert small.score > 0.99


def test_passes_see_outputs_with_their_positions():
    network = made(Words, tokens=True)
    seen = []

    def inspect_draft(draft, setting):
        output = setting.forward(draft.network, setting.inputs[0])
        direction = setting.likelihood.direction(output, 1.0, torch.Generator().manual_seed(0))
        seen.append((output.dim(), float(direction.sum(-1).abs().max()), float(direction.abs().max())))

    batches = []
    for ids, mask in sentences():
        with torch.no_grad():
            y = network(input_ids=ids, attention_mask=mask).logits.argmax(-1)
        batches.append({"input_ids": ids, "attention_mask": mask, "labels": torch.where(mask > 0, y, -100)})
    compressed(network, batches, passes=[inspect_draft])
    dims, along, size = seen[0]
    assert dims == 3
    assert along < 1e-5  # the softmax is over classes: its gradient sums to 0
    assert size > 0.1


def test_padding_has_no_gradient():
    network = made(Words, tokens=True)

    def inspect_draft(draft, setting):
        with torch.enable_grad():
            output = setting.forward(draft.network.requires_grad_(), setting.inputs[0])
            weight = draft.network.head.weight
            one = torch.autograd.grad(output.sum(), weight, retain_graph=True)[0]
            mask = setting.inputs[0]["attention_mask"]
            other = torch.autograd.grad((output * mask[..., None]).sum(), weight)[0]
        assert torch.allclose(one, other)
        assert not bool(mask.all())

    batches = [{"input_ids": ids, "attention_mask": mask} for ids, mask in sentences()]
    compressed(network, batches, passes=[inspect_draft])
