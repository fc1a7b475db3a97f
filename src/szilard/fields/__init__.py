"""Fields of climate and weather in zarr, with a hard bound on the error of every value.

Needs ``pip install 'szilard[field]'``. Importing it adds ``.szilard`` to datasets and arrays of xarray.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from szilard.errors import SzilardError

for _needed in ("zarr", "numcodecs", "xarray", "dask"):
    if importlib.util.find_spec(_needed) is None:
        raise SzilardError(f"szilard.fields needs {_needed}; install it with: pip install 'szilard[field]'")

from szilard.fields import accessor  # noqa: E402

if TYPE_CHECKING:
    from szilard.fields.accessor import DataArrayFields, DatasetFields
    from szilard.fields.checked import Checked, CheckedVariable
    from szilard.fields.checking import check
    from szilard.fields.inspecting import Inspected, InspectedVariable, inspect
    from szilard.fields.numcodecs_codec import NumcodecsField
    from szilard.fields.progress import Progress
    from szilard.fields.writing import write
    from szilard.fields.written import Written, WrittenVariable
    from szilard.fields.zarr_codec import ZarrField

__all__ = [
    "Checked",
    "CheckedVariable",
    "DataArrayFields",
    "DatasetFields",
    "Inspected",
    "InspectedVariable",
    "NumcodecsField",
    "Progress",
    "Written",
    "WrittenVariable",
    "ZarrField",
    "check",
    "inspect",
    "write",
]

_HOMES = {
    "Checked": "checked",
    "CheckedVariable": "checked",
    "DataArrayFields": "accessor",
    "DatasetFields": "accessor",
    "Inspected": "inspecting",
    "InspectedVariable": "inspecting",
    "NumcodecsField": "numcodecs_codec",
    "Progress": "progress",
    "Written": "written",
    "WrittenVariable": "written",
    "ZarrField": "zarr_codec",
    "check": "checking",
    "inspect": "inspecting",
    "write": "writing",
}

accessor.register()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"szilard.fields.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'szilard.fields' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
