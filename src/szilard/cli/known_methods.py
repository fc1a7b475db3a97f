"""Which methods the command line names and trains; read without importing torch."""

from __future__ import annotations

from szilard.catalogue import METHODS, entries

MAIN = "ssvi"  # what ``szilard fit`` trains where no method is named


def names() -> list[str]:
    """Every method, :data:`MAIN` first."""
    return sorted((entry.name for entry in entries(METHODS)), key=lambda name: name != MAIN)


def baselines() -> tuple[str, ...]:
    """What is trained beside the methods that are asked for."""
    return tuple(entry.name for entry in entries(METHODS) if entry.baseline)


def listed(words: list[str] | tuple[str, ...], last: str) -> str:
    """Words as a part of a sentence: ``a, b or c``."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end
