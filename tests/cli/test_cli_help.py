"""--help, --version and imports: fast and complete."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_tools import environment, szilard

import szilard as package
from szilard import data, methods, networks

#: Modules that take half a second or more to import; --help must not import them.
HEAVY = (
    "torch", "numpy", "scipy", "sklearn", "matplotlib", "torchmetrics", "lightning_fabric", "lightning", "jinja2",
    "constriction", "PIL", "dask", "zarr", "netCDF4",
)  # fmt: skip


def loaded(code: str) -> str:
    """The output of a process that runs ``code`` and then prints which of the heavy modules are loaded."""
    listed = f"print('loaded', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{listed}"],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_imports_nothing_heavy():
    """Checks imports rather than seconds, which would depend on the machine."""
    output = loaded(
        "from szilard.__main__ import main\nsys.argv = ['szilard', 'fit', '--help']\n"
        "try: main()\nexcept SystemExit as ended: assert not ended.code"
    )
    assert "Examples" in output
    assert output.endswith("loaded []\n")


@pytest.mark.parametrize("module", ["szilard", "szilard.cli"])
def test_importing_loads_nothing_heavy(module):
    assert loaded(f"import {module}") == "loaded []\n"


def test_public_names_load_only_torch_and_numpy():
    names = ", ".join(f"szilard.{name}" for name in package.__all__)
    assert loaded(f"import szilard\n{names}") == "loaded ['torch', 'numpy']\n"


def test_the_package_lists_its_public_names():
    for name in package.__all__:
        assert getattr(package, name) is not None, name
    assert dir(package) == package.__all__
    with pytest.raises(AttributeError, match="no attribute 'fot'"):
        package.fot  # noqa: B018
    from szilard.training import fit, measure

    assert package.fit is fit
    assert package.measure is measure


def test_help_lists_every_data_set_network_and_method(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    typed = szilard("fit", "--help")
    assert typed.code == 0
    words = typed.output
    for name, _ in data.names():
        assert name in words, name
    for name in methods.names():
        assert name in words, name
    for name in ("mlp", "lenet5", "resnet20"):
        assert name in words
        assert any(name == known for known, _ in networks.names())


@pytest.mark.parametrize("command", ["fit", "measure", "predict", "report", "encode", "decode"])
def test_every_command_has_examples(command):
    typed = szilard(command, "--help")
    assert typed.code == 0
    assert "Examples" in typed.output
    assert f"szilard {command} " in typed.output


def test_version():
    assert szilard("--version").output.startswith(f"szilard {package.__version__} (kernels: ")


def test_an_unknown_option_is_named():
    typed = szilard("fit", "--epoch", "3")
    assert typed.code == 2
    assert "--epoch" in typed.output
    assert "Traceback" not in typed.output
