"""Sentences from installed files: docstrings of Python's library and descriptions of scikit-learn's data sets."""

from __future__ import annotations

import ast
import re
import sysconfig
import unicodedata
from pathlib import Path

import sklearn.datasets
import torch
from torch import Tensor

WORDS = 6  # minimum number of words in a sentence
MOST_WORD = 100  # longer words are unknown, characters


def sentences(count: int) -> list[str]:
    """At most ``count`` different sentences, in random order."""
    texts = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                texts.append(ast.get_docstring(node) or "")
    described = Path(sklearn.datasets.__file__).parent / "descr"
    texts += [path.read_text(encoding="utf-8", errors="ignore") for path in sorted(described.glob("*.rst"))]
    found = {}
    for text in texts:
        for part in re.split(r"(?<=[.!?])\s+|\n\s*\n", text):
            line = " ".join(part.split())
            if len(re.findall(r"[A-Za-z]{2,}", line)) >= WORDS:
                found[line] = None
    lines = list(found)
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(0)).tolist()
    return [lines[i] for i in order[:count]]


class WordPieces:
    """Tokenizer of BERT's uncased vocabulary: text to token ids (Wu et al. 2016)."""

    def __init__(self, vocabulary: Path) -> None:
        self.numbers = {w: i for i, w in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())}

    def __call__(self, lines: list[str], length: int = 32) -> Tensor:
        """Token ids and their attention mask, int64 ``[lines, 2, length]``; longer lines are truncated."""
        found = torch.zeros(len(lines), 2, length, dtype=torch.int64)
        for row, line in enumerate(lines):
            pieces = [p for word in _words(line) for p in self._pieces(word)][: length - 2]
            ids = [self.numbers["[CLS]"], *pieces, self.numbers["[SEP]"]]
            found[row, 0, : len(ids)] = torch.tensor(ids)
            found[row, 1, : len(ids)] = 1
        return found

    def _pieces(self, word: str) -> list[int]:
        """Token ids of a word: repeatedly the longest known prefix of the rest."""
        found, start = [], 0
        while start < len(word) <= MOST_WORD:
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if prefix + word[start:e] in self.numbers), None)
            if end is None:
                return [self.numbers["[UNK]"]]
            found.append(self.numbers[prefix + word[start:end]])
            start = end
        return found or [self.numbers["[UNK]"]]


def _words(line: str) -> list[str]:
    plain = unicodedata.normalize("NFD", line.lower())
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn")
    return re.findall(r"\w+|[^\w\s]", plain.replace("_", " _ "))
