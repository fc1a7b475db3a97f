"""Networks with inputs and outputs of many structures, for the tests of compress."""

from __future__ import annotations

from collections import UserDict, namedtuple
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = namedtuple("Pair", "a b")


class Two(nn.Module):
    """Two inputs by position."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 24), nn.Linear(5, 24)
        self.head = nn.Linear(24, 4)

    def forward(self, a, b):
        return self.head((self.a(a) + self.b(b)).relu())


class Maybe(Two):
    """The second input can be left out."""

    def forward(self, a, b=None):
        h = self.a(a)
        return self.head((h if b is None else h + self.b(b)).relu())


class Any(Two):
    """Any positional inputs."""

    def forward(self, *parts):
        return super().forward(*parts)


class TakesList(Two):
    """A list of inputs as one argument."""

    def forward(self, parts):
        return super().forward(*parts)


class TakesDict(Two):
    """A dict of inputs as one argument, which it modifies."""

    def forward(self, batch):
        batch["a"] = batch["a"] * 2
        return {"answer": super().forward(batch["a"] / 2, batch["b"]), "a": batch["a"]}


@dataclass
class Batch:
    a: Tensor
    b: Tensor
    name: str = "a batch"


class TakesRecord(Two):
    """A data class as one argument."""

    def forward(self, batch):
        return super().forward(batch.a, batch.b)


class Encoding(UserDict):
    """A mapping with attributes that is not a dict, like the output of a tokenizer."""

    def __getattr__(self, name):
        if name == "data":
            raise AttributeError(name)
        return self.data[name]


@dataclass
class Answer:
    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...]


class Words(nn.Module):
    """Classifies sentences or tokens; called by keywords, as in Hugging Face models."""

    def __init__(self, *, tokens=False):
        super().__init__()
        self.words = nn.Embedding(40, 16)
        self.mix, self.head = nn.Linear(16, 16), nn.Linear(16, 3)
        self.tokens = tokens

    def forward(self, input_ids=None, attention_mask=None, labels=None, **rest):
        assert labels is None
        mask = attention_mask[..., None].float()
        h = self.mix(self.words(input_ids)).tanh() * mask
        pooled = h.sum(1) / mask.sum(1)
        return Answer(None, self.head(h if self.tokens else pooled), (h,))


class TakesEncoding(Words):
    """The mapping as one argument, read by its attributes."""

    def forward(self, batch):
        return super().forward(batch.input_ids, batch.attention_mask)


class Detector(nn.Module):
    """Several outputs: scores, boxes and sizes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(12, 24)
        self.scores, self.boxes, self.size = nn.Linear(24, 4), nn.Linear(24, 4), nn.Linear(24, 1)

    def forward(self, x):
        h = self.body(x).relu()
        return self.scores(h), {"boxes": self.boxes(h), "size": self.size(h)[:, 0]}


class TimeFirst(nn.Module):
    """Sequences [T, B, 12], outputs [B, 4]."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(12, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


class Features(nn.Module):
    """Writes its output into the input dict, as sentence encoders do."""

    def __init__(self):
        super().__init__()
        self.words, self.mix = nn.Embedding(40, 16), nn.Linear(16, 16)

    def forward(self, features):
        h = self.mix(self.words(features["input_ids"]))
        mask = features["attention_mask"][..., None].float()
        features["token_embeddings"] = h
        features["sentence_embedding"] = F.normalize((h * mask).sum(1) / mask.sum(1), dim=1)
        return features


class ListOfOutputs(nn.Module):
    """A list of outputs, one for each image."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return [{"scores": self.conv(x[None]).mean((0, 2, 3))} for x in images]


def sentences(count=10, size=40, *, seed=0):
    """Batches of padded tokens and their mask, of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        longest = 5 + number % 4
        ids = torch.randint(1, 40, (size, longest), generator=generator)
        lengths = torch.randint(2, longest + 1, (size, 1), generator=generator)
        lengths[0] = longest
        if number in (1, 8):
            lengths[:] = longest  # nothing is padded
        mask = (torch.arange(longest)[None] < lengths).long()
        made.append((ids * mask, mask))
    return made
