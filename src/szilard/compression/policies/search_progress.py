"""The face of whatever shows the progress of a search for a policy."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from szilard.compression.policies.search_bar import SearchBar


@runtime_checkable
class SearchProgress(Protocol):
    """Shows which part of the work is being done, how far it is, and results. It is a context manager."""

    def stage(self, text: str) -> None:
        """A part of the work begins, such as "sensitivity"."""
        ...

    def step(self, done: int, total: int, text: str = "") -> None:
        """``done`` of ``total`` equal steps of this part are done.

        Args:
            done: from 0 to ``total``; a resumed search begins with more than 0.
            total: number of steps of this part.
            text: what is known so far, such as "best F 0.031".
        """
        ...

    def tell(self, line: str) -> None:
        """A result or a notice, one sentence."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_of(given: Callable[[str], object] | bool | SearchProgress | None) -> SearchProgress:
    """From the user's argument: None shows a bar on standard error, False nothing; a function receives the results.

    Args:
        given: one of these, or an object with the face of :class:`SearchProgress`, which is returned.
    """
    if given is None or given is True:
        return SearchBar.on_standard_error()
    if given is False:
        return SearchBar()
    if isinstance(given, SearchProgress):
        return given
    return SearchBar(tell=given)
