"""The table of what the native backend does for each function of torch; :mod:`szilard.deploy.native.rules` fills it."""

from __future__ import annotations

from szilard.networks.function_rules import FunctionRules

RULES = FunctionRules("a native kernel of", "choose another backend, such as onnx")
