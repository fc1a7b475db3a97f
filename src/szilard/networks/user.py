"""A network from the user's Python file."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from szilard.errors import OwnCodeError, SzilardError


def from_file(spec: str, **known: Any) -> nn.Module:
    """The network that a function (or class) of a Python file returns.

    Args:
        spec: ``path/file.py:function``. The file is **run**, as by ``python file.py``; it can import modules of its
            folder.
        known: ``input_shape`` and ``n_outputs`` of the data set, passed as keywords if the function takes them.

    Raises:
        SzilardError: no such file or function, an exception in either, or a result that is not an nn.Module.
    """
    file, _, name = spec.rpartition(":")
    function = _function(_module(Path(file).expanduser()), name, file)
    network = _call(function, spec, known)
    if not isinstance(network, nn.Module):
        raise SzilardError(f"{spec} returned {type(network).__name__}; it must return a torch.nn.Module")
    return network


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        raise SzilardError(f"{path} does not exist; name a network as path/file.py:function")
    path = path.resolve()
    name = f"szilard_user_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise SzilardError(f"{path} is not a Python file; name a network as path/file.py:function")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickle look up a class's module here
    sys.path.insert(0, str(path.parent))
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise OwnCodeError(f"{path} raises {_quoted(error)} when it is run; fix it first") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _function(module: ModuleType, name: str, file: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if callable(function):
        return function
    known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    close = get_close_matches(name, known, 1)
    hint = f"perhaps {close[0]!r}" if close else f"it has {', '.join(known) or 'none'}"
    raise SzilardError(f"{file} has no function {name!r}; {hint}")


def _call(function: Callable[..., Any], spec: str, offered: dict[str, Any]) -> Any:
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    taken = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    wanted = [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    unknown = [name for name in wanted if name not in offered]
    if unknown:
        raise OwnCodeError(
            f"{spec} needs {', '.join(unknown)}, but only {' and '.join(offered) or 'nothing'} "
            f"{'is' if len(offered) < 2 else 'are'} given; add defaults"
        )
    try:
        return function(**{key: value for key, value in offered.items() if takes_any or key in taken})
    except SzilardError:
        raise
    except (Exception, SystemExit) as error:
        given = " and ".join(f"{key}={value}" for key, value in offered.items())
        known = f" when it is given {given}" if given else ""
        raise OwnCodeError(f"{spec} raises {_quoted(error)}{known}; fix it first") from error


def _quoted(error: BaseException) -> str:
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
