"""Networks as ONNX files: outputs are those of torch, for any batch, and files hold no weight twice."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch
from deploy_networks import bayesian, differences, inputs
from torch import nn

import szilard
from szilard import SzilardError, bayes, deploy, networks

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("one_registry")
CLOSE = 1e-4


def compare(network, x, backend="onnx", batches=(1, 2, 10, 100), **settings):
    """Compile for a backend and for torch, and compare both at several batch sizes."""
    wanted = deploy.compile(network, x[: settings.get("batch") or 3], backend="eager", **settings)
    found = deploy.compile(network, x[: settings.get("batch") or 3], backend=backend, **settings)
    for size in batches:
        worst = differences(found(x[:size]), wanted(x[:size]))
        assert max(worst.values()) < CLOSE, (size, worst)
    return found


@pytest.mark.parametrize(
    ("density", "mode"),
    [(1.0, "point"), pytest.param(1.0, "moments", marks=pytest.mark.slow), (0.3, "moments")],
)
def test_an_mlp_gives_the_same_for_any_batch(density, mode):
    found = compare(bayesian(density=density), inputs(100), mode=mode)
    assert found.batch is None
    assert (found(inputs(3)).epistemic > 0).all() == (mode == "moments")


@pytest.mark.parametrize("mode", ["samples", "ensemble"])
def test_draws_and_ensembles_are_one_graph(mode):
    network = (
        bayesian()
        if mode == "samples"
        else [networks.build("mlp:16", (1, 8, 8), 4, seed=s).eval() for s in (0, 1, 2)]
    )
    settings = {"samples": 4} if mode == "samples" else {}
    found = compare(network, inputs(5), mode=mode, batch=5, batches=(5,), **settings)
    assert found(inputs(5)).epistemic.max() > 1e-4


def test_regression_with_noise():
    network = networks.WithNoise(networks.build("mlp:16", (6,), 1), 1)
    found = compare(szilard.bayesianize(network).eval(), inputs(10, (6,)), batches=(1, 10), task="regression")
    assert found(inputs(10, (6,))).answer.shape == (10,)


def test_several_labels():
    found = compare(bayesian(outputs=3), inputs(10), batches=(1, 10), task="multilabel")
    assert found(inputs(10)).answer.shape == (10, 3)


@pytest.mark.slow
@pytest.mark.parametrize("density", [1.0, 0.2])
@pytest.mark.parametrize("mode", ["point", "moments", "samples", "ensemble"])
@pytest.mark.parametrize("spec", ["mlp", "lenet5", "resnet20", "resnet20-b"])
def test_every_network(spec, mode, density):
    if mode == "ensemble" and density != 1.0:
        pytest.skip("members of an ensemble are compiled as dense networks")
    shape = (1, 16, 16)
    network = bayesian(spec, shape, 10, density)
    given = [network, bayesian(spec, shape, 10)] if mode == "ensemble" else network
    batch = 4 if mode in ("samples", "ensemble") else None
    sizes = (4,) if batch else (1, 10)
    samples = 3 if mode == "samples" else None
    compare(given, inputs(10, shape), mode=mode, batches=sizes, batch=batch, samples=samples)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["point", "moments"])
@pytest.mark.parametrize("spec", ["mlp:16", "lenet5"])
def test_inductor(spec, mode):
    shape = (1, 12, 12)
    compare(bayesian(spec, shape), inputs(10, shape), "inductor", (1, 2, 10), mode=mode)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file of a network with moments: path, compiled network."""
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    metadata = {"preprocessing": '{"scale": 255}'}
    labels = ["cat", "dog", "bird", "fish"]
    network = bayesian("mlp:64")
    return (
        path,
        network,
        deploy.compile(network, inputs(2), backend="onnx", path=path, labels=labels, metadata=metadata),
    )


def test_a_file_is_opened_again_with_what_it_says(written):
    path, _, compiled = written
    opened = deploy.load(path)
    assert (opened.shape, opened.batch, opened.mode, opened.dtype) == (
        (1, 8, 8),
        None,
        "moments",
        torch.float32,
    )
    assert opened.labels == ("cat", "dog", "bird", "fish")
    assert opened.metadata["preprocessing"] == '{"scale": 255}'
    assert opened.metadata["szilard.uncertainty"] == "mutual information over draws of the logits"
    for name in ("answer", "aleatoric", "epistemic", "mean", "variance"):
        assert torch.equal(getattr(opened(inputs(7)), name), getattr(compiled(inputs(7)), name))


def test_a_file_holds_mean_and_variance_once(written):
    path, network, _ = written
    weights = sum(weight.mean.numel() for weight in bayes.weights(network).values())
    wanted = 4 * 2 * weights  # bytes
    assert wanted < path.stat().st_size < wanted + 30_000  # operations and the points of the rule


def test_derived_second_moments_are_those_of_torch(written):
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(written[0])
    names = [node.output[0] for node in model.graph.node if node.output[0].endswith(".second")]
    assert names
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for name in names:
        base = name.removesuffix(".second")
        nodes = [node for node in model.graph.node if node.output[0] in (f"{name}.square", name)]
        graph = onnx.helper.make_graph(
            nodes, "g", [onnx.helper.make_tensor_value_info(f"{base}.{p}", 1, None) for p in ("mean", "variance")],
            [onnx.helper.make_tensor_value_info(name, 1, None)],
        )  # fmt: skip
        given = {f"{base}.{part}": stored[f"{base}.{part}"] for part in ("mean", "variance")}
        (found,) = ReferenceEvaluator(onnx.helper.make_model(graph)).run(None, given)
        mean, variance = (torch.from_numpy(value.copy()) for value in given.values())
        assert torch.equal(torch.from_numpy(found), mean.square() + variance)


def test_a_file_names_no_place_of_this_machine(written):
    content = written[0].read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_exporting_again_is_silent_leaves_logging_as_it_was_and_gives_the_same_file(written, tmp_path, capfd):
    path, network, compiled = written
    logger = logging.getLogger("torch.onnx")
    logger.setLevel(logging.DEBUG)
    filters = list(warnings.filters)
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            deploy.compile(
                network, inputs(2), backend="onnx", path=tmp_path / "again.onnx", labels=list(compiled.labels),
                metadata={"preprocessing": '{"scale": 255}'},
            )  # fmt: skip
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(logging.NOTSET)
        logging.getLogger().removeHandler(handler)
    assert warnings.filters == filters
    assert not caught
    assert not records
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


class MeanInside(nn.Module):
    """A network with values that an exporter calls "mean" and "variance" as the outputs of this package."""

    def forward(self, x):
        mean = x.mean(2)
        return torch.cat([mean.mean(1), x.flatten(1)[:, :2]], 1)


def test_values_inside_with_the_names_of_outputs():
    found = compare(MeanInside().eval(), inputs(10), batches=(1, 10), mode="point")
    assert b"mean.inner" in found.run.content  # the exporter did use the name


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_an_operation_without_a_translation_is_named():
    with pytest.raises(
        SzilardError, match=r"exporter has no translation of prims\.bessel_j0; choose backend native"
    ):
        deploy.compile(nn.Sequential(nn.Linear(3, 2), Bessel()).eval(), torch.ones(2, 3), backend="onnx")


def test_a_posterior_of_normalisation_fixes_no_batch_size():
    torch.manual_seed(0)
    channels = 4
    plain = nn.Sequential(
        nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(channels, 3),
    ).eval()  # fmt: skip
    posterior = {
        name: (value.detach(), torch.full_like(value, 0.05)) for name, value in plain.named_parameters()
    }
    found = compare(
        bayes.from_moments(plain, posterior),
        torch.randn(10, 1, 6, 6),
        mode="moments",
        batches=(1, channels, 10),
    )
    assert found.batch is None
