"""Runs the command in a pseudo-terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
from dataclasses import dataclass

import forked

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Seen:
    code: int
    raw: str

    @property
    def text(self) -> str:
        """The output without control sequences."""
        return _CONTROL.sub("", self.raw).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The final text of each line, after carriage returns."""
        return [line.split("\r")[-1] for line in self.text.split("\n")]


def terminal(columns: int, *arguments: object, **variables: str) -> Seen:
    """Run ``szilard`` in a terminal."""
    import pty

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def work() -> None:
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        os.environ.update({"TERM": "xterm-256color"} | variables)
        forked.command(*arguments)()

    started = forked.Forked(work, streams=(slave, slave, slave))
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # on Linux, the end of a terminal is an error
            break
        if not part:
            break
        seen += part
    os.close(master)
    return Seen(started.wait(), seen.decode(errors="replace"))
