"""Untrusted text is printed on one line, with control, bidirectional and invisible characters escaped."""

from __future__ import annotations

import warnings

import pytest

from szilard import spreadsheet
from szilard.cli import figures
from szilard.errors import SzilardError, SzilardWarning, printable, shortened

HOSTILE = {
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]8;;http://x\x07y": r"\x1b]8;;http://x\x07y",
    "two\nlines\r\n": r"two\nlines\r\n",
    "tab\tnul\x00del\x7f": r"tab\tnul\x00del\x7f",
    "\x9b31m": r"\x9b31m",
    "a\u202egpj.exe": r"a\u202egpj.exe",
    "a\u2066b\u2069": r"a\u2066b\u2069",
    "ze\u200bro\u200d\ufeff": r"ze\u200bro\u200d\ufeff",
    "line\u2028par\u2029": r"line\u2028par\u2029",
    "half\ud800pair": r"half\ud800pair",
    "blank\u3164\u2800": r"blank\u3164\u2800",
    "tag\U000e0041": r"tag\U000e0041",
}
PLAIN = ["", "cat", "λ → Größe", "猫", "C:\\new\\table", "a b", "😀", "it's 5 % [red]", "$x$ <b>"]


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert str(SzilardError(f"{text} is wrong")) == f"{shown} is wrong"
    assert str(SzilardWarning(text)) == shown


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_is_unchanged(text):
    assert printable(text) == text


def test_every_unicode_character():
    """A second call changes nothing, and no control, format, surrogate or separator character is left."""
    import unicodedata

    text = "".join(map(chr, range(0x110000)))
    shown = printable(text)
    assert printable(shown) == shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


def test_long_text_is_shortened_in_the_middle():
    assert shortened("a" * 50 + "b" * 50, 11) == "aaaaa…bbbbb"
    assert shortened("abc", 3) == "abc"
    assert len(printable("\x1b" * 100, 20)) == 20
    assert len(str(SzilardError("x" * 10**6 + "; do this"))) == 2000
    assert str(SzilardError("x" * 10**6 + "; do this")).endswith("; do this")


def test_a_warning_is_one_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("of\nclass \x1b[2J", SzilardWarning, stacklevel=1)
    assert str(caught[0].message) == r"of\nclass \x1b[2J"


@pytest.mark.parametrize(
    "name", [*HOSTILE, "[red]x[/red]", "[/]", "[link=http://x]y[/link]", "[bold", ":smile:", "x" * 10**5]
)
def test_a_table_prints_names_literally(capsys, name):
    cost = {"macs": {"value": 1000, "source": name}}
    figures.print_rows([{"name": name, "quality": {"nll": 0.5}, "cost": cost}], f"{name}, test set")
    lines = capsys.readouterr().out
    shown = printable(name, 200)
    assert shown[:50] in lines
    assert f"{shown[:50]}" in lines.splitlines()[0]
    assert not set(lines) & set("\x1b\x07\x00\r\u202e\u200b\ud800\t")


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-1-1", "'-1-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1+1", "' =1+1"),
        ("\u00a0=1+1", "'\u00a0=1+1"),
        ("＝1+1", "'＝1+1"),
        ("＋1+1", "'＋1+1"),
        ("﹣1-1", "'﹣1-1"),
        ("-", "'-"),
        ("\t=1+1", r"\t=1+1"),
        ("\r=1+1", r"\r=1+1"),
        ("\u200b=1+1", r"\u200b=1+1"),
        ("-0x10", "'-0x10"),
        ("-1_0", "'-1_0"),
        ("-inf", "'-inf"),
        ("-1", "-1"),
        ("+1.5e-3", "+1.5e-3"),
        ("-.5", "-.5"),
        ("cat", "cat"),
        ("ankle boot", "ankle boot"),
        ("a-b=c", "a-b=c"),
        ("a;=1+1", '"a;=1+1"'),
        ("a,=1+1", '"a,=1+1"'),
        ('say "=1"', '"say ""=1"""'),
        ("two\n=lines", r"two\n=lines"),
        ("", ""),
    ],
)
def test_no_label_is_a_spreadsheet_formula(label, shown):
    assert spreadsheet.cell(label) == shown
