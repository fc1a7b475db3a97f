"""Each field of each file of a run, replaced by invalid values, gives a page, a note or an error of one line."""

from __future__ import annotations

import copy
import json
import os
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from cli_tools import szilard
from report_folders import change, classification, regression

from szilard import report
from szilard.cli import figures
from szilard.errors import SzilardError
from szilard.run import read
from szilard.run import result as results
from szilard.run.folder import MethodFolder

HUGE = int("9" * 400)
ODD = [
    None, True, -1, 0, 1.5, 1e308, -1e308, 5e-324, HUGE, float("nan"), float("inf"), "", "x" * 10**5, "[red]x[/red]",
    "<script>alert(1)</script>", "\x1b[2J\n\ud800\u202e", "$\\frac{", "../../x", [], [[]], [1, "a"], {}, {"value": {}},
    {"value": HUGE, "source": []}, {"value": -5, "source": "\x1b"}, "{{ 1 + 1 }}",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        "classification": classification(folder / "c", ("ssvi", "deterministic")),
        "regression": regression(folder / "r"),
    }


class Page(HTMLParser):
    """The element names, event attributes and script links of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.found |= {name for name, _ in attrs if name.startswith("on") or name == "srcdoc"}
        self.found |= {value[:11] for _, value in attrs if value and value.startswith("javascript:")}


def page_of(run) -> str:
    """The page; checks that it is safe to open."""
    html = report.write(run).read_text(encoding="utf-8")
    assert not Page(html).found & {"script", "iframe", "javascript:", "object", "embed", "base", "form"}
    assert not [name for name in Page(html).found if name.startswith("on")]
    assert not set(html) & set("\x1b\x00\u202e\u200b\ud800")
    assert len(html) < 1 << 20
    return html


def places(value, path=()):
    """The paths of all values in nested dicts and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


def table_of(run) -> None:
    """Print the table of a run; checks that an error is one line."""
    try:
        figures.show([run])
    except SzilardError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_schema_accepts_valid_fields_and_rejects_invalid_ones(runs, task):
    whole = json.loads((runs[task] / "ssvi" / "result.json").read_text())
    found, wrong = results.check(whole)
    assert not wrong
    assert found == whole
    for path in places(whole):
        for odd in ODD:
            try:
                found, wrong = results.check(replaced(whole, path, odd))
            except ValueError:
                assert path in ((), ("test",))
                continue
            again, still = results.check(found)
            assert (again, still) == (found, [])  # accepted values are valid


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_result_with_one_invalid_field(runs, tmp_path, task, monkeypatch):
    """All fields with all readers; the figures, which are slow, with some of the values."""
    from szilard.report import sections

    run = shutil.copytree(runs[task], tmp_path / "run")
    path = run / "ssvi" / "result.json"
    whole = json.loads(path.read_text())
    with monkeypatch.context() as patch:
        for name in ("predictions", "posteriors", "uncertain_by_method"):
            patch.setattr(sections, name, lambda run: [])
        patch.setattr(sections, "training", lambda run: sections.Section("", "", []))
        for number, place in enumerate(places(whole)):
            for odd in (ODD[number % len(ODD)], "<b onload=x>\x1b"):
                path.write_text(json.dumps(replaced(whole, place, odd)))
                report.table(run)
                table_of(run)
                if number % 16 == 0:
                    page_of(run)
    hostile = {"classes": ["<script>", "\x1b"] * 3, "name": "<script>x</script>"}
    hostile["density"] = {"<i onload=x>\u202e$_{": 0.5}
    path.write_text(json.dumps(whole | hostile))
    page_of(run)


RAW = [
    b"", b"null", b"[]", b"3", b'"x"', b"{", b"\xff\xfe", b"\x00" * 100, b"[" * 10**5, b'{"a":' * 10**5, b"1e999",
    b"9" * 10**5, b'{"test": {}, "test": {}}', b'{"test": {"nll": 1e999}}', b'{"test": NaN}', b'{"test": {"nll": NaN}}',
    b'{"test": {}, "name": "\\ud800"}', b"\xef\xbb\xbf{}", b'{"test": {}}' + b" " * (40 << 20),
]  # fmt: skip


@pytest.mark.parametrize("content", RAW, ids=lambda content: content[:12].decode("latin-1"))
def test_an_invalid_result_file(runs, tmp_path, content):
    run = shutil.copytree(runs["classification"], tmp_path / "run")
    (run / "ssvi" / "result.json").write_bytes(content)
    report.table(run)
    table_of(run)


@pytest.mark.parametrize("content", RAW, ids=lambda content: content[:12].decode("latin-1"))
def test_an_invalid_line_of_the_log(runs, tmp_path, content):
    run = shutil.copytree(runs["regression"], tmp_path / "run")
    path = run / "ssvi" / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + content + b"\n" + b"".join(lines[1:]))
    assert len(read.read(run).methods[0].history) in (0, 3)
    with pytest.raises(SzilardError, match=r"metrics\.jsonl"):
        MethodFolder(run / "ssvi").history()


def epoch(**changes):
    line = {
        "kind": "epoch",
        "epoch": 1,
        "step": 8,
        "seconds": 0.5,
        "energy": 1.0,
        "valid": {"nll": 0.5},
    } | changes
    return {key: value for key, value in line.items() if value is not ...}


def test_the_log_lines_of_a_resumed_run(tmp_path):
    folder = MethodFolder(tmp_path)
    good = [epoch(), epoch(epoch=2, step=16, energy=None), epoch(epoch=3, step=24, valid=None)]
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in good) + '{"epoch": 4, "st')
    assert folder.history() == good  # the incomplete last line is ignored
    assert folder.rewind(16) == good[:2]
    assert folder.history() == good[:2]
    for odd in (..., None, "8", [], {}, True, -1, float("nan"), float("inf")):
        for key in ("epoch", "step", "seconds"):
            before = (
                json.dumps(epoch())
                + "\n"
                + json.dumps(epoch(**{key: odd}))
                + "\n"
                + json.dumps(epoch())
                + "\n"
            )
            folder.metrics.write_text(before)
            with pytest.raises(
                SzilardError, match=r"line 2 of .*metrics\.jsonl is not a line of a training log"
            ):
                folder.rewind(100)
            assert folder.metrics.read_text() == before


@pytest.mark.skipif(os.name != "posix", reason="named pipes and sparse files")
@pytest.mark.parametrize("file", ["run.toml", "ssvi/result.json", "ssvi/metrics.jsonl", "ssvi/arrays.npz"])
def test_paths_that_are_not_regular_files_or_are_too_large(runs, tmp_path, file):
    run = shutil.copytree(runs["classification"], tmp_path / "run")
    path = run / file

    def pipe():
        os.mkfifo(path)

    def hole():
        with open(path, "wb") as written:
            written.truncate(10 << 30)

    for make in (pipe, path.mkdir, hole, lambda: path.symlink_to(path), lambda: path.symlink_to("/dev/zero")):
        path.rmdir() if path.is_dir() else path.unlink()
        make()
        assert [note for note in read.read(run).notes if path.name in note]
        table_of(run)
    page_of(run)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reliability_edges", np.linspace(0, 1, 10**6)),
        ("reliability_count", np.array(10)),
        ("reliability_accuracy", np.full(15, 1e308)),
        ("test_labels", np.array(3)),
        ("test_labels", np.array(["a"] * 100)),
        ("test_mean_probabilities", np.array([["a"] * 3] * 100)),
        ("test_mean_probabilities", np.zeros((100, 3), np.complex64)),
        ("test_max_probability", np.array(["1e999"])),
        ("risk_coverage_risk", np.full(100, np.inf)),
        ("uncertain_images", np.zeros((10**5, 2, 2), np.float32)),
        ("uncertain_images", np.zeros((16, 2000, 2000), np.uint8)),
        ("uncertain_images", np.zeros((16, 1, 1, 1, 1))),
        ("uncertain_true", np.full(16, np.nan)),
        ("uncertain_true", np.full(16, 2**62)),
        ("uncertain_probability", np.full(16, np.inf)),
        ("weight_names", np.array(["<script>\x1b[2J", "$\\frac\u202e"])),
        ("weight_names", np.array(3.0)),
        ("log_std_start_0", np.full(30, 1e308)),
        ("snr_end_0", np.full(30, -np.inf)),
    ],
)  # fmt: skip
def test_invalid_arrays(runs, tmp_path, name, value, monkeypatch):
    """The figures of training are left out, because they read no arrays."""
    from szilard.report import sections

    monkeypatch.setattr(sections, "training", lambda run: sections.Section("", "", []))
    run = shutil.copytree(runs["classification"], tmp_path / "run")
    change(run, "ssvi", **{name: value})
    assert "Quality and cost" in page_of(run)


def test_very_many_layers_and_epochs(runs, tmp_path):
    run = shutil.copytree(runs["classification"], tmp_path / "run")
    path = run / "ssvi" / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"density": {f"layer {i}": 0.5 for i in range(2000)}}))
    log = run / "ssvi" / "metrics.jsonl"
    log.write_text("".join(json.dumps(epoch(epoch=i, free_energy=1.0 + i % 7)) + "\n" for i in range(10_000)))
    assert "the first 400 of 2000" in page_of(run)


def test_method_names_cannot_leave_the_run_folder(runs, tmp_path):
    run = shutil.copytree(runs["classification"], tmp_path / "run")
    shutil.copytree(run / "ssvi", tmp_path / "secret")
    text = (run / "run.toml").read_text()
    (run / "run.toml").write_text(text.replace('"ssvi"', '"ssvi", "../secret"'))
    assert "secret" not in [row.key for row in report.table(run)]
    typed = szilard("report", run)
    typed.refused("names an unknown method '../secret'")
