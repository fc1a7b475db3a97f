"""``szilard solve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.cli.options import output as o
from szilard.cli.options import solve as s

if TYPE_CHECKING:
    import numpy as np

GROUP = "Run"
EXAMPLES = (
    "szilard solve --dictionary A.npy --measurements b.npy -o codes.npz --density 0.05 --snr 30",
    "szilard solve --dictionary A.npy --measurements b.npy -o codes.npz --keep solver.szd",
    "szilard solve --solver solver.szd --measurements more.npy -o more.npz",
    "szilard solve --dictionary A.npy --measurements b.npy -o codes.npz --algorithm continuation --penalty 0.01",
)


def solve(
    measurements: s.Measurements,
    out: s.Out,
    dictionary: s.Dictionary = None,
    atoms_in_rows: s.AtomsInRows = False,
    snr: s.Snr = None,
    noise: s.Noise = None,
    penalty: s.Penalty = None,
    algorithm: s.Algorithm = None,
    layers: s.Layers = None,
    damping: s.Damping = None,
    density: s.Density = None,
    seed: s.Seed = 0,
    solver: s.Kept = None,
    keep: s.Keep = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """Find sparse codes x of measurements b = A x + noise, and say of each whether it is certified.

    The file has arrays x (samples, codes), residual, certificate ("support", "lasso" or "none"), penalty and gap.
    Samples that the unrolled solver does not solve are solved by FISTA with continuation, and counted.
    """
    import time

    from szilard.cli import messages, output
    from szilard.cli.codes import arrays, making, solved_table, solving
    from szilard.errors import SzilardError
    from szilard.solve import Guard, save

    start = time.perf_counter()
    wanted = making.Wanted(algorithm, layers, density, snr, noise, penalty, damping, seed)
    wanted.check(kept=solver is not None)
    if dictionary is None and solver is None:
        raise SzilardError("give --dictionary, the matrix A, or --solver, a solver that was kept")
    _check_files(out, keep, dictionary, measurements, solver)
    b = arrays.read(measurements)
    A = None if dictionary is None else _matrix(dictionary, b, atoms_in_rows=atoms_in_rows)
    tell = messages.library_notifier(quiet=quiet or json)
    found = making.solver(A, wanted) if solver is None else making.kept(solver, A)
    own = getattr(found, "penalty", None) is not None  # the solver has it
    guard = Guard(
        found, noise=noise, snr=snr, penalty=None if own else penalty, fall_back=making.falls_back(wanted)
    )
    rows = solving.checked(guard, b)
    wanted.check_penalty(found, rows)
    if solver is None:
        making.prepare(found, b, wanted, tell)
    with output.writing(out):
        n = found.operator.shape[1]
        result, fell = solving.solve(guard, rows, lambda done, of: tell(f"solved {done:,} of {of:,} samples"))
        if keep is not None:
            save(found, keep)
        arrays.write(out, result)
    seconds = time.perf_counter() - start
    table = solved_table.rows(result)
    if json:
        content: dict[str, Any] = {
            "file": str(out),
            "solver": making.described(found),
            "samples": len(b),
            "codes": n,
        }
        output.as_json({**content, "certificates": table, "fallback": fell, "seconds": seconds})
    elif quiet:
        output.say(str(out))
    else:
        solved_table.show_solved(
            table, out, making.described(found), (len(b), n), fell, seconds=seconds, wide=wide
        )


def _check_files(out: Path, keep: Path | None, *inputs: Path | None) -> None:
    from szilard.cli import output
    from szilard.errors import SzilardError

    for path, ending in ((out, ".npz"), (keep, ".szd")):
        if path is None:
            continue
        if path.suffix.lower() != ending:
            raise SzilardError(f"{path} has another ending than {ending}; name a file that ends in {ending}")
        output.check_writable(path)
        output.refuse_inputs(path, *inputs)


def _matrix(path: Path, b: np.ndarray, *, atoms_in_rows: bool) -> np.ndarray:
    """A ``[m, n]``.

    Raises:
        SzilardError: if its other axis fits the measurements.
    """
    from szilard.cli.codes import arrays
    from szilard.errors import SzilardError

    A = arrays.read(path)
    if A.ndim == 2 and b.ndim == 2:
        along, other = A.shape[::-1] if atoms_in_rows else A.shape
        if along != b.shape[1] == other:
            fix = "leave out" if atoms_in_rows else "add"
            raise SzilardError(
                f"{path} is {A.shape[0]} x {A.shape[1]} and the samples have {b.shape[1]} measurements each: {fix} "
                "--atoms-in-rows"
            )
    return A.T if atoms_in_rows and A.ndim == 2 else A
