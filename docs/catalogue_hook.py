"""A hook of MkDocs: lists of methods and passes on the pages come from the classes themselves.

A line ``<!-- catalogue: methods -->`` or ``<!-- catalogue: passes -->`` becomes a table. With ``in full`` behind the
word, it becomes the documentation of each class.
"""

from __future__ import annotations

import re
from typing import Any

from szilard.catalogue import METHODS, PASSES, Entry, entries

_MARK = re.compile(r"^<!-- catalogue: (methods|passes)( in full)? -->$", re.MULTILINE)
_PACKAGES = {"methods": METHODS, "passes": PASSES}
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
_API = {"methods": "api/methods.md", "passes": "api/compress.md"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What MkDocs calls with each page."""
    return render(markdown)


def render(markdown: str) -> str:
    """A page with its lists."""
    return _MARK.sub(_list, markdown)


def _list(mark: re.Match[str]) -> str:
    found = entries(_PACKAGES[mark[1]])
    if mark[2]:
        return "\n\n".join(f"::: {_path(entry)}" for entry in found)
    rows = [
        f"| [`{one.name}`]({_API[mark[1]]}#{_path(one)}) | {one.summary} | {_source(one)} |" for one in found
    ]
    return "\n".join(["| name | what it does | source |", "|---|---|---|", *rows])


def _path(entry: Entry) -> str:
    return f"{entry.module}.{entry.class_name}"


def _source(entry: Entry) -> str:
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", entry.source)
