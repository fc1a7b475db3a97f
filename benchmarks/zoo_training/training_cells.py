"""The cells of one network: six stages of training, and whether their results are correct.

The stages, each with SSVI and with the dense deterministic method, are *prepare*, *train* (20 steps), *resume* (from a
checkpoint after ten steps), *predict*, *measure* and *cost*. Losses, scores and counts are computed independently, with
the formulas of :mod:`zoo_training.lesson`.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes import FixedPrior, Weight
from szilard.methods import SSVI, Deterministic, Method
from zoo.case import Data
from zoo_training import prepared_checks, scores
from zoo_training.lesson import STEPS, Lesson, energy, judging, learning, schedule
from zoo_training.prepared_checks import Wrong
from zoo_training.verdicts import Cell, judged, located

METHODS = ("ssvi", "dense")
STAGES = ("prepare", "train", "resume", "predict", "measure", "cost")
DENSITY = 0.3
HALF = STEPS // 2


@dataclass
class Tried:
    """One network and one method, with the results of the stages so far."""

    lesson: Lesson
    method_name: str
    data: Data
    original: nn.Module
    method: Method = field(init=False)
    network: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)


def cells(lesson: Lesson, methods: tuple[str, ...] = METHODS) -> list[Cell]:
    """All cells of one network."""
    data = lesson.case.data()
    return [cell for method in methods for cell in _of_method(lesson, data, method)]


def _of_method(lesson: Lesson, data: Data, method: str) -> list[Cell]:
    found: list[Cell] = []
    try:
        tried = Tried(lesson, method, data, lesson.network())
    except Exception as error:  # an error in the zoo itself must be visible
        return [Cell(lesson.name, method, "prepare", "crashed", located(error))]
    ended: str | None = None
    for stage in STAGES:
        if ended is not None:
            found.append(Cell(lesson.name, method, stage, "not reached", ended))
            continue
        cell = judged(lesson.name, method, stage, lambda stage=stage: STAGE[stage](tried))  # type: ignore[misc]
        if lesson.refusal and stage == "train" and cell.verdict == "right":
            cell = Cell(lesson.name, method, stage, "wrong", "trained, but it should be refused")
        found.append(cell)
        if cell.verdict != "right" and stage in ("prepare", "train") and not _goes_on(tried, cell):
            ended = stage
    return found


def _goes_on(tried: Tried, cell: Cell) -> bool:
    """Whether the next stage can run: a wrong figure does not prevent it."""
    return cell.verdict == "wrong" and hasattr(tried, "optimizer") and not tried.lesson.refusal


# -- stages ---------------------------------------------------------------------------------------------


def new_method(name: str, n_data: int) -> Method:
    if name == "dense":
        return Deterministic(n_data, total_steps=STEPS)
    return SSVI(
        n_data, density=DENSITY, pretrained=True, prior="fixed", dense_stem=False, every=5, growth_batches=2,
        total_steps=STEPS, temperature=1.0,
    )  # fmt: skip


def prepare(tried: Tried) -> float | None:
    """The original is unchanged; at density 1 the outputs are the original's; dense matrices are named."""
    data = learning(tried.data)
    tried.method = new_method(tried.method_name, len(data.y))
    before = prepared_checks.frozen_copy(tried.original)
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        tried.network = tried.method.prepare(tried.original, tried.lesson.given_task(data)).train()
        tried.optimizer = tried.method.optimizer(tried.network)
    if tried.method_name == "dense":
        return None
    prepared_checks.unchanged(tried.original, before)
    prepared_checks.same_answers(tried.lesson.network, judging(tried.data).x)
    return prepared_checks.density(tried.original, tried.network, DENSITY, [str(w.message) for w in recorded])


def train(tried: Tried) -> None:
    """Each of 20 losses equals the independent one; the number of entries is constant, and the support moves."""
    network, method = tried.network, tried.method
    frozen = prepared_checks.frozen_tensors(network)
    before = [support.clone() for support in _columns(network)]
    wrong: list[str] = []
    run(tried, network, method, tried.optimizer, 0, STEPS, wrong=wrong)
    if wrong:
        raise Wrong(wrong[0])
    after = _columns(network)
    if [len(s) for s in before] != [len(s) for s in after]:
        raise Wrong("the number of existing entries has changed")
    movable = [
        w for w in _weights(network) if 20 <= w.support.nnz <= 0.9 * torch.Size(w.support.shape).numel()
    ]
    moves = tried.method_name != "dense"
    if moves and movable and all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        raise Wrong("no support has moved")
    for name, tensor in frozen.items():
        if not torch.equal(network.state_dict()[name], tensor):
            raise Wrong(f"{name} is frozen and has changed")
    method.finish(network, _batches(tried))


def run(
    tried: Tried,
    network: nn.Module,
    method: Method,
    optimizer: torch.optim.Optimizer,
    start: int,
    stop: int,
    at_half: Callable[[], None] = lambda: None,
    wrong: list[str] | None = None,
) -> None:
    """Steps of a plain training loop; if ``wrong`` is given, each loss is checked and faults are appended to it."""
    recorded: list[Any] = []
    scripted = isinstance(network, torch.jit.ScriptModule)  # takes no hook
    handle = None
    if not scripted:
        handle = network.register_forward_hook(lambda module, given, output: recorded.append(output))
    data = learning(tried.data)
    try:
        for step, x, y in schedule(data):
            if step == HALF:
                at_half()
            if not start <= step < stop:
                continue
            recorded.clear()
            targets = tried.lesson.cut(y)
            with torch.random.fork_rng():
                torch.manual_seed(step)  # of dropout
                divergence = _divergence(network)
                loss = method.loss(network, x, targets)
            if wrong is not None and recorded and not tried.lesson.refusal:
                try:
                    _check_loss(tried, method, recorded[-1], y, divergence / len(data.y), loss)
                except Wrong as error:
                    wrong.append(f"step {step}: {error}")
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    finally:
        if handle is not None:
            handle.remove()


def _check_loss(
    tried: Tried, method: Method, output: Any, y: Tensor, divergence: float, loss: Tensor
) -> None:
    output = output if isinstance(output, Tensor) else None
    if output is None:
        raise Wrong("a loss was computed for several outputs, and no task says which of them to use")
    wanted = energy(tried.lesson, tried.data, output, y)
    coarse = 3e-2 if output.dtype in (torch.bfloat16, torch.float16) or y.dtype is torch.bfloat16 else 1e-4
    prepared_checks.near("the expected loss", method.last_energy, wanted, coarse)
    if math.isnan(divergence):
        return
    prepared_checks.near("T/N times the divergence", method.last_cost, divergence, coarse)
    prepared_checks.near("the loss", float(loss), wanted + divergence, coarse)


def _divergence(network: nn.Module) -> float:
    """KL divergence of all Gaussian entries from N(0, 1), nats; NaN if a weight has a different prior."""
    total = 0.0
    for weight in _weights(network):
        if weight.log_std is not None and weight.prior != FixedPrior(1.0):
            return math.nan
        if weight.log_std is not None:
            mean, log_std = weight.mean.detach().double(), weight.log_std.detach().double()
            total += float((0.5 * ((2 * log_std).exp() + mean.square() - 1) - log_std).sum())
    return total


def _weights(network: nn.Module) -> list[Weight]:
    return [module for module in network.modules() if isinstance(module, Weight)]


def _columns(network: nn.Module) -> list[Tensor]:
    return [weight.support.col.clone() for weight in _weights(network)]


def _batches(tried: Tried) -> list[tuple[Any, Tensor]]:
    return [(x, y) for _, x, y in schedule(learning(tried.data), 4)]


def resume(tried: Tried) -> None:
    """Ten steps from a checkpoint, loaded into a network with other weights, give the same bits."""
    lesson, data = tried.lesson, learning(tried.data)
    task = lesson.given_task(data)
    kept = io.BytesIO()

    def begin(seed: int) -> tuple[nn.Module, Method, torch.optim.Optimizer]:
        method = new_method(tried.method_name, len(data.y))
        network = method.prepare(lesson.network(seed), task).train()
        return network, method, method.optimizer(network)

    network, method, optimizer = begin(0)

    def keep() -> None:
        state = {
            "network": network.state_dict(),
            "method": method.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        torch.save(state, kept)

    run(tried, network, method, optimizer, 0, STEPS, keep)
    kept.seek(0)
    state = torch.load(kept, weights_only=True)
    again, method_again, optimizer_again = begin(99)
    again.load_state_dict(state["network"])
    method_again.load_state_dict(state["method"])
    optimizer_again.load_state_dict(state["optimizer"])
    run(tried, again, method_again, optimizer_again, HALF, STEPS)
    resumed = prepared_checks.tensors(again)
    for name, tensor in prepared_checks.tensors(network).items():
        if not torch.equal(tensor.nan_to_num(), resumed[name].nan_to_num()):
            raise Wrong(f"{name} differs after a resumed run")


def predict(tried: Tried) -> None:
    scores.predict(tried.lesson, tried.method, tried.network, judging(tried.data))


def measure(tried: Tried) -> None:
    scores.measure(tried.lesson, tried.method, tried.network, tried.data)


def cost(tried: Tried) -> None:
    scores.cost(tried.method, tried.network, tried.original, judging(tried.data).x)


STAGE: dict[str, Callable[[Tried], float | None]] = {
    "prepare": prepare,
    "train": train,
    "resume": resume,
    "predict": predict,
    "measure": measure,
    "cost": cost,
}
