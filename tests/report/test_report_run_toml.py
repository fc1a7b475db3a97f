"""An invalid run.toml is refused with one line."""

from __future__ import annotations

import pytest
from cli_tools import szilard


def succeeds(*arguments) -> bool:
    """Whether a command succeeds; if not, checks that it prints one line."""
    typed = szilard(*arguments)
    assert not set(typed.output) & set("\x1b\x00\u202e\u200b\ud800"), typed.output
    if typed.code:
        typed.refused("")
    return typed.code == 0


TOML = {
    "methods": ["3", "[3]", '"ssvi"', '["ssvi", "ssvi"]', '["../../x"]', '["/etc"]', '["svi"]', "[[]]", "{}"],
    "data": ["3", "[]", '{name = 3}', '{name = ["x"]}', '{seed = 99999999999999999999}', '{split = 1.5}', '{root = 3}',
             '{task = "poetry"}', '{n_train = "9"}', '{download = true}', '{name = "a\\u0000.npz"}',
             '{name = "~nobody-of-that-name/a.csv"}', '{seed = 1979-05-27}'],
    "network": ["3", '{spec = 3}', '{spec = "\\u001b[2J"}', '{spec = ""}'],
    "fit": ["3", '{epochs = "x"}', '{epochs = 99999999999999999999}', '{lr = nan}', '{lr = inf}', '{lr = 1e999}',
            '{batch_size = 99999999999999999999}',
            '{samples = -1}', '{checkpoint_seconds = nan}', '{precision = "[red]"}',
            '{augment = "\\u202e"}', '{lr = ' + "9" * 500 + "}", '{seed = ' + "9" * 5000 + "}", "{epochs = [1]}"],
    "method": ["3", '{ssvi = 3}', '{ssvi = {density = "x"}}', '{ssvi = {density = [1]}}', '{ssvi = {every = -1}}',
               '{ssvi = {density = nan}}', '{ssvi = {name = "x"}}', '{"../x" = {}}', '{ssvi = {n_data = 3}}'],
    "x": ["[" * 10**5, "1", '"' + "x" * (2 << 20) + '"', "\x00", "2020-13-45"],
}  # fmt: skip


@pytest.mark.parametrize("key", TOML)
def test_an_invalid_run_toml_is_refused(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    for value in TOML[key]:
        rest = "" if key == "methods" else 'methods = ["ssvi"]\n'
        (tmp_path / "run.toml").write_text(f"{rest}{key} = {value}\n")
        assert not succeeds("fit", "run.toml", "--out", "out", "--quiet"), value
        assert [path.name for path in tmp_path.iterdir()] == ["run.toml"], value
