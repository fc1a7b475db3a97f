"""The file benchmark: how a file is chosen and reported; every section runs on a small network."""

import copy
import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

import model_file
from common.measured import Measured
from files import (
    ablation,
    along_lambda,
    coder_speed,
    contest,
    nncodec_grid,
    nncodec_rows,
    our_files,
    plain_files,
    predicted_loss,
    pretrained,
)
from files.accuracy import drop_error, mcnemar, pack, unpack
from files.choose import bytes_at, smallest_good
from files.coded import Coded, digest
from files.contest import Row
from files.judge import Entry, Judge
from files.nncodec_peer import completed
from szilard.compression import Curvature
from szilard.data.dataset import Split
from szilard.errors import SzilardError


@pytest.fixture(scope="module")
def case():
    """Two convolutions with BatchNorm on images of noise, judged by agreement with the original network."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    with torch.no_grad():
        network(torch.randn(64, 3, 8, 8))
    images = torch.randint(
        0, 256, (6000, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    train, test = (Split(x, torch.zeros(len(x), dtype=torch.long)) for x in (images[:5600], images[5600:]))
    source = pretrained.Source("noise", train, test, (0.5,) * 3, (0.25,) * 3)
    return pretrained.make_case("small", network, source, measure="agreement")


@pytest.fixture(scope="module")
def loss(case):
    return ablation.Loss(case.network, case.report.x[:100])


def entry(case, name, n_bytes, noise):
    state = dict(case.network.state_dict())
    generator = torch.Generator().manual_seed(n_bytes)
    state["3.weight"] = state["3.weight"] + noise * torch.randn(state["3.weight"].shape, generator=generator)
    return Entry(name, {"bytes": n_bytes}, lambda: Coded(n_bytes, state, 1.0, 0.5))


# -- choosing a file ------------------------------------------------------------------------------------


def test_the_smallest_good_file_is_chosen_and_bad_ones_are_not_fully_measured():
    drops = {90: 8.0, 100: 6.0, 120: 0.7, 130: 0.4, 140: 0.6, 150: 0.1}
    asked = []

    def drop(index, count):
        asked.append((index, count))
        return drops[sizes[index]]

    sizes = [140, 90, 130, 150, 100, 120]
    assert smallest_good(sizes, drop, 0.5) == sizes.index(130)
    assert (sizes.index(90), None) not in asked
    assert smallest_good([90, 100], lambda i, n: 7.0, 0.5) is None


def test_bytes_where_a_noisy_curve_crosses():
    assert bytes_at([2.0, 1.0, 0.0], [100, 200, 400], 0.5) == pytest.approx(200 * 2**0.5)
    assert bytes_at([2.0, 1.0], [100, 200], 0.5) is None


def test_the_row_of_the_chosen_file(case):
    judge = Judge(case, Measured())
    entries = [entry(case, "peer", 300, 10.0), entry(case, "peer", 500, 1e-4), entry(case, "peer", 700, 0.0)]
    row = contest.chosen("peer", judge, entries)
    assert (row.n_bytes, row.candidates) == (500, 3)
    assert row.chosen_drop <= contest.limit(judge) == contest.MAX_DISAGREEMENT
    assert row.score == pytest.approx(100 - row.drop)
    assert contest.chosen("peer", judge, entries[:1]) is None


def test_measurements_are_cached(case, tmp_path):
    path = tmp_path / "measured.jsonl"
    first = contest.row_of("peer", Judge(case, Measured(path)), entry(case, "peer", 400, 0.1))

    def refuse():
        raise AssertionError("coded again")

    again = contest.row_of("peer", Judge(case, Measured(path)), Entry("peer", {"bytes": 400}, refuse))
    assert again == first


# -- accuracies -----------------------------------------------------------------------------------------


def test_packed_bits_are_unpacked_unchanged():
    bits = np.random.default_rng(0).random(1003) < 0.5
    assert np.array_equal(unpack(pack(bits), 1003), bits)


def test_mcnemar_and_the_error_of_a_drop():
    before, after = np.ones(100, bool), np.ones(100, bool)
    assert (mcnemar(before, after), drop_error(before, after)) == (1.0, 0.0)
    after[:5] = False
    assert mcnemar(before, after) == pytest.approx(2 / 2**5)
    assert drop_error(before, after) == pytest.approx(100 * np.sqrt(0.05 * 0.95 / 100))


# -- other compressors ----------------------------------------------------------------------------------


def test_the_nncodec_grid_has_no_duplicates():
    code = None  # never called: nothing is encoded here
    for entries in (nncodec_grid.tuned(code), nncodec_grid.defaults(code), nncodec_grid.rated(code)):
        texts = [json.dumps(one.options, sort_keys=True) for one in entries]
        assert len(texts) == len(set(texts)) > 30
    assert all(set(one.options) == {"form", "qp"} for one in nncodec_grid.defaults(code))
    assert nncodec_grid.described(nncodec_grid.tuned(code)[0]) == "qp -30, nonweight_qp -75, bnf"


def test_rows_of_nncodec_are_stored_by_network(tmp_path):
    path = tmp_path / "nncodec.jsonl"
    row = Row(nncodec_rows.TUNED, {"qp": -23}, 100, 0.4, 91.0, 0.5, 0.2, 0.1, 1.0, 0.3, 204)
    nncodec_rows.keep("a", [row], path)
    nncodec_rows.keep("b", [row, row], path)
    nncodec_rows.keep("a", [row], path)
    assert nncodec_rows.kept("a", path) == [row]
    assert len(nncodec_rows.kept("b", path)) == 2
    assert json.loads(path.read_text().splitlines()[0])["versions"]["nncodec"] == "2.1.3"


def test_the_stored_rows_of_nncodec_keep_the_allowed_drop():
    rows = {row.name: row for row in nncodec_rows.kept("resnet20")}
    assert rows[nncodec_rows.TUNED].n_bytes <= rows[nncodec_rows.DEFAULT].n_bytes
    for name in (nncodec_rows.TUNED, nncodec_rows.DEFAULT):
        assert rows[name].chosen_drop <= contest.MAX_DROP


def test_a_folded_file_becomes_a_state_dict_of_the_same_function(case):
    original = case.network.state_dict()
    norm = case.network[1]
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()
    decoded = {k: v for k, v in original.items() if not k.startswith("1.")}
    decoded["0.weight"] = original["0.weight"] * slope[:, None, None, None]
    decoded["0.weight.bias"] = norm.bias - slope * norm.running_mean
    whole = completed(original, decoded)
    folded = copy.deepcopy(case.network)
    folded.load_state_dict(whole, strict=True)
    x = case.report.x[:10]
    with torch.no_grad():
        torch.testing.assert_close(folded(x), case.network(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(SzilardError, match="does not hold"):
        completed(original, {})


def test_float32_under_zstd_is_the_network_itself(case):
    pytest.importorskip("zstandard")
    pytest.importorskip("safetensors")
    state = case.network.state_dict()
    coded = plain_files.float32_zstd(state)
    assert digest({name: coded.state[name] for name in state}) == digest(state)


# -- sections -------------------------------------------------------------------------------------------


def test_the_rows_of_szilard_describe_its_files(case, monkeypatch):
    module = sys.modules["szilard.compression.preparation"]
    monkeypatch.setattr(module, "imagine", lambda net, shape, seed, scale: torch.randn(64, *shape))
    judge = Judge(case, Measured())
    rows, found = our_files.rows(judge, True, lambda text: None, model_file.quick_passes)
    names = [our_files.NAME, our_files.PROMISED, our_files.DATA_FREE, our_files.POINT]
    assert [row.name for row in rows] == names
    assert rows[0].n_bytes == len(found.data)
    assert rows[0].chosen_drop <= contest.MAX_DISAGREEMENT
    assert rows[0].read_seconds >= 0  # rounded to milliseconds, so it may be 0
    table = contest.body([row.to_json() for row in rows], our_files.NAME)
    assert table[0][2] == "1.000"


def test_every_coder_is_measured():
    generator = np.random.default_rng(0)
    matrices = [
        generator.integers(-3, 4, (8, 30)).astype(np.int32),
        generator.integers(-1, 2, (4, 9)).astype(np.int32),
    ]
    rows = coder_speed.measure(matrices, budget=0.0)
    assert {"adaptive, Python", "static tables", "constriction, one model"} <= {row["name"] for row in rows}
    assert all(row["encode"] > 0 and row["decode"] > 0 and 1 < row["bits"] < 8 for row in rows)
    assert all(len(line) == len(coder_speed.COLUMNS) for line in coder_speed.body(rows))


def test_each_ablation_removes_its_part(case):
    draft = ablation.canonical(case)
    known = ablation.measured(draft.network, case.calibration)
    assert set(known) == set(ablation.layers(draft.network))
    for name, flat in ablation.one_scale(known).items():
        assert flat.outputs.unique().numel() == 1
        assert flat.outputs.mean().item() == pytest.approx(known[name].outputs.mean().item())
    for name, loose in ablation.no_feedback(known).items():
        assert torch.equal(loose.inputs[0], known[name].inputs[0].diagonal())
    scaled = {n: Curvature(3 * c.inputs, 5 * c.outputs, c.offset) for n, c in known.items()}
    for name, same in ablation.levelled(scaled, known).items():
        assert torch.allclose(3 * same.outputs, known[name].outputs)
    plain = ablation.incoherent(draft.network, case.calibration, known)
    assert torch.allclose(
        plain["8.weight"].inputs, known["8.weight"].inputs, rtol=1e-4
    )  # a linear layer has a single position
    assert not torch.allclose(plain["3.weight"].inputs, known["3.weight"].inputs, rtol=1e-3)


def test_every_variant_reports_its_bytes_at_equal_loss(case, loss):
    rows = ablation.measure(case, loss, 1e-6, True, lambda text: None)
    assert rows[0]["name"] == ablation.WHOLE
    assert rows[0]["change"] == 0
    assert all(row["bytes"] > 0 for row in rows)
    assert all(len(line) == len(ablation.COLUMNS) for line in ablation.body(rows))


def test_bytes_at_a_loss_on_a_power_law():
    points = [(int(1000 / 2**i), 0.01 * 4**i) for i in range(3)]
    assert ablation.bytes_at(points, 0.02) == pytest.approx(1000 / 2**0.5, rel=1e-3)


def test_predicted_losses_are_close_to_measured_ones(case, loss):
    found = predicted_loss.measure(case, loss, (0.1, 0.2), lambda text: None)
    assert len(found["points"]) == 2 * 3
    assert found["r"] > 0.8
    assert 0.3 < found["median_ratio"] < 3
    assert all(len(line) == len(predicted_loss.COLUMNS) for line in predicted_loss.body(found))


def test_bytes_decrease_with_lambda(case, loss):
    rows = along_lambda.measure(case, loss, 1e-6, 3, lambda text: None)
    assert rows[2]["lam"] == pytest.approx(2 * rows[0]["lam"])
    assert rows[0]["bytes"] > rows[2]["bytes"]
    assert rows[0]["free_energy"] == pytest.approx(rows[0]["kl"] + 8 * rows[0]["lam"] * rows[0]["bytes"])
    assert not along_lambda.monotone(rows[::-1])
    assert all(len(line) == len(along_lambda.COLUMNS) for line in along_lambda.body(rows))
