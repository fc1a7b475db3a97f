"""Tables for tests of szilard stream, and what the command writes about them."""

from __future__ import annotations

import csv
import random

FILES = {
    "stream.toml", "belief.npz", "predictions.csv", "changes.csv", "weights.csv", "result.json", "report.html"
}  # fmt: skip


def drifting(path, rows=300, *, seed=0, start=0, classes=("no", "yes"), gaps=()):
    """Rows whose class follows x, with a sign that changes every 100 rows; price is a number that follows x."""
    draws = random.Random(seed)
    lines = ["when,x,colour,up,price"]
    for i in range(start, start + rows):
        x, sign = draws.gauss(0, 1), 1 if (i // 100) % 2 == 0 else -1
        up = classes[int(sign * x + draws.gauss(0, 0.3) > 0)]
        colour, price = draws.choice(["red", "blue"]), 50 + 3 * sign * x + draws.gauss(0, 0.5)
        cells = [str(i), f"{x:.4f}", colour, up, f"{price:.3f}"]
        for row, column in gaps:
            if row == i:
                cells[column] = ""
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def contents(folder, names=("predictions.csv", "changes.csv", "weights.csv")):
    return {name: (folder / name).read_bytes() for name in names}


COLUMNS = ("--target", "up", "--time", "when", "--ignore", "price")
