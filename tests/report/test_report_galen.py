"""The page of a compression policy: bars, plots, the table of sensitivity, and hostile names."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from found_policies import found, trials
from torch import nn

from szilard.compression.policies import found_page, sensitivity_curves
from szilard.compression.policies.sensitivity import Sensitivity
from szilard.compression.policies.space import Decision, Space
from szilard.report import galen_page, galen_plots
from szilard.report.galen_page import Alone, GalenView, LayerBar
from szilard.report.galen_plots import Curve, Points

pytestmark = pytest.mark.pictures("galen_plots")


@pytest.fixture(scope="module")
def page():
    return found_page.html(found(nn.Linear(1, 1)), "net.onnx")


def svgs(page: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.S)]


def test_the_page_has_all_parts(page):
    headings = re.findall(r"<h[23]>(.*?)</h", page)
    assert headings == [
        "The policy", "What was tried", "Every policy that was tried", "Sensitivity", "One pool of channels alone",
        "Replay",
    ]  # fmt: skip
    assert "Latency 396 µs instead of 1.00 ms, measured: 39.6\xa0% of the original&#39;s." in page
    assert "Accuracy 97.20\xa0% instead of 98.00\xa0%." in page
    assert "<dt>error of the table</dt><dd>2.3 %</dd>" in page
    assert "name = &#34;conv3&#34;" in page  # the policy file
    assert not re.search(r"(src|href)=\"(?!#)", page)  # nothing is loaded


def test_bars_are_shares_of_the_widest_layer(page):
    bars = re.findall(r'<span class="bar"><i style="width: ([\d.]+)%"></i><b style="width: ([\d.]+)%">', page)
    assert bars[:3] == [("50.00", "25.00"), ("50.00", "25.00"), ("100.00", "50.00")]
    assert "<td>8 of 16</td>" in page
    assert "whole: its outputs are those of the network" in page
    bits = bars[4:]  # of the weights and inputs of the last layer
    assert bits == [("100", "25.00"), ("100", "25.00")]


def test_the_table_of_sensitivity(page):
    rows = re.findall(r'<th scope="row">(\w+)</th>\n(.*?)</tr>', page.split("<h2>Sensitivity")[1], re.S)
    cells = {name: re.findall(r'width: ([\d.]+)%"></b></span><span>(.*?)</span>', row) for name, row in rows}
    assert cells["conv1"] == [("100.00", "0.11"), ("40.00", "0.0004")]
    assert cells["conv3"] == [("27.27", "0.03"), ("2.00", "&lt; 0.0001")]
    assert cells["fc"] == [("0.00", "–"), ("100.00", "0.001")]


def test_plots_are_valid_and_named(page):
    labels = [one.get("aria-label") for one in svgs(page)]
    assert labels == ["KL against latency of 40 policies", "KL by share of channels of conv1, conv3"]


def test_the_frontier_is_what_no_other_policy_beats():
    cost, nats = [0.5, 0.3, 0.4, 0.4, 0.9], [0.1, 0.5, 0.2, 0.6, 0.3]
    assert galen_plots._front(cost, nats) == [(0.3, 0.5), (0.4, 0.2), (0.5, 0.1)]


def test_the_best_so_far_counts_policies_that_meet_the_target():
    points = Points([0.9, 0.4, 0.39, 0.38], [0.001, 0.5, 0.7, 0.2], [None] * 4)
    plot = galen_plots.best_so_far(points, 0.4)
    assert plot is not None
    assert galen_plots.best_so_far(points, 0.1) is None  # none meets it
    assert galen_plots.best_so_far(Points([0.4, 0.4], [0.1, 0.2], [None] * 2), 0.4) is None  # nothing to see
    missed = Points([0.4, 0.4], [0.3, 0.1], [None, 0.45])  # the better one is slower than predicted
    assert galen_plots.best_so_far(missed, 0.4) is None


def test_infinite_and_zero_kl_can_be_drawn():
    points = Points([0.9, 0.5, 0.4], [0.0, math.inf, 0.1], [None, None, 0.42])
    assert galen_plots.frontier(points, None, None, "latency") is not None
    assert galen_plots.sensitivity([Curve("a", [1, 0.5, 0.25], [0, math.inf, 0.3])], "channels") is not None
    assert galen_plots.sensitivity([Curve("a", [1, 0.5], [0, 0])], "channels") is not None


def test_half_of_the_channels_is_the_closest_option():
    space = Space(
        (
            Decision("a", "channels", ("a",), (8, 6, 4, 2)),
            Decision("b", "channels", ("b",), (10, 9)),
            Decision("b", "bits", ("b",), ((32, 32), (8, 8), (8, 32), (4, 32), (2, 32))),
        ),
        {"a": ("a",), "b": ("b",)},
    )
    measured = Sensitivity(space, ((0.0, 0.1, 0.2, 0.3), (0.0, 0.4), (0.0, 0.5, 0.6, 0.7, math.inf)), 256)
    assert sensitivity_curves.alone(measured) == [Alone("a", 0.2, None), Alone("b", None, 0.5)]
    assert sensitivity_curves.of_channels(measured)[0] == Curve("a", [1, 0.75, 0.5, 0.25], [0, 0.1, 0.2, 0.3])
    assert sensitivity_curves.of_bits(measured) == [Curve("b", [8, 4, 2], [0.6, 0.7, math.inf])]


def test_a_page_of_sensitivity_alone_leaves_the_rest_out():
    view = GalenView(
        "Sensitivity",
        "net.pt",
        alone=[Alone("<b>&", 0.2)],
        channels=[Curve("<b>&", [1, 0.5], [0, 0.2])],
        examples=256,
    )
    page = galen_page.render(view)
    assert re.findall(r"<h2>(.*?)</h", page) == ["Sensitivity"]
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page
    assert "on 256 inputs" in page
    assert len(svgs(page)) == 1


def test_hostile_names_and_a_replayed_policy():
    name = "</td><script>alert(1)</script>"
    view = GalenView("Policy", name, layers=[LayerBar(name, 1, 2, 8, 8, name)], notes=[name])
    page = galen_page.render(view)
    assert "<script" not in page
    replayed = found_page.html(
        found(nn.Linear(1, 1), trials=(), sensitivity=None, target=math.inf), "net.onnx"
    )
    assert re.findall(r"<h2>(.*?)</h", replayed) == ["The policy", "Replay"]


def test_every_policy_is_in_the_frontier():
    view = found_page.view(found(nn.Linear(1, 1)), "net.onnx")
    assert list(view.points.nats) == [trial.kl for trial in trials()]
    assert view.target == pytest.approx(0.4)
    assert view.final == (pytest.approx(0.396), 0.0312)
