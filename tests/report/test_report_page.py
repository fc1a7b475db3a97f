"""The report of a complete run: all parts are present, it is safe to open, and needs no network."""

import base64
import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from report_folders import change, classification, posterior, regression

from szilard import report
from szilard.report import weights
from szilard.run.read import read

pytestmark = pytest.mark.pictures

VOID = {"meta", "img", "br", "line", "use", "path", "rect"}


@pytest.fixture
def run(tmp_path):
    return classification(tmp_path / "run <1> & more")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The page of an unchanged run, shared by tests because drawing it is slow."""
    return text_of(classification(tmp_path_factory.mktemp("page") / "run <1> & more"))


class Tags(HTMLParser):
    """Checks that tags are nested correctly."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def text_of(run):
    page = report.write(run)
    assert page == run / "report.html"
    return page.read_text(encoding="utf-8")


def test_all_parts_are_present(run):
    html = text_of(run)
    for heading in (
        "mlp on digits", "Quality and cost", "Calibration of the probabilities", "Out-of-distribution detection",
        "The most uncertain inputs", "Free energy F", "= expected loss", "+ T/N · divergence", "Validation NLL",
        "Validation accuracy", "Density per layer", "Risk–coverage curve: error", "Signal to noise", "run.toml",
    ):  # fmt: skip
        assert heading in html, heading
    for kind in ("counted", "estimated", "measured"):
        assert f"cost, {kind}" in html
    # 3 reliability, risk, 3 ood, 5 curves, density, 2 methods with ln σ and signal to noise
    assert html.count("<svg viewBox") == 17
    assert html.count('src="data:image/png;base64,') == 3 * 16
    assert list(run.glob("*.html*")) == [run / "report.html"]


def test_names_of_users_are_escaped(html):
    assert "&lt;b&gt;zero&lt;/b&gt;" in html
    assert "<b>zero" not in html
    assert "run &lt;1&gt; &amp; more" in html
    assert "<1>" not in html


def test_names_in_figures_are_escaped_and_are_not_formulas(run):
    change(run, "ssvi", weight_names=np.array(["<script>alert(1)</script>", "$\\frac{$"]))
    path = run / "ssvi" / "result.json"
    path.write_text(path.read_text().replace('"first"', '"<i>$x_{$"'))
    html = text_of(run)
    assert "<script" not in html
    assert "<i>" not in html
    assert "&lt;i&gt;$x_{$" in html
    assert "cannot be drawn" not in html


def test_the_page_is_well_formed(html):
    parser = Tags()
    parser.feed(html)
    assert parser.open == []


def test_the_page_loads_nothing_from_the_network(html):
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert not re.findall(r"url\((?!#)", html)
    assert "<script" not in html
    assert "@import" not in html


def test_ids_are_unique_and_all_references_exist(html):
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names)) > 100
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', html)) <= set(names)


def test_every_colour_comes_from_the_page(html):
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", html))
    light, dark = html.index(":root"), html.index("prefers-color-scheme: dark")
    assert {"--ink", "--m0", "--m1", "--m2"} <= used
    for name in used - {"--serif", "--sans"}:
        assert f"{name}:" in html[light:dark], name
        assert f"{name}:" in html[dark:], name
    drawings = "".join(re.findall(r"<svg viewBox.*?</svg>", html, re.S))
    assert not re.findall(r"#(?!000000|ffffff)[0-9a-f]{6}\b", drawings)


def test_the_same_folder_gives_the_same_page(run, html):
    assert text_of(run) == html


def test_images_show_the_inputs(html):
    from matplotlib.image import imread

    first = re.search(r'src="data:image/png;base64,([^"]+)"', html)[1]
    pixels = imread(io.BytesIO(base64.b64decode(first)))
    assert pixels.shape[:2] == (4, 4)
    np.testing.assert_allclose(pixels[..., 0], np.linspace(0, 1, 256)[:16].reshape(4, 4), atol=1 / 255)


@pytest.mark.usefixtures("undrawn")
def test_images_may_have_colours(run):
    change(run, "ssvi", uncertain_images=np.full((16, 3, 5, 5), 0.5))
    assert text_of(run).count('src="data:image/png;base64,') == 3 * 16


def test_matplotlib_keeps_its_settings_and_pyplot_is_not_imported(run):
    import matplotlib

    before = dict(matplotlib.rcParams)
    imported = "matplotlib.pyplot" in sys.modules
    text_of(run)
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == imported


def test_a_change_of_sigma_is_reported(html):
    assert html.count("median |Δ ln σ| = 1.00 nats") == 2
    assert "−2.00 → −3.00" in html
    assert "hardly moved" not in html


@pytest.mark.usefixtures("undrawn")
def test_an_unchanged_sigma_is_reported(run):
    change(run, "ssvi", **posterior(end_at=-2.01))
    assert "median |Δ ln σ| = 0.01 nats: σ has hardly moved" in text_of(run)


def test_entries_of_a_dense_weight_are_compared_one_by_one(run):
    a, b = np.array([-1.0, -2.0, -3.0]), np.array([-1.5, -2.5, -3.5])
    for key in ("ssvi", "mean-field"):
        change(run, key, log_std_start_0=a, log_std_end_0=b)
    by_key = {m.key: weights.posterior(m).weights[0] for m in read(run).finished if m.key != "deterministic"}
    assert by_key["mean-field"].moved == pytest.approx(0.5)
    assert by_key["ssvi"].moved == pytest.approx(0.5)  # from the median: |-1.5+2|, |-2.5+2|, |-3.5+2|
    np.testing.assert_allclose(by_key["ssvi"].change, [0.5, 0.5, 1.5])
    np.testing.assert_allclose(by_key["mean-field"].change, [0.5, 0.5, 0.5])


def test_regression_shows_error_bars_instead_of_reliability(tmp_path):
    html = text_of(regression(tmp_path / "run"))
    assert "Calibration of the intervals" in html
    assert "contain 90.0\u00a0% of 50 targets" in html
    assert "Risk–coverage curve: RMSE" in html
    assert "Validation RMSE" in html
    assert "Reliability" not in html
    assert "Vertical axis: % of inputs" not in html
