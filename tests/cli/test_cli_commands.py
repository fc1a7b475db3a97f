"""Commands are found by their file names, and an option has the same declaration in every command."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections import defaultdict

import pytest
from cli_tools import environment, szilard
from typer.main import get_command

from szilard.cli import app, command_files, commands

COMMANDS = command_files.find()
#: Options whose meaning differs between commands.
OWN_MEANING = {
    "density",
    "one_pass",
    "data",
    "network",
    "method",
    "task",
    "out",
    "samples",
    "seed",
    "batch",
    "threads",
    "noisy",
    "target",
    "time",
    "resume",
    "overwrite",
}


def test_all_commands_are_found():
    assert {
        "fit",
        "measure",
        "predict",
        "report",
        "compress",
        "convert",
        "decode",
        "deploy",
        "encode",
        "inspect",
        "verify",
        "solve",
        "stream",
    } <= set(COMMANDS)
    assert list(get_command(app).commands) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_header_read_from_the_source_equals_that_of_the_command(name):
    command = COMMANDS[name]
    command.read_header()
    loaded = command.load()
    assert loaded.name == name
    assert inspect.cleandoc(loaded.help).split("\n\n")[0] == command.help
    assert loaded.rich_help_panel == command.rich_help_panel
    assert "Examples" in loaded.epilog


def test_help_lists_every_command_once_by_group(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = szilard("--help").output.splitlines()
    groups = [found[1] for line in lines if (found := re.match(r"╭─ (\w+) ─", line))]
    assert groups == ["Options", *command_files.GROUPS]
    listed = [found[1] for line in lines if (found := re.match(r"│ ([a-z]+)  ", line))]
    assert sorted(listed) == sorted(COMMANDS)


def test_help_imports_no_command():
    code = (
        "import sys\nfrom szilard.__main__ import main\nsys.argv = ['szilard', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('imported', [name for name in sys.modules if name.startswith('szilard.cli.commands')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("imported []\n")


def test_a_new_file_adds_a_command(tmp_path, monkeypatch):
    (tmp_path / "count_words.py").write_text(
        'GROUP = "Look"\nEXAMPLES = ("szilard count-words",)\n\n\n'
        'def count_words(text: str, twice: bool = False) -> None:\n    """Count words.\n\n    In a text.\n    """\n'
        "    from szilard.cli import output\n\n    output.say(str(len(text.split()) * (1 + twice)))\n"
    )
    (tmp_path / "_helper.py").write_text("no command")
    monkeypatch.setattr(command_files, "_FOLDER", tmp_path)
    monkeypatch.setattr(commands, "__path__", [str(tmp_path)])
    assert "count-words  Count words." in szilard("--help").output
    assert szilard("count-words", "a b", "--twice").stdout == "4\n"
    assert "In a text." in szilard("count-words", "-h").output
    szilard("count-word").refused("there is no command 'count-word', perhaps count-words")


@pytest.mark.parametrize(
    "source",
    [
        'def some():\n    """Do it."""\n',
        'GROUP = "Look"\ndef some(): pass\n',
        'GROUP = "Else"\ndef some():\n    """Do it."""\n',
        'GROUP = "Look"\ndef another():\n    """Do it."""\n',
    ],
)
def test_a_command_without_group_or_help_is_refused(tmp_path, source):
    path = tmp_path / "some.py"
    path.write_text(source)
    with pytest.raises(
        ValueError, match=r"some\.py needs GROUP, one of Train, Compress, Run, Look, and a function"
    ):
        command_files.CommandFile(path).read_header()


def test_an_option_is_declared_once():
    texts = defaultdict(set)
    for command in COMMANDS.values():
        for param in command.load().params:
            if param.param_type_name == "option" and param.name not in OWN_MEANING:
                texts[param.name].add((param.help, param.metavar, tuple(param.opts), repr(param.default)))
    assert {name: found for name, found in texts.items() if len(found) > 1} == {}


def test_every_option_has_a_help_text():
    for name, command in COMMANDS.items():
        for param in command.load().params:
            assert param.help, (name, param.name)
