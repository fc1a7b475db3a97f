"""The solver that a command asks for: made, and tuned or trained; or read from a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.errors import SzilardError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from szilard.solve.solver import Solver
    from szilard.solve.training_run import Progress

PENALISED = ("ista", "fista", "continuation")
TUNED = ("hyperlista", "alista")
DEFAULT = "hyperlista"
KNOWN = (*TUNED, "omp", *PENALISED)
_STEPS = 250  # of training between two lines
_LAYERS = {"ista": 10_000, "fista": 3000, "continuation": 3000}


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    algorithm: str | None
    layers: int | None
    density: float | None
    snr: float | None
    noise: float | None
    penalty: float | None
    damping: float | None
    seed: int

    def check(self, *, kept: bool) -> None:
        """Raise for options that contradict each other.

        Raises:
            SzilardError: they do.
        """
        name = DEFAULT if self.algorithm is None else self.algorithm
        if name not in KNOWN:
            raise SzilardError(f"--algorithm {name} is not known; take {', '.join(KNOWN)}")
        if self.layers is not None and self.layers < 1:
            raise SzilardError(f"--layers {self.layers} does nothing; give at least 1 layer")
        if self.snr is not None and self.noise is not None:
            raise SzilardError("--snr and --noise say the same; give one of them")
        if kept and any(one is not None for one in (self.algorithm, self.density, self.layers, self.damping)):
            raise SzilardError(
                "--solver is a finished solver; leave out --algorithm, --layers, --damping and --density, or leave out "
                "--solver"
            )
        if not kept and name in PENALISED and self.penalty is None:
            raise SzilardError(f"--algorithm {name} needs --penalty, the λ of ½‖b - A x‖² + λ‖x‖₁")
        if not kept and name not in TUNED and self.density is not None:
            raise SzilardError(f"--density is for tuning and training, and {name} has neither; leave it out")
        if self.damping is not None and name not in TUNED:
            raise SzilardError(f"--damping is for {' and '.join(TUNED)}, and {name} has none; leave it out")

    def check_penalty(self, made: Solver, b: Tensor) -> None:
        """Raise for a penalty that makes all codes zero.

        Raises:
            SzilardError: it does.
        """
        if self.penalty is None or not len(b):
            return
        adjoint = made.operator.adjoint(b)
        largest = float((adjoint if made.scales is None else adjoint * made.scales).abs().max())
        if self.penalty >= largest > 0:
            raise SzilardError(
                f"--penalty {self.penalty:g} is not below ‖Aᵀb‖_∞ of any sample (at most {largest:.3g}), so that all "
                "codes would be zero; give a smaller one"
            )


def falls_back(wanted: Wanted) -> bool:
    """Whether samples that are not certified may be solved again: not beyond a number of entries that was asked for."""
    return not (wanted.algorithm == "omp" and wanted.layers is not None)


def solver(A: Any, wanted: Wanted) -> Solver:
    """A solver for a matrix ``[m, n]``, not yet tuned or trained.

    Args:
        A: the matrix.
        wanted: as :class:`Wanted`, checked.
    """
    from szilard import solve

    name = DEFAULT if wanted.algorithm is None else wanted.algorithm
    layers = {} if wanted.layers is None else {"layers": wanted.layers}
    if name in PENALISED:
        kind = {"ista": solve.ISTA, "fista": solve.FISTA, "continuation": solve.ContinuationFISTA}[name]
        return kind(A, wanted.penalty, **{"layers": _LAYERS[name], **layers})
    if name in TUNED:
        kinds = {"hyperlista": solve.HyperLISTA, "alista": solve.ALISTA}
        return kinds[name](A, damping=wanted.damping or 0.0, **layers)
    return solve.OMP(A, **layers)


def prepare(made: Solver, b: np.ndarray, wanted: Wanted, tell: Callable[[str], None]) -> None:
    """Tune or train a solver in place, if it can be.

    Args:
        made: by :func:`solver`.
        b: the measurements, whose size gives the ratio of signal to the noise that was asked for.
        wanted: as :class:`Wanted`.
        tell: called with what takes time.
    """
    import torch

    from szilard.solve import ALISTA, CodePrior, HyperLISTA

    density = 0.1 if wanted.density is None else wanted.density
    prior = CodePrior(density, snr=_snr(b, wanted))  # HyperLISTA's numbers do not depend on the units of b
    if isinstance(made, HyperLISTA):
        tell(f"tuning three numbers for density {density:g}")
        made.tune(density, prior.snr, seed=wanted.seed)
    if isinstance(made, ALISTA):
        tell(f"training {made.layers} layers for density {density:g}")
        size, columns = _size(b, prior.snr), made.given[0].column_norms()
        amplitude = size / density**0.5
        assert columns is not None  # A is a matrix
        with torch.no_grad():  # from the same thresholds relative to b, so that its units change nothing
            for threshold in made.thresholds:
                threshold.mul_(amplitude / made.operator.shape[1] ** 0.5)
        prior = CodePrior(density, amplitude / float(columns.norm()), prior.snr)
        made.fit(prior, seed=wanted.seed, progress=_progress(tell))


def _progress(tell: Callable[[str], None]) -> Callable[[Progress], None]:
    """Tells the error on the validation set every few hundred steps."""
    told = 0

    def progress(now: Progress) -> None:
        nonlocal told
        if now.step >= told:
            tell(f"step {now.step:,}: {10 * now.loss / math.log(10):.1f} dB")
            told = now.step + _STEPS

    return progress


def _size(b: np.ndarray, snr: float | None) -> float:
    """The root mean square of ‖b‖ without its noise, over samples that are not zero; 1 if all are."""
    import numpy as np

    squares = np.square(b, dtype=np.float64).sum(1)
    squares = squares[squares > 0]
    if not len(squares):
        return 1.0
    share = 1.0 if snr is None else 1 / (1 + 10 ** (-snr / 10))
    return float(np.sqrt(share * squares.mean()))


def _snr(b: np.ndarray, wanted: Wanted) -> float | None:
    """Signal-to-noise ratio in dB, from the deviation of the noise if that was given."""
    import numpy as np

    if not wanted.noise:
        return wanted.snr
    signal = float(np.mean(np.square(b, dtype=np.float64))) - wanted.noise**2
    if signal <= 0:
        raise SzilardError(
            f"--noise {wanted.noise:g} is larger than the measurements (root mean square "
            f"{float(np.sqrt(signal + wanted.noise**2)):.3g}); give the deviation of the noise alone"
        )
    return 10 * float(np.log10(signal / wanted.noise**2))


def kept(path: Path, A: Any) -> Solver:
    """A solver from a file; ``A`` is the matrix of the command, or None."""
    from szilard import solve

    return solve.load(path, A)


def described(found: Solver) -> str:
    """A solver in words: its name, layers and numbers."""
    words = f"{found.name}, {found.layers} {'iterations at most' if found.name in PENALISED else 'layers'}"
    numbers = getattr(found, "numbers", None)
    if numbers is not None:
        words += ", numbers " + ", ".join(f"{one:.3g}" for one in numbers.tolist())
    return words
