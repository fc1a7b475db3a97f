"""The interface of a backend: it compiles a graph for a runtime."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard.deploy.backends.quiet import quiet
from szilard.deploy.graph import Graph
from szilard.errors import SzilardError, first_line

Run = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Job:
    """What a backend compiles.

    Attributes:
        graph: module from an input to named tensors.
        example: an input ``[B, *shape]``.
        dynamic: whether any batch size must work; else only that of the example.
        threads: threads of the runtime.
        path: file to write; None: the backend decides.
        metadata: text that goes into the file.
        decisions: a list to which the backend adds what it decided, a line each.
    """

    graph: Graph
    example: Tensor
    dynamic: bool = True
    threads: int = 1
    path: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)


class Backend:
    """Base class. A backend is a subclass in a file of this folder, named in ``BACKENDS``."""

    #: Its name in ``--backend``.
    name = ""
    #: What it is, in one line.
    summary = ""
    #: The extra of this package that installs it; empty if it needs none.
    extra = ""
    #: The modules that must be importable.
    modules: tuple[str, ...] = ()
    #: Suffix of its files; empty if it writes none.
    suffix = ""
    #: Floating types of the networks that it takes; empty: any.
    floats: tuple[torch.dtype, ...] = (torch.float32,)
    #: Whether it refuses inputs that are not finite.
    checks_inputs = False
    #: Whether its files are machine code, which is run when they are opened.
    executable = False

    @classmethod
    def missing(cls) -> str | None:
        """How to install the backend, as a clause; None if it can be used."""
        absent = [name for name in cls.modules if importlib.util.find_spec(name) is None]
        return f"it needs {', '.join(absent)}: pip install 'szilard[{cls.extra}]'" if absent else None

    def compile(self, job: Job) -> Run:
        """The compiled graph, which takes ``[B, *shape]`` and returns the tensors that ``graph.outputs`` names.

        Raises:
            SzilardError: the backend cannot compile the graph.
        """
        raise NotImplementedError

    def open(self, path: Path, content: bytes, threads: int) -> tuple[dict[str, str], Callable[[Any], Run]]:
        """Read a file that :meth:`compile` wrote.

        Args:
            path: of the file, for messages.
            content: its bytes.
            threads: of the runtime.

        Returns:
            its metadata, of which only the hash has been checked, and a function that opens it in the runtime, given
            the checked :class:`~szilard.deploy.description.Description`.

        Raises:
            SzilardError: a damaged file, or one that szilard did not write.
        """
        raise NotImplementedError


def exported(job: Job, most: int | None = None) -> torch.export.ExportedProgram:
    """The graph as an exported program, with a dynamic batch if the job wants one.

    Args:
        job: what to export.
        most: the largest batch, for runtimes that plan their memory; None: no limit.

    Raises:
        SzilardError: the network cannot be exported.
    """
    example = job.example
    if job.dynamic and len(example) < 2:  # torch specialises on sizes of 1
        example = example.expand(2, *example.shape[1:]).contiguous()
    shapes: Any = ({0: torch.export.Dim("batch", min=1, max=most)},) if job.dynamic else None
    try:
        # torch logs and prints the whole graph if it cannot trace it.
        with torch.no_grad(), quiet(logging.ERROR), contextlib.redirect_stderr(io.StringIO()):
            return torch.export.export(job.graph.eval(), (example,), dynamic_shapes=shapes)
    except SzilardError:
        raise
    except Exception as error:
        raise SzilardError(_not_traced(first_line(error))) from error


def _not_traced(reason: str) -> str:
    if "data-dependent" in reason or "data dependent" in reason:
        why = "its forward decides by the values of tensors; use torch.where instead of if"
    elif "Constraints violated" in reason:
        why = (
            "its forward fixes the size of the batch, as len(x) does; use x.shape[0] there, compile it for one size "
            "(batch=)"
        )
    else:
        why = reason
    return f"torch.export cannot trace the network: {why}, or choose backend native or eager"


def without_erfc(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A program with core operators only, for runtimes without erfc(x), which becomes 1 - erf(x).

    Its absolute error is that of float32 at 1. It adds that much to a distribution function, of which an activation's
    moments are sums with positive factors; only moments that are tiny beside those factors lose digits.
    """
    table = torch.export.default_decompositions()
    table[torch.ops.aten.erfc.default] = lambda x: 1 - torch.erf(x)
    return program.run_decompositions(table)
