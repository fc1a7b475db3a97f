"""A solver in a ``.szd`` file, with the fingerprint of the matrix that it belongs to."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import file
from szilard.errors import SzilardError, SzilardWarning, first_line, printable
from szilard.solve import fingerprint
from szilard.solve.kept import Kept, read
from szilard.solve.learned import Learned
from szilard.solve.operators import Matrix, Operator, as_operator
from szilard.solve.solver import Solver

KEPT_MATRIX = 64 << 20  # bytes of the largest matrix that is kept by default
MOST_BYTES = 2 << 30


def save(solver: Solver, path: str | Path, matrix: bool | None = None) -> None:
    """Keep a solver in a file: its algorithm, options, parameters, and what its matrix is recognised by.

    Args:
        solver: of any algorithm of this package, or of your own that ``load`` is given.
        path: ending in ``.szd``. An existing file is replaced.
        matrix: keep the matrix, too, so that the file is enough to solve with; None: if there is one of at most
            64 MiB. Operators are not kept.

    Raises:
        SzilardError: if parameters are not finite, an option cannot be kept, the path has another ending, or the file
            cannot be written.
    """
    if Path(path).suffix.lower() != ".szd":
        raise SzilardError(
            f"{printable(str(path))} has another ending than .szd; name a file that ends in .szd"
        )
    operator = solver.given[0]
    state: dict[str, Tensor] = {
        name: value for name, value in solver.state_dict().items() if not _follows_from_matrix(solver, name)
    }
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise SzilardError(f"{name} of {solver.name} is not finite; train the solver again")
    if matrix and not isinstance(operator, Matrix):
        raise SzilardError(
            f"A is an operator of shape {operator.shape}, which a file cannot keep; matrix=False keeps the rest"
        )
    if isinstance(operator, Matrix) and (
        matrix or (matrix is None and operator.A.numel() * operator.A.element_size() <= KEPT_MATRIX)
    ):
        state["A"] = operator.A
    report = getattr(solver, "training_report", {})
    kept = Kept(
        algorithm=solver.name,
        layers=solver.layers,
        options=_options(solver),
        dtype=str(solver.operator.dtype).removeprefix("torch."),
        matrix_dtype=str(operator.dtype).removeprefix("torch."),
        matrix=fingerprint.of_operator(operator),
        training=report,
    )
    empty = file.Document([], kept.meta())
    file.write(Path(path), file.from_state_dict(state, meta=kept.meta()) if state else empty)


def load(
    path: str | Path, A: Any = None, *, algorithms: Iterable[type[Solver]] = (), max_bytes: int = MOST_BYTES
) -> Solver:
    """A solver that was kept by :func:`save`, on the CPU.

    A trained solver is good for its own matrix only, and another one is refused. Values are compared after rounding to
    float32: a copy in float32 of a matrix in float64 is the same. If the file holds the matrix, that one is used;
    otherwise ``A``, in the dtype of the file. Operators are recognised by their products with fixed vectors.

    Args:
        path: the file. Nothing in it is executed.
        A: the matrix or operator; None: the one in the file.
        algorithms: classes of your own that the file may name.
        max_bytes: refuse a file that needs more memory.

    Raises:
        SzilardError: if the file is not a solver, is damaged, or belongs to another matrix.
    """
    shown = printable(str(path))
    kept, state = read(path, max_bytes)
    kind = {cls.name: cls for cls in (*_own(), *algorithms)}.get(kept.algorithm)
    if kind is None:
        raise SzilardError(
            f"{shown} holds a solver named {kept.algorithm}, which this version does not have; update it, or give its "
            "class in algorithms="
        )
    operator = _operator(shown, kept, state.pop("A", None), A)
    _check_size(shown, kind, kept, operator, max_bytes)
    solver = _built(shown, kind, kept, operator)
    expected = {
        name: one for name, one in solver.state_dict().items() if not _follows_from_matrix(solver, name)
    }
    for name in expected.keys() | state.keys():
        if name not in state or name not in expected:
            raise SzilardError(
                f"{shown} {'lacks' if name in expected else 'has'} a tensor {name} that {kept.algorithm} "
                f"{'needs' if name in expected else 'does not know'}; keep the solver again"
            )
        if state[name].shape != expected[name].shape or state[name].dtype != expected[name].dtype:
            raise SzilardError(
                f"{name} of {shown} is {state[name].dtype} {list(state[name].shape)} and {kept.algorithm} needs "
                f"{expected[name].dtype} {list(expected[name].shape)}; keep the solver again"
            )
    solver.load_state_dict(state, strict=False)
    if isinstance(solver, Learned):
        solver.training_report = kept.training
    return solver


def _follows_from_matrix(solver: Solver, name: str) -> bool:
    """Whether the constructor makes a tensor of the matrix, and training leaves it, so that it is not kept."""
    made = name == "scales" or name.startswith(("operator.", "weight."))
    return made and name not in dict(solver.named_parameters())


def _own() -> list[type[Solver]]:
    """The algorithms of this package."""
    solve = importlib.import_module("szilard.solve")
    # Estimators, which import scikit-learn, are no solvers.
    found = (getattr(solve, name) for name, module in solve._FROM.items() if module != "estimators")
    return [one for one in found if isinstance(one, type) and issubclass(one, Solver)]


def _options(solver: Solver) -> dict[str, Any]:
    """The constructor's options, from the attributes of the same names.

    Raises:
        SzilardError: if there is none, or it is not made of numbers and strings.
    """
    if "A" not in inspect.signature(type(solver).__init__).parameters:
        raise SzilardError(
            f"{solver.name} is not made of a matrix; keep its state_dict by szilard.file.from_state_dict"
        )
    found = {}
    for name in inspect.signature(type(solver).__init__).parameters:
        if name in ("self", "A", "layers"):
            continue
        value = getattr(solver, name, NotImplemented)
        value = value.tolist() if isinstance(value, Tensor) else value
        value = list(value) if isinstance(value, tuple) else value
        parts = value if isinstance(value, list) else [value]
        if not all(part is None or isinstance(part, bool | int | float | str) for part in parts):
            raise SzilardError(
                f"the option {name} of {solver.name} cannot be kept; the solver needs an attribute {name} of numbers "
                "or strings"
            )
        found[name] = value
    return found


def _operator(shown: str, kept: Kept, stored: Tensor | None, given: Any) -> Operator:
    """The matrix of the file, or the given one if it is the same."""
    m, n = kept.matrix["shape"]
    if stored is not None:
        inside = as_operator(stored)
        if not fingerprint.same(kept.matrix, inside):
            raise SzilardError(f"the matrix in {shown} is not the one of its solver; keep the solver again")
        if given is None:
            return inside
    elif given is None:
        raise SzilardError(f"{shown} does not hold its matrix; give load its A, {m} x {n}")
    outside = as_operator(given)
    if not fingerprint.same(kept.matrix, outside):
        raise SzilardError(
            f"{shown} belongs to another A of shape {m} x {n} than the one given, {outside.shape[0]} x "
            f"{outside.shape[1]}; give that one, or train a solver for this one"
        )
    if stored is not None:
        return inside
    return Matrix(outside.A.to(getattr(torch, kept.matrix_dtype))) if isinstance(outside, Matrix) else outside


def _check_size(shown: str, kind: type[Solver], kept: Kept, operator: Operator, max_bytes: int) -> None:
    """Refuse what would need too much memory, before it is made."""
    m, n = kept.matrix["shape"]
    learned = kind.count(m, n, kept.layers) if issubclass(kind, Learned) else 0
    squares = m * m if kind.unit_columns and isinstance(operator, Matrix) else 0  # A Aᵀ
    if 8 * (learned + squares) > max_bytes:
        raise SzilardError(
            f"{shown} holds {kept.algorithm} of {kept.layers} layers for {m} x {n}, which needs more than {max_bytes} "
            "bytes; allow more with max_bytes"
        )


def _built(shown: str, kind: type[Solver], kept: Kept, operator: Operator) -> Solver:
    """The solver before its parameters are set."""
    known = inspect.signature(kind.__init__).parameters
    if not kept.options.keys() <= known.keys() - {"self", "A", "layers"}:
        raise SzilardError(f"{shown} has options that {kept.algorithm} does not know; update this library")
    options = {name: tuple(one) if isinstance(one, list) else one for name, one in kept.options.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SzilardWarning)  # it was told when the solver was made
            solver = kind(operator, layers=kept.layers, **options)
            if solver.operator.dtype != getattr(torch, kept.dtype):
                solver.to(getattr(torch, kept.dtype))
    except SzilardError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise SzilardError(
            f"{shown} has options that make no {kept.algorithm} ({first_line(error)}); keep the solver again"
        ) from error
    for name, value in solver.state_dict().items():
        if not torch.isfinite(value).all():
            raise SzilardError(f"{shown} has options with which {name} is not finite; keep the solver again")
    return solver
