"""Standard output that is not UTF-8, and input files that must not be overwritten."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from szilard.cli import figures, output
from szilard.errors import SzilardError


def pipe(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")


def written(stream):
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_table_is_printed_in_every_encoding(encoding, monkeypatch):
    stream = pipe(encoding)
    monkeypatch.setattr(output, "stream", lambda: stream)
    output.say("accuracy ↑  NLL ↓\n────  93.5–97.6  日本")
    text = written(stream)
    expected = "accuracy ^  NLL v\n----  93.5-97.6  ??"
    if encoding == "utf-8":
        expected = "accuracy ↑  NLL ↓\n────  93.5–97.6  日本"
    if encoding == "cp1252":
        expected = expected.replace("93.5-97.6", "93.5–97.6")  # cp1252 has the en dash
    assert text == expected + "\n"


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["ascii", "latin-1", "cp1252", "utf-8"]))
def test_encodable_characters_are_unchanged(text, encoding):
    found = output.encodable(text, pipe(encoding))
    found.encode(encoding)
    assert len(found) == len(text)
    for original, shown in zip(text, found, strict=True):
        try:
            original.encode(encoding)
        except UnicodeEncodeError:
            assert shown != original
        else:
            assert shown == original


def test_data_are_refused_rather_than_replaced(monkeypatch):
    stream = pipe("latin-1")
    monkeypatch.setattr(output, "stream", lambda: stream)
    output.say_data("Käse\n")
    with pytest.raises(
        SzilardError, match="standard output is in latin-1, which has no '日'; write a file with --out"
    ):
        output.say_data("日本\n")
    assert written(stream) == "Käse\n"


def test_an_input_file_is_not_overwritten(tmp_path):
    path, code = tmp_path / "a.csv", tmp_path / "net.py"
    path.write_text("a\n1\n")
    code.write_text("")
    (tmp_path / "link.csv").symlink_to(path)
    output.refuse_inputs(None, path)
    output.refuse_inputs(tmp_path / "new.csv", path, None, "digits")
    for out, original in ((path, path), (path, tmp_path / "link.csv"), (code, f"{code}:build")):
        with pytest.raises(
            SzilardError, match="is a file that this command reads; name another file with --out"
        ):
            output.refuse_inputs(out, None, original)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.123e-9, "5.12e-09"),
        (0.00423, "0.00423"),
        (0.5, "0.500"),
        (449.16, "449.2"),
        (306412.7, "306413"),
        (0.0, "0.000"),
    ],
)
def test_quantities_of_any_size_are_shown_with_enough_digits(value, text):
    assert figures.QUALITY["rmse"].show(value) == text
