"""Signatures of paths in files: was a path written by this user's own commands on this machine, or by another person?

A saved network and a ``run.toml`` can name Python code that builds the network, and data files. Code would be run and
data read, so both are used only if they are *trusted*: the user says so (``--trust``), or the names have a signature
made with a key that is stored only in this user's config folder. A signature is an HMAC-SHA256 of the path; it shows
who wrote the name, and does not cover the content of the named file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from szilard import networks
from szilard.data import names as data_set_names
from szilard.data.files import squash
from szilard.run.settings import Settings

_KEY_BYTES = 32
_OTHER_SPELLINGS = ("fashion", "wine")


def sign_network(spec: str | None) -> str | None:
    """The signature of a spec that names code; None for other specs, or if there is no key."""
    return _sign("network", spec) if spec is not None and networks.is_code(spec) else None


def knows_network(spec: str, signature: str | None) -> bool:
    """Whether :func:`sign_network` of this user made the signature. A spec that names no code needs none."""
    return not networks.is_code(spec) or _verify("network", spec, signature)


def sign_data(source: Mapping[str, Any]) -> str | None:
    """The signature of the paths among the arguments of :func:`szilard.data.load`; None if there are none."""
    paths = data_paths(source)
    return _sign("data", _text(paths)) if paths else None


def knows_data(source: Mapping[str, Any], signature: str | None) -> bool:
    """Whether :func:`sign_data` of this user made the signature. Arguments without paths need none."""
    paths = data_paths(source)
    return not paths or _verify("data", _text(paths), signature)


def sign_settings(settings: Settings) -> str | None:
    """The signature of all paths in a ``run.toml``: of its network's code and of its data; None if there are none."""
    paths = _settings_paths(settings)
    return _sign("run", _text(paths)) if paths else None


def knows_settings(settings: Settings) -> bool:
    """Whether :func:`sign_settings` of this user made the signature in them. Settings without paths need none."""
    paths = _settings_paths(settings)
    return not paths or _verify("run", _text(paths), settings.signature)


def _settings_paths(settings: Settings) -> dict[str, str]:
    spec = settings.network.spec
    return data_paths(dataclasses.asdict(settings.data)) | ({"spec": spec} if networks.is_code(spec) else {})


def data_paths(source: Mapping[str, Any]) -> dict[str, str]:
    """The arguments of :func:`szilard.data.load` that are paths: a root, and a name that is not a known data set."""
    known = {squash(name) for name, _ in data_set_names()} | set(_OTHER_SPELLINGS)
    found = {}
    name, root = source.get("name"), source.get("root")
    if name is not None and (squash(str(name)) not in known or Path(str(name)).suffix):
        found["name"] = str(name)
    if root is not None:
        found["root"] = str(root)
    return found


def absolute_network(spec: str | None) -> str | None:
    """The spec with the absolute path of its file, if it names one."""
    if spec is None or not networks.is_code(spec):
        return spec
    file, _, function = spec.rpartition(":")
    return f"{_absolute(file)}:{function}"


def absolute_data(source: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`szilard.data.load` with absolute paths."""
    return {**source, **{key: _absolute(path) for key, path in data_paths(source).items()}}


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _text(paths: Mapping[str, str]) -> str:
    return json.dumps(paths, sort_keys=True)


def _sign(what: str, text: str) -> str | None:
    key = _key(make=True)
    return None if key is None else _digest(key, what, text)


def _verify(what: str, text: str, signature: str | None) -> bool:
    if not isinstance(signature, str) or not signature.isascii():
        return False
    key = _key(make=False)
    return key is not None and hmac.compare_digest(_digest(key, what, text), signature)


def _digest(key: bytes, what: str, text: str) -> str:
    message = f"szilard {what}\0{text}".encode(errors="surrogatepass")
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _folder() -> Path:
    """``$XDG_CONFIG_HOME/szilard``, or ``~/.config/szilard``."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or "")
    return (base if base.is_absolute() else Path("~/.config").expanduser()) / "szilard"


def _key(*, make: bool) -> bytes | None:
    """This user's key, or None: it does not exist and cannot be made, or other users can read it."""
    try:
        path = _folder() / "key"
        if make and not path.exists():
            _make(path)
        with open(path, "rb") as file:
            state = os.fstat(file.fileno())
            if os.name == "posix" and (state.st_uid != os.getuid() or state.st_mode & 0o077):
                return None
            key = file.read(_KEY_BYTES + 1) if stat.S_ISREG(state.st_mode) else b""
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None
    return key if len(key) == _KEY_BYTES else None


def _make(path: Path) -> None:
    """Write a new key atomically; if two processes do this, the first key is kept."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".key.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
