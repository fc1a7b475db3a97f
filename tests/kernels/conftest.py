"""Tests of the C++ kernels run them, whatever implementation the rest of the suite is told to use."""

import pytest


@pytest.fixture(autouse=True)
def _default_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SZILARD_KERNELS", raising=False)
