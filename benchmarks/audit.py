"""Look up the packages that szilard needs, as they are installed here, among the known vulnerabilities of PyPI.

    make audit

It asks pypi.org about each version, by ``pip-audit``. Where that cannot be reached, this says so and ends with 3:
nothing has been looked up then. It ends with 1 if a vulnerability is known.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

UNREACHABLE = (
    "ConnectionError",
    "ServiceError",
    "Could not reach",
    "Max retries",
    "timed out",
    "Failed to resolve",
    "HTTPError",
)


def needed(name: str = "szilard") -> dict[str, str]:
    """Versions of a package's dependencies and of theirs, without optional ones, as they are installed."""
    found: dict[str, str] = {}
    left = [name]
    while left:
        for line in importlib.metadata.requires(left.pop()) or ():
            if "extra ==" in line:
                continue
            other = re.match(r"[A-Za-z0-9._-]+", line)[0].lower()  # type: ignore[index]
            if other in found:
                continue
            try:
                found[other] = importlib.metadata.version(other)
            except importlib.metadata.PackageNotFoundError:  # not for this platform
                continue
            left.append(other)
    return dict(sorted(found.items()))


def main() -> None:
    versions = needed()
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "requirements.txt"
        # A build such as 2.13.0+cpu is known to PyPI by its public version.
        lines.write_text("".join(f"{name}=={version.split('+')[0]}\n" for name, version in versions.items()))
        command = [
            "-m",
            "pip_audit",
            "--requirement",
            str(lines),
            "--no-deps",
            "--disable-pip",
            "--progress-spinner",
            "off",
        ]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    if done.returncode and any(word in done.stderr for word in UNREACHABLE):
        print(
            f"nothing was looked up: pypi.org cannot be reached from here ({len(versions)} packages)",
            file=sys.stderr,
        )
        sys.exit(3)
    print(f"{len(versions)} packages were looked up")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
