"""The Python examples in the documentation and the README run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
]


#: Packages of extras that a page may import.
EXTRAS = {
    "onnxruntime": ("onnx", "onnxruntime", "onnxscript"),
    "szilard.fields": ("xarray", "dask", "zarr", "numcodecs"),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_code_block_runs(block, tmp_path, monkeypatch, request):
    for word, needed in EXTRAS.items():
        for package in needed if word in block else ():
            pytest.importorskip(package)
    if "onnx" in block:
        request.getfixturevalue("one_registry")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "page", "exec"), {"__name__": "page"})


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in navigation, page


def test_docstrings_become_markdown(monkeypatch):
    griffe = pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from docstring_extension import Docstrings

    module = griffe.Module("pack")
    function = griffe.Function("load", parent=module)
    module.set_member("load", function)
    function.docstring = griffe.Docstring(
        "As :func:`load` of :mod:`~other.place`::\n\n    load()\n\nArgs:\n"
        "    start, stop: range of\n        its bytes.\n    size (int): one.\n\nReturns:\n    a, b: text",
        parent=function,
    )
    Docstrings().on_package(pkg=module)
    assert function.docstring.value == (
        'As <autoref identifier="pack.load" optional><code>load</code></autoref> of '
        '<autoref identifier="other.place" optional><code>place</code></autoref>:\n\n    load()\n\nArgs:\n'
        "    start: range of\n        its bytes.\n    stop: range of\n        its bytes.\n    size (int): one.\n\n"
        "Returns:\n    a, b: text"
    )
