"""Networks with 8-bit integers in ONNX Runtime, and what that does to their predictions."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from szilard import atomic, metrics
from szilard.deploy.backends.onnx_runtime import OnnxRuntime, Session, finished
from szilard.deploy.backends.quiet import quiet
from szilard.deploy.compiled import Compiled, Prediction
from szilard.deploy.int8_nodes import joining, products, products_of
from szilard.deploy.loading import load
from szilard.deploy.uncertainty import OfClasses, OfLabels
from szilard.errors import SzilardError, SzilardWarning, first_line

NOTE = "quantisation"  #: Name of the entry of a file's metadata that says what was done.
_BATCH = 64  # of calibration and evaluation
_LEAST = 1e-30


class Evaluation(NamedTuple):
    """Data to measure the effect of integers on.

    Attributes:
        x: inputs ``[N, *shape]``.
        y: targets: classes ``[N]``, labels ``[N, k]`` or quantities ``[N]`` or ``[N, k]``.
        ood: inputs ``[M, *shape]`` that are unlike the training data; None: none.
    """

    x: Tensor
    y: Tensor
    ood: Tensor | None = None


@dataclass(frozen=True)
class Effects:
    """What integers do.

    Attributes:
        difference: largest absolute difference of an answer on the calibration inputs and the inputs of the
            evaluation.
        bytes: size of the file before and after.
        before, after: accuracy (or RMSE), NLL (nats), and the AUROC of inputs unlike the training data by total
            uncertainty and by epistemic uncertainty, of the original and of the quantised network; empty without data.
    """

    difference: float
    bytes: tuple[int, int]
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)


def quantise(
    source: Compiled | Path | str,
    calibration: Tensor,
    evaluation: Evaluation | None = None,
    *,
    path: Path | str | None = None,
    reduce_range: bool = True,
    layers: Collection[str] | None = None,
    joined: bool = False,
) -> tuple[Compiled, Effects]:
    """Weights and activations as 8-bit integers: static quantisation with ONNX Runtime's quantiser.

    Weights are symmetric with a step for each output channel; the ranges of activations are those of the calibration
    inputs. Products with weights that the file does not store, such as those of second moments, stay in float32.

    Args:
        source: compiled with backend ``"onnx"``, or its file.
        calibration: inputs ``[N, *shape]`` like those of the application; a hundred are enough. Inputs that do not vary
            are a warning.
        evaluation: data to measure the effect on.
        path: file to write.
        reduce_range: 7 bits for weights. Processors without VNNI add pairs of 8-bit products in 16 bits, which can
            overflow.
        layers: names of the layers in the network, such as ``"layer1.0.conv1"``, whose products become integers; by
            default all.
        joined: activations and additions between these products stay integers, too, which is faster and rounds sums.

    Returns:
        the quantised network, and what that did.

    Raises:
        SzilardError: another backend, inputs of another shape, an unknown layer, or a network without anything to
            quantise.
    """
    original, session = _original(source)
    model = _model(session)
    chosen = products(model) if layers is None else products_of(model, layers)
    if not chosen:
        raise SzilardError(
            "the network has no product with a stored weight; there is nothing to quantise"
            if layers is None
            else "layers is empty; name at least one layer, or leave it out for all"
        )
    others = joining(model, chosen) if joined else []
    nodes = [node.name for node in (*chosen, *others)]
    given = calibration if evaluation is None else torch.cat([calibration, evaluation.x])
    wanted = answers(original, given)
    if not bool((calibration != calibration[:1]).any()):
        warnings.warn(
            "the calibration inputs do not vary, so that the ranges of activations and the difference are those of one "
            "input; give inputs like those of the application",
            SzilardWarning,
            stacklevel=2,
        )
    with quiet(), tempfile.TemporaryDirectory(prefix="szilard-int8-") as folder:
        import onnx
        from onnxruntime import quantization

        out = Path(folder) / "int8.onnx"
        try:
            quantization.quantize_static(
                model, str(out), _reader(original, calibration, session), per_channel=True, reduce_range=reduce_range,
                quant_format=quantization.QuantFormat.QDQ, activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8, nodes_to_quantize=nodes,
            )  # fmt: skip
            made = onnx.load(out)
        except Exception as error:
            raise SzilardError(f"ONNX Runtime cannot quantise the network: {first_line(error)}") from error
    bits = 7 if reduce_range else 8
    note = f"{len(chosen)} products in integers: {bits}-bit weights by channel, 8-bit activations"
    if others:
        note += f"; {len(others)} operations between them in 8-bit integers"
    found = rewritten(original, session, made, note, path)
    effects = Effects(
        float((answers(found, given).answer - wanted.answer).abs().max()),
        (len(session.content), len(_session(found).content)),
        *([] if evaluation is None else [quality(original, evaluation), quality(found, evaluation)]),
    )
    return found, effects


def quality(network: Compiled, data: Evaluation) -> dict[str, float]:
    """Accuracy (or RMSE), NLL in nats, and AUROCs, see :class:`Effects`."""
    inside = answers(network, data.x)
    p, y, rule = inside.answer, data.y, network.metadata.get("szilard.uncertainty")
    found: dict[str, float] = {}
    if rule == OfClasses.name:
        if y.shape != (len(p), *p.shape[2:]) or y.is_floating_point():
            raise SzilardError(
                f"targets must be classes {[len(p), *p.shape[2:]]}, not {y.dtype} {list(y.shape)}"
            )
        found["accuracy"] = float((p.argmax(1) == y).double().mean())
        found["nll"] = float(-p.gather(1, y.unsqueeze(1).long()).double().clamp_min(_LEAST).log().mean())
    elif y.shape != p.shape:
        raise SzilardError(f"targets must have the shape {list(p.shape)} of the answers, not {list(y.shape)}")
    elif rule == OfLabels.name:
        of_target = torch.where(y > 0.5, p, 1 - p).double()
        found["accuracy"] = float((of_target > 0.5).double().mean())
        found["nll"] = float(-of_target.clamp_min(_LEAST).log().mean())
    else:
        errors, variance = (p - y).double().square(), inside.total.double().clamp_min(_LEAST)
        found["rmse"] = float(errors.mean().sqrt())
        found["nll"] = float((0.5 * (errors / variance + (2 * torch.pi * variance).log())).mean())
    if data.ood is not None:
        outside = answers(network, data.ood)
        found["auroc_total"] = metrics.auroc(_mean(inside.total), _mean(outside.total))
        if network.mode != "point":
            found["auroc_epistemic"] = metrics.auroc(_mean(inside.epistemic), _mean(outside.epistemic))
    return found


def answers(network: Compiled, x: Tensor) -> Prediction:
    """Predictions of any number of inputs, in batches that the network takes; the rest of a last batch is repeated."""
    size = network.batch or _BATCH
    parts = []
    for part in x.split(size):
        missing = size - len(part) if network.batch is not None else 0
        whole = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
        parts.append(network(whole))
    names = ("answer", "aleatoric", "epistemic")
    joined = {name: torch.cat([getattr(part, name) for part in parts])[: len(x)] for name in names}
    return Prediction(**joined)


def rewritten(
    original: Compiled, session: Session, model: Any, note: str, path: Path | str | None
) -> Compiled:
    """A compiled network of a changed model, with a note in its metadata; written to ``path`` if there is one."""
    metadata = dict(original.metadata) | {NOTE: note}
    content = finished(model, metadata)
    if path is not None:
        atomic.write(Path(path), content, follow=True)
    run = Session(content, session.threads)
    return replace(original, run=run, metadata=metadata, decisions=(*original.decisions, note))


def _original(source: Compiled | Path | str) -> tuple[Compiled, Session]:
    original = source if isinstance(source, Compiled) else load(source)
    return original, _session(original)


def _session(network: Compiled) -> Session:
    if not isinstance(network.run, Session):
        raise SzilardError(
            f"only networks of backend {OnnxRuntime.name} have integers, not of {network.backend}; compile it again"
        )
    return network.run


def _model(session: Session) -> Any:
    import onnx

    return onnx.load_model_from_string(session.content)


def _reader(network: Compiled, x: Tensor, session: Session) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    network._checked(x[: network.batch] if network.batch else x)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Tensor] = iter(
                part for part in x.split(network.batch or _BATCH) if network.batch in (None, len(part))
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.batches, None)
            return None if part is None else {session.input: part.numpy()}

    return Reader()


def _mean(values: Tensor) -> Tensor:
    """One number for each input."""
    return values.flatten(1).mean(1) if values.dim() > 1 else values
