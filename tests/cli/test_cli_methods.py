"""``szilard methods``."""

from __future__ import annotations

import json

import pytest
from cli_tools import szilard
from test_cli_help import loaded
from test_cli_json import check, documented, run

from szilard import catalogue, methods, signatures
from szilard.catalogue import METHODS, PASSES

NAMES = [entry.name for package in (METHODS, PASSES) for entry in catalogue.entries(package)]


def test_every_method_and_pass_has_one_line():
    lines = szilard("methods").output.splitlines()
    for package in (METHODS, PASSES):
        for entry in catalogue.entries(package):
            assert [line.split() for line in lines].count([entry.name, *entry.summary.split()]) == 1


def test_listing_imports_nothing_heavy():
    """Checks imports rather than seconds, which would depend on the machine."""
    output = loaded(
        "from szilard.__main__ import main\nsys.argv = ['szilard', 'methods']\n"
        "try: main()\nexcept SystemExit as ended: assert not ended.code"
    )
    assert "variational-dropout" in output
    assert output.endswith("loaded []\n")


@pytest.mark.parametrize("name", NAMES)
def test_the_options_of_an_entry_are_printed(name):
    typed = szilard("methods", name)
    assert typed.code == 0, typed.output
    found = run("methods", name)
    check(found, documented("szilard methods", 1))
    for option in found["options"]:
        check(option, documented("szilard methods", 2))
        assert option["meaning"] in typed.output
        assert f"\n{option['name']} " in typed.output


def test_only_options_that_have_an_effect_are_listed():
    found = {one["name"]: one for one in run("methods", "deterministic")["options"]}
    assert set(found) == {
        name for name in methods.options("deterministic") if methods.uses("deterministic", name)
    }
    assert "temperature" not in found
    assert found["density"]["default"] == 1.0
    assert [one.default for one in methods.describe("sparse-deterministic") if one.name == "density"] == [
        0.05
    ]
    assert signatures.REQUIRED not in [one.default for one in methods.describe("ssvi")]


def test_json_of_the_lists():
    found = run("methods")
    check(found, documented("szilard methods"))
    for entries in found.values():
        for one in entries:
            check({**one, "options": []}, documented("szilard methods", 1))
    assert [one["name"] for one in (*found["methods"], *found["passes"])] == NAMES
    assert json.dumps(found)


def test_defaults_are_shown_in_the_syntax_of_the_command_line():
    assert "\ndense_stem = true\n" in szilard("methods", "ssvi").output
    assert "\nalphas = 1.0, 0.5\n" in szilard("methods", "refit").output
    assert "\nquantise (required)\n" in szilard("methods", "refit").output
    assert "\nthreshold = (not set)\n" in szilard("methods", "bayesian-compression").output


def test_an_unknown_name_is_refused():
    szilard("methods", "svvi").refused("no method or pass 'svvi', perhaps ssvi; szilard methods lists all")
    szilard("methods", "zzzzz\x1b").refused(r"no method or pass 'zzzzz\\x1b'; szilard methods lists all")
