"""``szilard predict``."""

from __future__ import annotations

import sys
from pathlib import Path

from szilard import atomic
from szilard._cli import inputs, output, spreadsheet, target
from szilard._cli.told import once
from szilard.errors import SzilardError, printable
from szilard.metrics import Predictive
from szilard.training import arrays
from szilard.training import finished as networks_on_disk
from szilard.training.finished import Finished


def predict(
    path: Path,
    name: str,
    out: Path | None,
    *,
    method: str | None,
    data_root: Path | None,
    network: str | None,
    trusted: bool,
    samples: int,
    seed: int,
) -> None:
    """Write one line an input."""
    if samples < 1:
        raise SzilardError(f"--samples must be at least 1, not {samples}")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "is a folder" if out.is_dir() else "is in a folder that does not exist"
        raise SzilardError(f"{out} {what}; name a file to write")
    with output.told(out):
        file = path if path.is_file() else target.finished(path, method)[0].network
        finished = networks_on_disk.load(file, network, trusted=trusted, tell=once())
        x = inputs.read(name, finished, data_root)
        believed = finished.method.predict(finished.network, x, samples=samples, seed=seed)
        if len(believed.shape) > 1:
            _write_dense(believed, out)
        else:
            text = _csv(believed, finished)
            if out is None:
                sys.stdout.write(text)
                return
            atomic.write(out, text.encode(), follow=True)
    print(printable(f"{len(x)} predictions of {file} in {out}"), file=sys.stderr)


def _write_dense(believed: Predictive, out: Path | None) -> None:
    """Arrays ``[N, H, W]``: class numbers, and how sure the network is of each pixel."""
    if out is None or out.suffix.lower() != ".npz":
        raise SzilardError(
            "the network answers a class for each pixel, which no table holds; add --out FILE.npz"
        )
    arrays.save(
        out,
        {
            "label": believed.labels.numpy(),
            "probability": believed.max_probability().numpy(),
            "entropy": believed.entropy().numpy(),
            "aleatoric": believed.aleatoric().numpy(),
            "epistemic": believed.epistemic().numpy(),
        },
    )


def _csv(believed: Predictive, finished: Finished) -> str:
    if finished.task == "regression":
        scale, shift = finished.target_scale, finished.target_shift
        columns = {
            "mean": believed.mean * scale + shift,
            "std": believed.variance.sqrt() * scale,
            "aleatoric_std": believed.aleatoric().sqrt() * scale,
            "epistemic_std": believed.epistemic().sqrt() * scale,
        }
        labels = None
    else:
        columns = {
            "probability": believed.max_probability(),
            "entropy": believed.entropy(),
            "aleatoric": believed.aleatoric(),
            "epistemic": believed.epistemic(),
        }
        labels = [finished.classes[i] for i in believed.labels.tolist()]
    lines = [",".join([*(["label"] if labels else []), *columns])]
    for row, values in enumerate(zip(*(column.tolist() for column in columns.values()), strict=True)):
        label = [spreadsheet.cell(labels[row])] if labels else []
        lines.append(",".join([*label, *(f"{value:.6g}" for value in values)]))
    return "\n".join(lines) + "\n"
