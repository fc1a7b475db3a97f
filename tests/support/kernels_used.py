"""A mark for tests of what happens only where the C++ kernels are in use."""

from __future__ import annotations

import os

import pytest

from szilard.kernels import native

needs_kernels = pytest.mark.skipif(
    not native.available() or os.environ.get("SZILARD_KERNELS", "") not in ("", "cpp"),
    reason="the C++ kernels are not used",
)
