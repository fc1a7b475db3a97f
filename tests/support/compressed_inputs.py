"""Networks compressed with inputs of every structure, and their files opened again."""

from __future__ import annotations

import copy
import warnings

import torch
from torch.nn import functional as F

import szilard
from szilard.errors import SzilardWarning

N, SIZE = 400, 40  # examples, and the batch size; the last quarter is used for judging
LAM = 1e-4


def numbers():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, 12, generator=generator), torch.randn(N, 5, generator=generator)


def parts(*tensors):
    return list(zip(*(t.split(SIZE) for t in tensors), strict=True))


def made(kind, **options):
    torch.manual_seed(3)
    return kind(**options).eval()


def reopened(network, small, tmp_path):
    """A fresh copy of the user's network with the weights of the file."""
    small.save(tmp_path / "net.szd")
    fresh = copy.deepcopy(network)
    with torch.no_grad():
        for p in fresh.parameters():
            p.zero_()
    fresh.load_state_dict(szilard.load(tmp_path / "net.szd"))
    return fresh.eval()


def cosine(outputs, wanted):
    return float(F.cosine_similarity(outputs.double(), wanted.double(), dim=-1).mean())


def compressed(network, batches, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        return szilard.compress(network, batches, **({"lam": LAM} | options))


A, B = numbers()
