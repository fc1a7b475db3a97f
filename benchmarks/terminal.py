"""Draw ``docs/terminal.svg``, the output of a command in a terminal: the command runs in a pseudo-terminal.

python benchmarks/terminal.py                      # szilard fit --data digits, about a minute
python benchmarks/terminal.py --out x.svg measure runs/digits
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([a-zA-Z])")


def shown(raw: str) -> list[str]:
    """The final lines of the screen, with their colour codes.

    Handles the control sequences that Rich writes: cursor up, erase line, carriage return. Text that is written to a
    line after the cursor has returned to it replaces the line.
    """
    lines, row, fresh = [""], 0, False
    place = 0
    while place < len(raw):
        found = _CONTROL.match(raw, place)
        if found:
            place = found.end()
            count, what = found[1], found[2]
            if what == "A":
                row = max(0, row - int(count or 1))
            elif what == "K":
                lines[row] = ""
            elif what == "m":
                lines[row] = ("" if fresh else lines[row]) + found[0]
                fresh = False
            continue
        letter = raw[place]
        place += 1
        if letter == "\n":
            row, fresh = row + 1, False
            if row == len(lines):
                lines.append("")
        elif letter == "\r":
            fresh = True
        else:
            lines[row] = letter if fresh else lines[row] + letter
            fresh = False
    return lines


def run(command: list[str], columns: int, folder: Path) -> str:
    """Output of a command in a pseudo-terminal with ``columns`` columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    started = subprocess.Popen(
        [sys.executable, "-m", "szilard", *command], stdin=slave, stdout=slave, stderr=slave, cwd=folder,
        env=kept | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # on Linux, the terminal was closed
            break
        if not part:
            break
        seen += part
    os.close(master)
    if started.wait():
        raise SystemExit(seen.decode(errors="replace"))
    return seen.decode()


def main() -> None:
    """Run the command and write the SVG file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs="*", default=["fit", "--data", "digits"])
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs" / "terminal.svg")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = shown(run(asked.command, asked.columns, Path(folder)))
    console = Console(record=True, width=asked.columns, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ ", style="dim") + Text(f"szilard {' '.join(asked.command)}"))
    for line in "\n".join(lines).rstrip().split("\n"):
        console.print(Text.from_ansi(line), no_wrap=True)
    drawn = console.export_svg(title=f"{asked.columns} columns")
    # Use local fonts; do not download one.
    drawn = re.sub(r"@font-face \{.*?\}\n?", "", drawn, flags=re.DOTALL)
    drawn = drawn.replace("Fira Code, monospace", "Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace")
    asked.out.write_text(re.sub(r"[ \t]+\n", "\n", drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
