"""Look up the installed versions of szilard's dependencies among the known vulnerabilities of PyPI.

    make audit

It queries pypi.org for each version with ``pip-audit``. Exit codes: 0 if all packages were looked up and no
vulnerability is known, 1 if one is known, 3 if a package could not be looked up (pypi.org is not reachable, or a
mirror without vulnerability data is configured): then the audit has shown nothing.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def needed(name: str = "szilard") -> dict[str, str]:
    """Installed versions of a package's dependencies, recursively, without optional ones."""
    found: dict[str, str] = {}
    left = [name]
    while left:
        for line in importlib.metadata.requires(left.pop()) or ():
            if "extra ==" in line:
                continue
            other = re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-")
            if other in found:
                continue
            try:
                found[other] = importlib.metadata.version(other)
            except importlib.metadata.PackageNotFoundError:  # not for this platform
                continue
            left.append(other)
    return dict(sorted(found.items()))


def report(answer: list[dict[str, Any]], asked: int) -> tuple[int, list[str]]:
    """The exit code, and lines to print.

    Args:
        answer: pip-audit's JSON output: ``vulns`` or a ``skip_reason`` for each package.
        asked: number of packages in the query.
    """
    lines = [
        f"{package['name']} {package['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'none'}"
        for package in answer
        for one in package.get("vulns", ())
    ]
    looked_up = sum("vulns" in package for package in answer)
    if lines:
        return 1, [
            *lines,
            f"{len(lines)} known vulnerabilities; {looked_up} of {asked} packages were looked up",
        ]
    if looked_up < asked:
        return 3, [f"only {looked_up} of {asked} packages could be looked up: pypi.org cannot be reached"]
    return 0, [f"no vulnerability is known for these {asked} packages"]


def main() -> None:
    versions = needed()
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "requirements.txt"
        # A build such as 2.13.0+cpu is known to PyPI by its public version.
        lines.write_text("".join(f"{name}=={version.split('+')[0]}\n" for name, version in versions.items()))
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--requirement", str(lines), *options],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        answer = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr[-2000:], file=sys.stderr)
        answer = []
    code, lines = report(answer, len(versions))
    print("\n".join(lines))
    sys.exit(code)


if __name__ == "__main__":
    main()
