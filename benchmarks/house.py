"""Structure of the package, counted from its own imports and signatures.

    python benchmarks/house.py [--help-runs 9]

prints one JSON object: ``circles`` among modules (lazy imports and those for type checkers included), ``floors_broken``
(imports from a package on the same floor or a higher one, see :data:`code_checks.graph.FLOORS`), ``task_branches``
(branches on the name of a task, see :func:`code_checks.branches.branches_of`), ``public_names_without_page``,
``shadowed_submodules`` (packages that export a function with the name of one of their modules),
``docstring_arguments_wrong``, ``files_for_a_new_method`` and ``files_for_a_new_pass`` (:mod:`common.plug_ins` adds one
of each to a copy and checks every place that should list it; null if MkDocs is not installed, which builds the
documentation), ``help_seconds`` (median of ``szilard --help``), ``median_file_lines`` and ``max_function_lines``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from code_checks import branches, graph, public_names
from common import plug_ins


def help_seconds(runs: int) -> float:
    """Median wall time of ``szilard --help``, including the start of Python."""
    command = [str(Path(sys.executable).parent / "szilard"), "--help"]
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--help-runs", type=int, default=9)
    parser.add_argument("--list", action="store_true", help="print the counted items on standard error")
    parser.add_argument(
        "--map", action="store_true", help="print only the first docstring line of each file, by package"
    )
    options = parser.parse_args()
    if options.map:
        print(graph.code_map())
        return
    edges = graph.graph()
    counted = {
        "circles": graph.circles(edges),
        "floors_broken": graph.broken_floors(edges),
        "task_branches": branches.task_branches(),
        "public_names_without_page": public_names.without_page(),
        "shadowed_submodules": public_names.shadowed(),
        "docstring_arguments_wrong": public_names.arguments_wrong(),
    }
    if options.list:
        for key, names in counted.items():
            print(key, *names, sep="\n  ", file=sys.stderr)
    plugged = plug_ins.unaware(graph.ROOT)
    if plugged is None:
        print(
            "MkDocs is not installed (make docs installs it): files of plug-ins are not counted",
            file=sys.stderr,
        )
    elif options.list:
        for kind, places in plugged.items():
            print(f"places that do not list a new {kind}", *places, sep="\n  ", file=sys.stderr)
    lengths = [len(path.read_text().splitlines()) for path in graph.SOURCE.rglob("*.py")]
    figures = {
        **{key: len(names) for key, names in counted.items()},
        **{
            f"files_for_a_new_{kind}": None if plugged is None else 1 + len(plugged[kind])
            for kind in plug_ins.KINDS
        },
        "help_seconds": round(help_seconds(options.help_runs), 3),
        "median_file_lines": int(statistics.median(lengths)),
        "max_function_lines": max(graph.function_lines().values()),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
