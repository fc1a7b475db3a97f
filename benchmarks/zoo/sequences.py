"""Recurrent networks, embeddings and attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo import tasks
from zoo.case import Case
from zoo.layers import Call, Picked, Then, Unrolled
from zoo.tasks import TOKENS


def encoder(layers: int = 1, **options: bool) -> nn.TransformerEncoder:
    one = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, **options)
    return nn.TransformerEncoder(one, layers, enable_nested_tensor=False)


def words(width: int = 16, **options: int) -> nn.Embedding:
    return nn.Embedding(TOKENS, width, **options)


def mean(x: Tensor) -> Tensor:
    return x.mean(1)


def attention() -> nn.Module:
    def how(self: Call, x: Tensor) -> Tensor:
        inside = self.inside(x)
        found, _ = self.attend(inside, inside, inside)
        return self.head((inside + found).mean(1))

    return Call(
        how,
        inside=nn.Linear(6, 16),
        attend=nn.MultiheadAttention(16, 2, batch_first=True),
        head=nn.Linear(16, 4),
    )


def cross_attention() -> nn.Module:
    """Keys and values of a different width, so that the projections are not packed."""

    def how(self: Call, x: Tensor) -> Tensor:
        asked = self.query.expand(len(x), -1, -1)
        found, _ = self.attend(asked, x, x)
        return self.head(found[:, 0])

    network = Call(
        how, attend=nn.MultiheadAttention(16, 2, kdim=6, vdim=6, batch_first=True), head=nn.Linear(16, 4)
    )
    network.query = nn.Parameter(torch.randn(1, 1, 16))
    return network


def tied_language_model() -> nn.Module:
    def how(self: Call, x: Tensor) -> Tensor:
        return self.decoder(self.core(self.words(x))[0])

    network = Call(how, words=words(), core=nn.GRU(16, 16, batch_first=True), decoder=nn.Linear(16, TOKENS))
    network.decoder.weight = network.words.weight
    return network


def bag() -> nn.Module:
    return nn.Sequential(nn.EmbeddingBag(TOKENS, 16, mode="mean"), nn.Linear(16, 4))


def text(*layers: nn.Module, **options: int) -> nn.Sequential:
    return nn.Sequential(words(**options), *layers)


SEQUENCES = [
    Case("LSTM", lambda: Picked(nn.LSTM(6, 24, batch_first=True), 24), tasks.sequences),
    Case(
        "LSTM, two layers, bidirectional",
        lambda: Picked(nn.LSTM(6, 12, 2, batch_first=True, bidirectional=True), 24),
        tasks.sequences,
    ),
    Case(
        "LSTM, projected", lambda: Picked(nn.LSTM(6, 24, proj_size=8, batch_first=True), 8), tasks.sequences
    ),
    Case("GRU", lambda: Picked(nn.GRU(6, 24, batch_first=True), 24), tasks.sequences),
    Case(
        "GRU, bidirectional",
        lambda: Picked(nn.GRU(6, 12, batch_first=True, bidirectional=True), 24),
        tasks.sequences,
    ),
    Case("RNN", lambda: Picked(nn.RNN(6, 24, batch_first=True), 24), tasks.sequences),
    Case(
        "RNN, ReLU, two layers",
        lambda: Picked(nn.RNN(6, 16, 2, nonlinearity="relu", batch_first=True), 16),
        tasks.sequences,
    ),
    Case("GRUCell, unrolled", lambda: Unrolled(nn.GRUCell(6, 16), 16), tasks.sequences),
    Case("RNNCell, unrolled", lambda: Unrolled(nn.RNNCell(6, 16), 16), tasks.sequences),
    Case("LSTM on words", lambda: text(Picked(nn.LSTM(16, 16, batch_first=True), 16)), tasks.tokens),
    Case(
        "embedding and MLP",
        lambda: text(Then(nn.Linear(16, 16), mean), nn.ReLU(), nn.Linear(16, 4)),
        tasks.tokens,
    ),
    Case(
        "embedding with padding",
        lambda: text(Then(nn.Identity(), mean), nn.Linear(16, 4), padding_idx=0),
        lambda: tasks.tokens(padded=True),
    ),
    Case("EmbeddingBag", bag, tasks.tokens),
    Case("language model with tied decoder", tied_language_model, tasks.next_tokens),
    Case("MultiheadAttention", attention, tasks.sequences),
    Case("MultiheadAttention, kdim and vdim", cross_attention, tasks.sequences),
    Case("TransformerEncoder on words", lambda: text(Then(encoder(2), mean), nn.Linear(16, 4)), tasks.tokens),
    Case(
        "TransformerEncoder, norm first",
        lambda: nn.Sequential(nn.Linear(6, 16), Then(encoder(norm_first=True), mean), nn.Linear(16, 4)),
        tasks.sequences,
    ),
]
