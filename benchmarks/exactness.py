"""Does the mathematics hold? Every identity that SSVI rests on, checked against an independent computation.

    python benchmarks/exactness.py [--quick]

Each check is a function that returns its worst error and its bound; the test suite runs the same functions.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import szilard
from common.harness import finish, print_table
from szilard import bayes
from szilard.methods import SSVI, MeanField, Method
from szilard.networks import WithNoise
from szilard.sparse import Support, ops
from szilard.topology.scores import expected_magnitude, signal_to_noise


@dataclass(frozen=True)
class Check:
    name: str
    error: float
    bound: float
    detail: str = ""

    @property
    def holds(self) -> bool:
        return self.error <= self.bound


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- gradients against autograd on a masked dense twin --------------------------------------------------


def gradients(dtype: torch.dtype, kind: str, density: float) -> Check:
    """Our explicit gradients of a local-reparametrisation layer against autograd through masked dense tensors."""
    g = generator(1)
    shape, x_shape, how = {
        "linear": ((37, 53), (19, 53), None),
        "conv1d": ((8, 3, 5), (4, 6, 17), ([2], [2], [1], 2)),
        "conv2d": ((6, 2, 3, 3), (3, 4, 9, 8), ([1, 2], [1, 0], [1, 1], 2)),
    }[kind]
    support = Support.random(shape, max(1, round(density * math.prod(shape))), g)
    mean = torch.randn(support.nnz, generator=g, dtype=dtype).requires_grad_()
    log_std = (torch.randn(support.nnz, generator=g, dtype=dtype) * 0.3 - 1).requires_grad_()
    x = torch.randn(x_shape, generator=g, dtype=dtype).requires_grad_()

    def product(x: Tensor, weight: Tensor) -> Tensor:
        if how is None:
            return x @ weight.t()
        return (F.conv1d if kind == "conv1d" else F.conv2d)(x, weight, None, *how)

    key = torch.tensor([1, 2])
    if how is None:
        y, factor, _ = ops.lrt_linear(x, mean, log_std, None, key, *support.index, False)
    else:
        y, factor, _ = ops.lrt_conv(x, mean, log_std, key, *support.index, list(shape), *how)
    weights = torch.randn(y.shape, generator=g, dtype=dtype)
    ours = torch.autograd.grad((y * weights).sum(), (x, mean, log_std))

    twin = [t.detach().double().requires_grad_() for t in (x, mean, log_std)]
    place = support.flat()

    def dense(values: Tensor) -> Tensor:
        return torch.zeros(math.prod(shape), dtype=torch.float64).index_put((place,), values).view(shape)

    variance = product(twin[0].square(), dense((2 * twin[2]).exp()))
    deviation = (variance + ops.TINY).sqrt()
    noise = (
        2 * deviation.detach() * factor.double()
    )  # the operator keeps ε / (2 s); the twin is given the same ε
    expected = product(twin[0], dense(twin[1])) + deviation * noise
    theirs = torch.autograd.grad((expected * weights.double()).sum(), twin)
    errors = [
        relative(y.double(), expected),
        *(relative(a.double(), b) for a, b in zip(ours, theirs, strict=True)),
    ]
    bound = 1e-5 if dtype == torch.float32 else 1e-10
    return Check(
        f"gradients, {kind}, density {density:g}, {str(dtype)[6:]}", max(errors), bound, "relative error"
    )


def relative(ours: Tensor, theirs: Tensor) -> float:
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).norm() / theirs.norm())


# -- moments and divergences against Monte Carlo --------------------------------------------------------


def lrt_moments(samples: int = 100_000) -> Check:
    """Mean and variance of drawn outputs against the same with whole weights drawn, in standard errors."""
    g = generator(2)
    support = Support.random((6, 20), 50, g)
    mean, log_std = torch.randn(50, generator=g), torch.randn(50, generator=g) * 0.3 - 1
    x = torch.randn(5, 20, generator=g)
    key = torch.tensor([2, 0])
    drawn = ops.lrt_linear(x.repeat(samples, 1), mean, log_std, None, key, *support.index, False)[0]
    local = drawn.reshape(samples, 5, 6).double()
    theta = mean + log_std.exp() * torch.randn(samples, 50, generator=g)
    dense = torch.zeros(samples, 120).index_copy(1, support.flat(), theta).view(samples, 6, 20)
    whole = torch.einsum("bi,soi->sbo", x, dense).double()
    exact_mean = x.double() @ support.scatter(mean).double().t()
    exact_var = x.double().square() @ support.scatter((2 * log_std).exp()).double().t()
    worst = 0.0
    for drawn_by in (local, whole):
        se_mean = (exact_var / samples).sqrt().clamp_min(1e-12)
        se_var = (exact_var * math.sqrt(2 / samples)).clamp_min(1e-12)
        worst = max(worst, float(((drawn_by.mean(0) - exact_mean) / se_mean).abs().max()))
        worst = max(worst, float(((drawn_by.var(0) - exact_var) / se_var).abs().max()))
    return Check("LRT mean and variance against weight samples", worst, 4.0, "standard errors, worst of 120")


def kl_monte_carlo(samples: int = 200_000) -> Check:
    """Closed-form divergence against the mean of ln q - ln p, for the fixed, fan-in and learned priors."""
    g = generator(3)
    support = Support.random((10, 30), 40, g)
    mean, log_std = (
        torch.randn(40, generator=g).double() * 0.3,
        torch.randn(40, generator=g).double() * 0.5 - 1,
    )
    worst = 0.0
    for name in ("fixed", "fan-in", "learned"):
        weight = bayes.Weight(support, mean, log_std, bayes.make_prior(name, 0.7))
        scale = {
            "fixed": 0.7,
            "fan-in": 0.7 / math.sqrt(4.0),
            "learned": float((mean.square() + (2 * log_std).exp()).mean().sqrt()),
        }[name]
        q = torch.distributions.Normal(mean, log_std.exp())
        p = torch.distributions.Normal(0.0, scale)
        noise = torch.randn(samples, 40, generator=g).double()
        theta = mean + log_std.exp() * noise
        ratio = (q.log_prob(theta) - p.log_prob(theta)).sum(1)
        error = (ratio.mean() - weight.kl().detach()) / (ratio.std() / math.sqrt(samples))
        worst = max(worst, abs(float(error)))
    return Check("KL closed form against Monte Carlo", worst, 4.0, "standard errors, three priors")


def folded_normal(samples: int = 200_000) -> Check:
    """E|θ| against Monte Carlo."""
    g = generator(4)
    mean, std = torch.randn(50, generator=g).double(), torch.rand(50, generator=g).double() + 0.01
    theta = (mean + std * torch.randn(samples, 50, generator=g).double()).abs()
    error = (theta.mean(0) - expected_magnitude(mean, std)) / (theta.std(0) / math.sqrt(samples))
    return Check(
        "folded-normal mean against Monte Carlo",
        float(error.abs().max()),
        4.5,
        "standard errors, worst of 50",
    )


def drop_sets(count: int = 200_000) -> Check:
    """The published score E|θ|/sd|θ| drops exactly the entries that |μ|/σ drops."""
    g = generator(5)
    mean = torch.randn(count, generator=g).double() * 0.03
    std = (torch.randn(count, generator=g).double() * 0.7 - 4).exp()
    first = expected_magnitude(mean, std)
    published = first / (mean.square() + std.square() - first.square()).clamp_min(0).sqrt()
    # Above r = 6 the variance of |θ| equals σ² to 1e-8 and fp64 cancels: ties there are of the formula's making.
    clear = mean.abs() / std < 6
    drop = int(0.3 * int(clear.sum()))
    ours = set(signal_to_noise(mean, std)[clear].argsort()[:drop].tolist())
    theirs = set(published[clear].argsort()[:drop].tolist())
    return Check("drop set of the published score", 1 - len(ours & theirs) / drop, 0.0, "1 - overlap")


# -- runs -----------------------------------------------------------------------------------------------


def toy(n: int = 256, features: int = 20, classes: int = 4) -> tuple[Tensor, Tensor]:
    g = generator(6)
    x = torch.randn(n, features, generator=g)
    return x, (x @ torch.randn(features, classes, generator=g)).argmax(1)


def small_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))


def train(
    method: Method,
    network: nn.Module,
    steps: int,
    watch: Callable[[nn.Module, torch.optim.Optimizer], None] | None = None,
) -> nn.Module:
    x, y = toy()
    x = x.to(next(network.parameters()).dtype)
    method.total_steps = steps
    network = method.prepare(network)
    optimizer = method.optimizer(network)
    g = generator(7)
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=g)
        method.loss(network, x[batch], y[batch]).backward()
        if watch:
            watch(network, optimizer)
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    return network


def same_state(a: nn.Module, b: nn.Module) -> float:
    """Largest difference between two networks' states; infinite where their keys differ."""
    left, right = a.state_dict(), b.state_dict()
    if left.keys() != right.keys():
        return math.inf
    return max(float((left[k].double() - right[k].double()).abs().max()) for k in left)


def invariants(steps: int = 200) -> Check:
    """After every step: budgets, sorted CSR, transpose; after a move: A is the top of |G|, new μ and state are 0."""
    broken: list[str] = []
    method = SSVI(256, density=0.2, every=10)
    before: dict[str, tuple[Tensor, Tensor]] = {}
    budgets: dict[str, int] = {}

    def watch(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for name, layer in bayes.bayes_layers(network).items():
            support, weight = layer.weight.support, layer.weight
            budgets.setdefault(name, support.nnz)
            support.check()
            if support.nnz != budgets[name]:
                broken.append(f"{name}: budget")
            values = torch.arange(support.nnz) + 1.0
            by_column = torch.sparse_csr_tensor(
                support.t_crow,
                support.t_col,
                values[support.t_perm.long()],
                size=(support.cols, support.rows),
            )
            if not torch.equal(
                by_column.to_dense().t(), support.scatter(values).view(support.rows, support.cols)
            ):
                broken.append(f"{name}: transpose")
            if name in before:
                flat, mean = before.pop(name)
                now = support.flat()
                fresh = ~torch.isin(now, flat)
                moved = float(weight.mean.detach()[fresh].abs().max()) if fresh.any() else 0.0
                if moved != 0:
                    broken.append(f"{name}: a new mean is {moved}")
                if fresh.any() and float(optimizer.state[weight.mean]["exp_avg"][fresh].abs().max()) != 0:
                    broken.append(f"{name}: a new entry has momentum")
                stay = torch.isin(flat, now)
                if not torch.equal(mean[stay], weight.mean.detach()[~fresh]):
                    broken.append(f"{name}: a survivor changed")

    moves = 0
    original = method.moves.apply

    def apply(network: nn.Module, optimizer: torch.optim.Optimizer, step: int, total: int) -> int:
        nonlocal moves
        layers = bayes.bayes_layers(network)
        gradients = {
            name: torch.cat(
                [
                    rows.clone()
                    for _, rows in layer.growth.stream(
                        layer.weight.support.rows, layer.weight.support.cols, layer.weight.mean.device
                    )
                ]
            )
            for name, layer in layers.items()
            if layer.growth is not None
        }
        for name, layer in layers.items():
            weight = layer.weight
            before[name] = (weight.support.flat(), weight.mean.detach().clone())
        scores = {name: layer.weight.mean.abs() / layer.weight.std for name, layer in layers.items()}
        new = original(network, optimizer, step, total)
        moves += bool(new)
        if new:
            fraction = method.moves.schedule.fraction_at(step, total)
            for name, gradient in gradients.items():
                support = layers[name].weight.support
                count = math.floor(fraction * support.nnz)
                kept = before[name][0][
                    scores[name].sort(descending=True, stable=True).indices[: support.nnz - count]
                ]
                outside = gradient.abs().flatten()
                outside[kept] = -1
                expected = torch.cat([kept, outside.topk(count).indices]).sort().values
                if not torch.equal(expected, support.flat()):
                    broken.append(f"{name}: the new support is not K ∪ A")
        watch(network, optimizer)
        return new

    method.moves.apply = apply  # type: ignore[method-assign]
    train(method, small_network(), steps, watch)
    if moves < 5:
        broken.append(f"only {moves} moves")
    return Check(
        "invariants of the support at every step",
        float(len(broken)),
        0.0,
        "; ".join(broken[:3]) or f"{moves} moves",
    )


def same_seed() -> Check:
    a = train(SSVI(256, density=0.2, every=10, seed=3), small_network(), 60)
    b = train(SSVI(256, density=0.2, every=10, seed=3), small_network(), 60)
    other = train(SSVI(256, density=0.2, every=10, seed=4), small_network(), 60)
    distinct = same_state(a, other) > 0
    return Check("same seed, same run, bit for bit", same_state(a, b) if distinct else math.inf, 0.0)


def full_density() -> Check:
    options: dict[str, Any] = {"lr": 1e-3, "initial_std": 0.3, "temperature": 0.1, "seed": 1}
    a = train(SSVI(256, density=1.0, **options), small_network(), 60)
    b = train(MeanField(256, **options), small_network(), 60)
    return Check("density 1 equals dense mean-field", same_state(a, b), 0.0)


def static_twin(steps: int = 50) -> Check:
    """With moves off, SSVI equals mean-field inference under a fixed mask, written in plain dense torch."""
    method = SSVI(
        256,
        density=0.2,
        fraction=0.0,
        lr=1e-3,
        lr_log_std=1.0,
        temperature=0.5,
        prior="fixed",
        prior_scale=0.3,
    )
    start = copy.deepcopy(small_network()).double()
    sparse = method.prepare(start)
    layers = list(bayes.weights(sparse).values())
    masks = [w.support.mask().double() for w in layers]
    means = [w.support.scatter(w.mean.detach()).requires_grad_() for w in layers]
    rhos = [w.support.scatter(w.log_std.detach()).requires_grad_() for w in layers]
    biases = [b.detach().clone().requires_grad_() for n, b in sparse.named_parameters() if n.endswith("bias")]
    adam = torch.optim.Adam([*means, *rhos, *biases], lr=1e-3)
    noise, g = bayes.Noise(), generator(7)
    x, y = toy()
    x = x.double()
    for step in range(steps):
        batch = torch.randint(len(x), (64,), generator=g)
        noise.reset(method.seed, step, 0, 0, 0)
        h, kl = x[batch], torch.zeros((), dtype=torch.float64)
        for number, (mask, mean, rho, bias) in enumerate(zip(masks, means, rhos, biases, strict=True)):
            std = rho.exp() * mask
            deviation = (h.square() @ std.square().t() + ops.TINY).sqrt()
            out = h @ (mean * mask).t() + deviation * noise.normal((mask.shape[0], len(h)), h).t() + bias
            h = out.relu() if number == 0 else out
            kl = kl + (mask * (math.log(0.3) - rho + (std.square() + mean.square()) / (2 * 0.09) - 0.5)).sum()
        loss = F.cross_entropy(h, y[batch]) + 0.5 / 256 * kl
        adam.zero_grad()
        loss.backward()
        adam.step()
    trained = train(method, start, steps)
    error = max(
        relative(w.support.scatter(w.mean.detach()), m.detach() * k)
        for w, m, k in zip(bayes.weights(trained).values(), means, masks, strict=True)
    )
    return Check(
        "moves off equals static-mask mean-field", error, 1e-9, f"relative error after {steps} steps, fp64"
    )


def largest_allocation(size: int = 2048) -> Check:
    """No tensor of the dense weight's size is allocated in a step, a move included (bytes / dense bytes)."""
    from torch.profiler import ProfilerActivity, profile

    network = nn.Sequential(nn.Linear(size, size))
    method = SSVI(1000, density=0.01, every=2, total_steps=100)
    network = method.prepare(network)
    optimizer = method.optimizer(network)
    x, y = torch.randn(16, size, generator=generator(8)), torch.zeros(16, dtype=torch.long)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        for _ in range(4):
            method.loss(network, x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    largest = max(e.nbytes() for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]")
    return Check(
        "largest allocation in four steps and two moves",
        largest / (4 * size * size),
        0.999,
        "x the dense weight",
    )


# -- known answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownAnswer:
    recall: float
    sigma_error: float
    mean_error: float
    static_recall: float


def known_answer(steps: int = 4000, seed: int = 0) -> KnownAnswer:
    """Bayesian linear regression with 50 of 1000 true weights: is the support found, are μ and σ the optimum's?

    The mean-field optimum on a support is known: σ_j = (Σ_n x_nj²/τ² + 1/s²)^(-1/2), μ the ridge solution.
    """
    d, true, n, tau, s = 1000, 50, 2000, 0.5, 1.0
    g = generator(100 + seed)
    w = torch.zeros(d)
    w[torch.randperm(d, generator=g)[:true]] = torch.randn(true, generator=g).sign() * (
        0.3 + torch.rand(true, generator=g)
    )
    x = torch.randn(n, d, generator=g)
    y = x @ w + tau * torch.randn(n, generator=g)

    def run(fraction: float, steps: int) -> bayes.Weight:
        method = SSVI(
            n, density=0.075, temperature=1.0, prior="fixed", prior_scale=s, fraction=fraction, every=50,
            lr=2e-2, lr_log_std=2.0, seed=seed, total_steps=steps,
        )  # fmt: skip
        wrapped = WithNoise(nn.Linear(d, 1, bias=False), log_noise=math.log(tau))
        for parameter in wrapped.parameters():
            parameter.requires_grad_(parameter.dim() == 2)  # the noise is known
        network = method.prepare(wrapped, "regression")
        optimizer = method.optimizer(network)
        draw = generator(seed)
        for _ in range(steps):
            batch = torch.randint(n, (250,), generator=draw)
            method.anneal(optimizer)
            method.loss(network, x[batch], y[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
        return next(iter(bayes.weights(network).values()))

    def recall(weight: bayes.Weight) -> float:
        return float(torch.isin(w.nonzero().flatten(), weight.support.flat()).double().mean())

    weight = run(0.3, steps)
    seen = x[:, weight.support.flat()].double()
    optimum = (seen.square().sum(0) / tau**2 + 1 / s**2).rsqrt()
    gram = seen.t() @ seen / tau**2 + torch.eye(seen.shape[1]).double() / s**2
    ridge = torch.linalg.solve(gram, seen.t() @ y.double() / tau**2)
    sigma = weight.std.detach().double()
    return KnownAnswer(
        recall=recall(weight),
        sigma_error=float(((sigma - optimum) / optimum).abs().median()),
        mean_error=float((weight.mean.detach().double() - ridge).abs().median()),
        static_recall=recall(run(0.0, 1)),
    )


CHECKS: dict[str, Callable[[], Check]] = {
    **{
        f"gradients-{kind}-{density:g}-{str(dtype)[6:]}": (
            lambda dtype=dtype, kind=kind, density=density: gradients(dtype, kind, density)
        )
        for kind in ("linear", "conv1d", "conv2d")
        for density in (0.1, 1.0)
        for dtype in (torch.float32, torch.float64)
    },
    "lrt-moments": lrt_moments,
    "kl": kl_monte_carlo,
    "folded-normal": folded_normal,
    "drop-sets": drop_sets,
    "invariants": invariants,
    "same-seed": same_seed,
    "full-density": full_density,
    "static-twin": static_twin,
    "largest-allocation": largest_allocation,
}


def known_answer_checks(answer: KnownAnswer) -> list[Check]:
    return [
        Check(
            "known answer: support recall",
            1 - answer.recall,
            0.05,
            f"1 - recall; static mask {answer.static_recall:.2f}",
        ),
        Check("known answer: σ against its optimum", answer.sigma_error, 0.05, "median relative error"),
        Check("known answer: μ against ridge", answer.mean_error, 0.01, "median absolute error"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one seed of the known-answer regression instead of five"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checks = [check() for check in CHECKS.values()]
    answers = [known_answer(seed=seed) for seed in range(1 if arguments.quick else 5)]
    checks += [check for answer in answers for check in known_answer_checks(answer)]
    print_table(
        f"Exactness, Szilard {szilard.__version__}",
        ["check", "error", "bound", "", "holds"],
        [[c.name, f"{c.error:.2e}", f"{c.bound:.0e}", c.detail, "yes" if c.holds else "NO"] for c in checks],
    )
    finish(
        "exactness",
        {
            "all_hold": all(c.holds for c in checks),
            "checks": len(checks),
            "support_recall": min(a.recall for a in answers),
            "sigma_median_relative_error": max(a.sigma_error for a in answers),
            "mean_median_error": max(a.mean_error for a in answers),
            "static_mask_recall": sum(a.static_recall for a in answers) / len(answers),
        },
    )
    if not all(c.holds for c in checks):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
