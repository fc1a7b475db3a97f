"""The process that :mod:`szilard.cost.fresh_process` starts; it imports nothing that its job does not import."""

from __future__ import annotations

import importlib
import json
import os
import sys

from szilard.errors import OwnCodeError, SzilardError


def run() -> None:
    """Read the job on standard input, call it, and print its value or its error."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function and its libraries print
    job, arguments = json.loads(sys.stdin.read())
    module, _, function = job.partition(":")
    try:
        reply = {"value": getattr(importlib.import_module(module), function)(**arguments)}
    except SzilardError as error:
        reply = {"error": str(error), "own": isinstance(error, OwnCodeError)}
    with answer:
        json.dump(reply, answer)
