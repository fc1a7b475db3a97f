"""What ``szilard compress`` prints about a compressed network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard.cli import output, table
from szilard.cli.messages import was_warned
from szilard.cli.option_names import for_command_line
from szilard.compression import Compressed
from szilard.errors import printable
from szilard.file.ledger import smaller


def figures_of(file: Path, out: Path, made: Compressed, described: dict[str, Any]) -> dict[str, Any]:
    """The figures of a compression, as ``szilard compress --json`` prints them."""
    return {
        "network": str(file),
        "file": str(out),
        "bytes": len(made.data),
        "tensor_bytes": made.original_bytes,
        "ratio": made.ratio,
        "lam": made.lam,
        "seconds": made.seconds,
        **described,
        "notes": [for_command_line(note) for note in made.notes],
        "trials": [dict(zip(("lam", "bytes", "score"), trial, strict=True)) for trial in made.trials],
    }


def show(figures: dict[str, Any], made: Compressed, wide: bool) -> None:
    """Print what a compression has reached: a table of size and score, the drop, λ and the notes."""
    table.say_wrapped(printable(f"{figures['network']} -> {figures['file']}"))
    output.say("")
    table.show(_table(figures, made.ledger.original_type, relative=_is_relative(made)), wide=wide)
    output.say("")
    if figures.get("drop_se") is not None:
        unit = f"% of the {figures['measure']} before" if _is_relative(made) else "pt"
        table.say_wrapped(
            f"drop on valid {100 * figures['drop']:.2f} ± {100 * figures['drop_se']:.2f} {unit} (standard error of "
            f"paired differences), on {figures['judged_on']:,} examples"
        )
    chosen = f", chosen in {len(made.trials)} trials" if len(made.trials) > 1 else ""
    table.say_wrapped(f"λ = {made.lam:.3g} nats per bit{chosen}; {made.seconds:.0f} s")
    if "certificate" in figures:
        table.say_wrapped(printable(figures["certificate"]))
    for note in (note for note in figures["notes"] if not was_warned(note)):
        table.say_wrapped(printable(f"note: {note}"))


def _is_relative(made: Compressed) -> bool:
    """Whether a drop is a share of the original's score, as of R², and not in points."""
    return made.promise is not None and made.promise.before.relative


def _table(figures: dict[str, Any], original_type: str, *, relative: bool) -> table.Table:
    """Size, and score on the validation and test splits, before and after."""
    heading = f"bytes, {original_type} before ↓" if original_type else "bytes ↓"
    size = (heading, f"{figures['tensor_bytes']:,}", f"{figures['bytes']:,}", smaller(figures["ratio"]))
    rows = [size]
    for part in ("valid", "test"):
        if f"{part}_before" in figures:
            before, after = figures[f"{part}_before"], figures[f"{part}_after"]
            heading = f"{figures['measure']} ↑, {part}"
            points = 100 * (after - before)
            if relative:  # as the drop below the table
                change = f"{points / (abs(before) or 1.0):+.2f} %"
                rows.append((heading, f"{before:.4f}", f"{after:.4f}", change))
            else:
                rows.append((heading, f"{100 * before:.2f} %", f"{100 * after:.2f} %", f"{points:+.2f} pt"))
    names, *cells = zip(*rows, strict=True)
    columns = [table.Column([""], names, right=False)]
    columns += [
        table.Column([head], column)
        for head, column in zip(("before", "after", "change"), cells, strict=True)
    ]
    return table.Table(columns)
