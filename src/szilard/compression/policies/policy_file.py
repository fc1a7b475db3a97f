"""A policy as a TOML file, which a person can read and edit, and which replays it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from szilard import bounded
from szilard.compression.policies.policy import FLOAT, LayerPolicy, Policy
from szilard.errors import SzilardError, printable, shortened

SUFFIX = ".policy.toml"  #: of the file beside a compressed network
_MOST = 1 << 22  # bytes of a file
_LETTERS = 80  # of a name, in messages
_BITS = (*range(2, 9), FLOAT)
_ADVICE = "name a policy file that szilard compress --search galen wrote"
_KEYS = {"name": str, "channels": int, "weight_bits": int, "activation_bits": int}
_NEEDED = ("name", "channels")
_HEAD = """\
# Compression policy: output channels, and bits of weights and of inputs (32: float), of every layer.
# 0 channels of the layer inside of a branch of a residual sum: the branch goes, with its last layer.
# Edit it if you like; szilard compress NETWORK --policy THIS_FILE makes the network again.

"""


def to_toml(policy: Policy) -> str:
    """The content of a policy file.

    Raises:
        SzilardError: the name of a layer is no Unicode text, which TOML cannot hold.
    """
    rows = []
    for layer in policy.layers:
        try:
            layer.name.encode()
        except UnicodeEncodeError as error:
            raise SzilardError(
                f"the layer {layer.name!r} has a name that no text file can hold; rename it"
            ) from error
        rows.append("[[layers]]\n" + tomli_w.dumps({key: getattr(layer, key) for key in _KEYS}))
    return _HEAD + "\n".join(rows)


def read(path: Path | str) -> Policy:
    """The policy in a file.

    Raises:
        SzilardError: no such file, not an ordinary file, too large, not TOML, or not a policy: keys that are missing or
            unknown, values of another type or out of range, or a layer that is named twice.
    """
    path = Path(path)
    written = bounded.read(path, _MOST, _ADVICE)
    try:
        content = tomllib.loads(written.decode("utf-8"))
    except RecursionError as error:
        raise SzilardError(f"{path} is nested too deeply for a policy; fix it") from error
    except ValueError as error:  # not TOML, not UTF-8, a number of thousands of digits
        raise SzilardError(f"{path} is not TOML: {printable(str(error), 200)}; fix it") from error
    for key in content:
        if key != "layers":
            raise SzilardError(f"{path} has an unknown key {_shown(key)}; a policy has [[layers]] alone")
    layers = content.get("layers")
    if not isinstance(layers, list) or not layers:
        raise SzilardError(f"{path} has no [[layers]]; {_ADVICE}")
    found: dict[str, LayerPolicy] = {}
    for number, given in enumerate(layers, 1):
        layer = _layer(f"layer {number} in {path}", given)
        if layer.name in found:
            raise SzilardError(f"{path} has the layer {_shown(layer.name)} twice; remove one")
        found[layer.name] = layer
    return Policy(tuple(found.values()))


def _layer(where: str, given: Any) -> LayerPolicy:
    if not isinstance(given, dict):
        raise SzilardError(f"{where} is {_shown(given)}, and not a table; write [[layers]] above it")
    for key in _NEEDED:
        if key not in given:
            raise SzilardError(f"{where} has no {key}; add it")
    for key, value in given.items():
        if key not in _KEYS:
            raise SzilardError(f"{where} has an unknown key {_shown(key)}; known: {', '.join(_KEYS)}")
        kind = _KEYS[key]
        if type(value) is not kind:
            what = "text" if kind is str else "a whole number"
            raise SzilardError(f"{where} has {key} = {_shown(value)}; write {what}")
        if key.endswith("bits") and value not in _BITS:
            raise SzilardError(f"{where} has {key} = {_shown(value)}; write 2 to 8, or 32 for float")
    if given["channels"] < 0:
        raise SzilardError(f"{where} keeps {_shown(given['channels'])} channels; write 0 or more")
    named = [key for key in ("weight_bits", "activation_bits") if key in given]
    if len(named) == 1:
        other = "activation_bits" if named[0] == "weight_bits" else "weight_bits"
        raise SzilardError(f"{where} has {named[0]} and no {other}; write both, or none for floats")
    return LayerPolicy(**given)


def _shown(value: Any) -> str:
    """A value from the file, for a message."""
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**_LETTERS:
        return "a number of many digits"  # Python refuses to write some of them
    return shortened(repr(value), _LETTERS)
