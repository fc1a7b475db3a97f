"""A run resumes only from a valid checkpoint; invalid content is refused."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from saved_networks import INVALID, INVALID_IN_PICKLES

import szilard
from szilard import methods
from szilard.data import load
from szilard.file import SzilardFileError
from szilard.model import checkpoint


def fit(folder, **more):
    data = load("digits", n_train=100, ood="none")
    return szilard.fit(
        methods.make("ssvi", len(data.train), every=3), "mlp:5", data, epochs=1, batch_size=25, samples=1, out=folder,
        progress=False, accelerator="cpu", checkpoint_steps=2, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a run, and the content of its first checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    saved = []
    save = checkpoint.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            checkpoint, "save", lambda *given: (saved.append(copy.deepcopy(given[2])), save(*given))[1]
        )
        fit(folder)
    (folder / "ssvi" / "result.json").unlink()
    return folder, saved[0]


def paths(tree, path=()):
    if isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield (*path, key)
            yield from paths(value, (*path, key))


def put(tree, path, value):
    if not path:
        return value
    if isinstance(tree, tuple):
        return tuple(put(item, path[1:], value) if i == path[0] else item for i, item in enumerate(tree))
    tree = copy.copy(tree)
    tree[path[0]] = put(tree[path[0]], path[1:], value)
    return tree


def test_a_valid_checkpoint_is_resumed(written):
    folder, content = written
    checkpoint.save(folder / "ssvi" / "checkpoint.pt", "checkpoint", content)
    run = fit(folder, resume=True)
    assert run.history[-1]["step"] == 4


def test_invalid_values_of_any_part(written, monkeypatch):
    """Either refused with a SzilardError, or valid enough to start the loop."""
    folder, content = written
    path = folder / "ssvi" / "checkpoint.pt"
    generator = torch.Generator().manual_seed(0)
    odd = [None, *INVALID, *INVALID_IN_PICKLES]
    monkeypatch.setattr("szilard.training.loop.Loop.run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    found = [place for place in paths(content) if place[0] not in ("made_by",)]
    assert len(found) > 60
    for place in found[::3]:
        value = odd[int(torch.randint(len(odd), (), generator=generator))]
        checkpoint.save(path, "checkpoint", put(content, place, value))
        with pytest.raises((szilard.SzilardError, KeyboardInterrupt)):
            fit(folder, resume=True)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("epoch",), -1), (("epoch",), 10**9), (("batch",), 1.5), (("seconds",), math.nan), (("step",), "x"),
        (("optimizer",), {}), (("optimizer", "param_groups", 0, "lr"), "x"), (("optimizer", "state", 0), 3),
        (("optimizer", "param_groups", 0, "betas"), "x"), (("optimizer", "state", 0, "exp_avg"), torch.ones(2, 3)),
        (("processes",), []), (("processes", 0, "method", "total_steps"), None), (("processes", 0, "energy"), math.inf),
        (("processes", 0, "method", "moves"), [1]), (("processes", 0, "method", "task"), "regression"),
    ],
)  # fmt: skip
def test_the_error_describes_the_checkpoint(written, place, value):
    folder, content = written
    checkpoint.save(folder / "ssvi" / "checkpoint.pt", "checkpoint", put(content, place, value))
    with pytest.raises(SzilardFileError, match="holds another"):
        fit(folder, resume=True)
