"""Decoders of the two entropy-coded streams of a .szd file, written from docs/format.md, without szilard and numpy."""

from __future__ import annotations

import struct
from bisect import bisect_right
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()

LIMIT = 2**23  # every level, coded or not, is below this in magnitude
STARTS = {"NEIGHBOURS": 256, "HISTORY": 256, "MASK": 512}
SIZES = (1, 2, 3, 5, 7, 10, 15)
SHARES = (32, 96, 224, 448, 896, 1600, 2800)
CLASSES = (0, 1, 1, 2, 2, 2, 2)  # of abs(left) + abs(left2); 3 beyond


class Refused(Exception):
    """The bytes are invalid according to the documentation."""


def block(name: str) -> list[str]:
    """The words of a block of the page."""
    return PAGE.split(f"<!-- {name} -->\n```text\n")[1].split("```")[0].split()


WEIGHTS = [int(word) for word in block("weights")]


def need(condition: object, what: str) -> None:
    """Raise Refused unless the condition holds."""
    if not condition:
        raise Refused(what)


def sign(k: int) -> int:
    return (k > 0) - (k < 0) + 1


class Estimates:
    """The probability estimates of one model."""

    def __init__(self) -> None:
        self.zero = [[2**15, 0] for _ in range(192)]
        self.sign = [[2**15, 0] for _ in range(9)]
        self.more = [[[2**15, 0] for _ in range(14)] for _ in range(4)]
        self.prefix = [[2**15, 0] for _ in range(24)]


class Adaptive:
    """The adaptive stream: integers coded with adaptive models."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.range, self.code = 2**32 - 1, 0
        self.models = {model: Estimates() for model in STARTS}
        self.asked = False
        for _ in range(4):
            self.byte()

    def byte(self) -> None:
        at = self.at
        self.code = (self.code << 8 | (self.data[at] if at < len(self.data) else 0)) & 0xFFFFFFFF
        self.at = at + 1
        need(self.at <= len(self.data) + 4, "the adaptive stream ends too early")

    def bit(self, estimate: list[int]) -> bool:
        p, n = estimate
        bound = (self.range >> 16) * p
        bit = self.code < bound
        if bit:
            self.range = bound
            p += (65535 - p) * (131072 // (2 * n + 3)) >> 16
        else:
            self.code -= bound
            self.range -= bound
            p += -p * (131072 // (2 * n + 3)) >> 16
        while self.range < 2**24:
            self.range <<= 8
            self.byte()
        estimate[0] = min(65472, max(64, p))
        estimate[1] = min(96, n + 1)
        return bit

    def plain(self) -> bool:
        self.range >>= 1
        bit = self.code >= self.range
        if bit:
            self.code -= self.range
        while self.range < 2**24:
            self.range <<= 8
            self.byte()
        return bit

    def matrix(self, rows: int, cols: int, model: str) -> list[int]:
        """``rows * cols`` integers, row by row."""
        self.asked = self.asked or rows * cols > 0
        mask, start = model == "MASK", STARTS[model]
        means = [start] * (cols if rows else 0)
        before = [0] * len(means)
        found: list[int] = []
        for _ in range(rows if cols else 0):
            row, left, left2, now = start, 0, 0, []
            for c in range(cols):
                above = before[c]
                k = self.level(model, left, left2, above, means[c], row)
                now.append(k)
                seen = 4096 * k if mask else 256 * min(abs(k), 64)
                means[c] += (seen - means[c]) >> (4 if mask else 2)
                row += (seen - row) >> (5 if mask else 3)
                left, left2 = k, left
            found += now
            before = now
        return found

    def level(self, model: str, left: int, left2: int, above: int, column: int, row: int) -> int:
        estimates = self.models[model]
        if model == "NEIGHBOURS":
            zero = 3 * sign(left) + min(2, min(2, abs(left)) + min(2, abs(left2)))
        elif model == "HISTORY":
            ranks = bisect_right(SIZES, 3 * column >> 8), bisect_right(SIZES, 3 * row >> 8)
            zero = 3 * (8 * ranks[0] + ranks[1]) + sign(left)
        else:
            ranks = bisect_right(SHARES, column), bisect_right(SHARES, row)
            zero = 3 * (8 * ranks[0] + ranks[1]) + (left != 0) + (above != 0)
        if not self.bit(estimates.zero[zero]):
            return 0
        if model == "MASK":
            return 1
        negative = self.bit(estimates.sign[3 * sign(left) + sign(above)])
        around = abs(left) + abs(left2)
        more = estimates.more[CLASSES[around] if around < len(CLASSES) else 3]
        size = 1
        while size <= 14 and self.bit(more[size - 1]):
            size += 1
        if size == 15:
            size = 14 + self.rest(estimates.prefix)
        need(size < LIMIT, "a coded level is too large")
        return -size if negative else size

    def rest(self, prefix: list[list[int]]) -> int:
        b = 0
        while self.bit(prefix[b]):
            b += 1
            need(b < len(prefix), "a coded level is too large")
        rest = 1
        for _ in range(b):
            rest = 2 * rest + self.plain()
        return rest

    def end(self) -> None:
        """Check that every byte was read."""
        need(self.asked or not self.data, "the adaptive stream is not used")
        need(self.at >= len(self.data), "the adaptive stream has bytes left over")


class Static:
    """The static stream: levels coded with frequency tables."""

    def __init__(self, data: bytes) -> None:
        need(len(data) % 4 == 0, "the static stream is no whole number of words")
        self.words = struct.unpack(f"<{len(data) // 4}I", data)
        self.at = 0
        self.lower, self.range, self.point = 0, 2**64 - 1, 0
        self.asked = False
        for _ in range(2):
            self.word()

    def word(self) -> None:
        self.point = (self.point << 32 | (self.words[self.at] if self.at < len(self.words) else 0)) % 2**64
        self.at += 1

    def levels(self, count: int, levels: list[int], codes: list[int]) -> list[int]:
        """Decode ``count`` levels with a table."""
        self.asked = self.asked or count > 0
        starts, widths = intervals(codes)
        found = []
        for _ in range(count):
            scale = self.range >> 24
            place = (self.point - self.lower) % 2**64 // scale
            need(place < 2**24, "the static stream is none")
            i = bisect_right(starts, place) - 1
            self.lower = (self.lower + scale * starts[i]) % 2**64
            self.range = scale * widths[i]
            if self.range < 2**32:
                self.lower, self.range = (self.lower << 32) % 2**64, self.range << 32
                self.word()
            found.append(levels[i])
        return found

    @property
    def used_up(self) -> bool:
        """Whether every word was read, and the state is one in which an encoder ends."""
        return self.at >= len(self.words) and (self.point - self.lower) % 2**64 < 2**33 - 1

    def end(self) -> None:
        """Check that the stream is used up."""
        need(self.asked or not self.words, "the static stream is not used")
        need(self.used_up or not self.asked, "the static stream has something left over")


def intervals(codes: list[int]) -> tuple[list[int], list[int]]:
    """The starts and widths of the intervals of a table."""
    need(0 in codes and min(codes) >= 0 and max(codes) <= 248, "a table of levels is none")
    weights = [WEIGHTS[c % 8] >> c // 8 for c in codes]
    spare, total = 2**24 - len(codes), sum(weights)
    widths = [weight * spare // total for weight in weights]
    widths[codes.index(0)] += spare - sum(widths)
    widths = [width + 1 for width in widths]
    need(max(widths) <= 2**24 - 2**14, "a table of levels makes one of them certain")
    starts = [0]
    for width in widths:
        starts.append(starts[-1] + width)
    return starts[:-1], widths
