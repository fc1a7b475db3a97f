"""The Triton kernels against dense products, on a GPU or else with Triton's interpreter."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

ON_GPU = torch.cuda.is_available()
pytest.importorskip("triton", reason="Triton is not installed: pip install triton (Linux)")

import szilard  # noqa: E402
from szilard import bayes, methods  # noqa: E402
from szilard.sparse import Support, block_ops, triton_blocks, triton_kernels  # noqa: E402

DEVICE = "cuda" if ON_GPU else "cpu"
ATOL = 1e-3
PHASES = [phase for phase in Phase if phase is not Phase.shrink]  # the interpreter is slow
patterns = st.sampled_from(["unstructured", "block16", "block32", "block64"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def kernels(support):
    """(linear, linear_backward, lrt_linear, lrt_linear_backward) with the index filled in."""
    module, index = triton_kernels, (support.index,)
    if support.pattern.name != "unstructured":
        names = triton_blocks.BlockIndex._fields
        module = triton_blocks
        index = (triton_blocks.BlockIndex(*(getattr(support, n) for n in names)), support.pattern.side)

    def run(name):
        return lambda *given: getattr(module, name)(*given, *index, *[True] * name.endswith("backward"))

    return [run(name) for name in ("linear", "linear_backward", "lrt_linear", "lrt_linear_backward")]


def case(rows, cols, batch, density, pattern, seed):
    g = generator(seed)
    if pattern == "unstructured":  # with empty rows and columns
        support = Support.from_mask(torch.rand(rows, cols, generator=g) < density)
    else:
        support = Support.random((rows, cols), max(1, round(density * rows * cols)), g, pattern)
    sizes = (support.nnz, support.nnz, (batch, cols), (batch, rows))
    return support.to(DEVICE), *(torch.randn(s, generator=g).to(DEVICE) for s in sizes)


def close(ours, exact):
    size = float(exact.abs().max()) if exact.numel() else 0.0
    return torch.allclose(ours, exact, rtol=1e-4, atol=ATOL * max(1.0, size))


@given(
    st.integers(1, 40), st.integers(1, 70), st.sampled_from([1, 3, 16, 33, 130]), st.floats(0, 1), patterns,
    st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None, max_examples=300 if ON_GPU else 60, phases=PHASES)
def test_products_equal_dense(rows, cols, batch, density, pattern, seed):
    support, mean, log_std, x, grad = case(rows, cols, batch, density, pattern, seed)
    linear, linear_backward, lrt, lrt_backward = kernels(support)
    dense = support.scatter(mean)
    assert close(linear(x, mean), x @ dense.t())
    grad_x, grad_values = linear_backward(grad, x, mean)
    assert close(grad_x, grad @ dense)
    assert close(grad_values, support.gather(grad.t() @ x))
    # The noise is computed from the factor, and the expected results from the equations.
    y, factor, variance = lrt(x, mean, log_std, torch.tensor([seed, 1]))
    assert close(variance, (2 * log_std).exp())
    spread = support.scatter(variance)
    std = (x.square() @ spread.t() + 1e-8).sqrt()
    assert close(y, x @ dense.t() + std * (2 * std * factor))
    h = grad * factor
    grad_x, grad_mean, grad_log_std = lrt_backward(grad, x, mean, variance, factor)
    assert close(grad_x, grad @ dense + 2 * x * (h @ spread))
    assert close(grad_mean, support.gather(grad.t() @ x))
    assert close(grad_log_std, 2 * variance * support.gather(h.t() @ x.square()))


def philox(counter, key):
    """Philox-4x32-7 in Python's integers (Salmon et al. 2011)."""
    c, k, mask = list(counter), list(key), 0xFFFFFFFF
    for _ in range(7):
        a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def expected_normal(element, seed, draw):
    import math

    counter, word, mask = element // 64 * 16 + element % 16, element % 64 // 16, 0xFFFFFFFF
    bits = philox((counter & mask, counter >> 32, draw & mask, draw >> 32), (seed & mask, seed >> 32))
    uniform, turn = bits[word & 2], bits[(word & 2) + 1]
    radius = math.sqrt(-2 * math.log(((uniform >> 8) + 0.5) / 2**24))
    angle = ((turn << 2 & mask) ^ 1 << 31) - (1 << 31)  # signed
    sine, cosine = math.sin(angle / 2**31 * math.pi / 4), math.cos(angle / 2**31 * math.pi / 4)
    cosine = -cosine if turn >> 31 else cosine
    return radius * (sine if (word % 2 == 0) == bool(turn >> 30 & 1) else cosine)


@pytest.mark.parametrize("pattern", ["unstructured", "block16"])
def test_the_noise_is_a_function_of_seed_draw_and_element(pattern):
    rows, batch = 20, 37
    support = (
        Support.full((rows, 8))
        if pattern == "unstructured"
        else Support.random((rows, 8), 160, generator(), pattern)
    )
    support = support.to(DEVICE)
    zero, one = torch.zeros(support.nnz, device=DEVICE), torch.ones(batch, 8, device=DEVICE)
    seed, draw = 2**62 + 12345, 2**33 + 7

    def noise(seed, draw):
        return kernels(support)[2](one, zero, zero, torch.tensor([seed, draw]))[0].t() / 8**0.5

    drawn = noise(seed, draw)
    expected = torch.tensor([expected_normal(e, seed, draw) for e in range(rows * batch)]).view(rows, batch)
    assert torch.allclose(drawn.cpu(), expected, atol=2e-5)
    assert torch.equal(drawn, noise(seed, draw))
    assert not torch.equal(drawn, noise(seed, draw + 1))
    assert not torch.equal(drawn, noise(seed + 1, draw))
    large = torch.cat([noise(s, 1).flatten() for s in range(20)])
    assert abs(float(large.mean())) < 4 / len(large) ** 0.5
    assert float(large.var()) == pytest.approx(1, abs=6 / len(large) ** 0.5)


def test_block_operators_pass_opcheck():
    support, mean, log_std, x, _ = case(20, 40, 5, 0.5, "block16", 0)
    index = block_ops.arguments(support)
    x.requires_grad_(), mean.requires_grad_(), log_std.requires_grad_()
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.szilard.block_linear.default, (x, mean, *index), test_utils=tests)
    torch.library.opcheck(
        torch.ops.szilard.block_lrt_linear.default,
        (x, mean, log_std, torch.tensor([1, 2]), *index),
        test_utils=tests,
    )


def test_training_on_the_block_kernels(monkeypatch):
    """Layers use them if Triton is chosen; without a GPU it must be chosen by name."""
    calls = []
    real = block_ops.lrt_linear
    monkeypatch.setenv("SZILARD_KERNELS", "triton")
    monkeypatch.setattr(block_ops, "lrt_linear", lambda *a: calls.append(1) or real(*a))
    x = torch.randn(60, 20, generator=generator())
    y = (x[:, 0] > 0).long()
    method = methods.SSVI(60, density=0.5, pattern="block16", every=5, total_steps=30, lr=2e-2)
    torch.manual_seed(0)
    net = method.prepare(
        torch.nn.Sequential(torch.nn.Linear(20, 48), torch.nn.ReLU(), torch.nn.Linear(48, 2))
    )
    net, x, y = net.to(DEVICE), x.to(DEVICE), y.to(DEVICE)
    optimizer = method.optimizer(net)
    energies = []
    for _ in range(30):
        method.loss(net, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(net, optimizer)
        energies.append(method.last_energy)
    assert len(calls) == 60
    assert sum(energies[-5:]) < 0.6 * sum(energies[:5])


COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from szilard.sparse import triton_blocks, triton_kernels

POINTERS = {"x", "mean", "variance", "y", "factor", "grad", "grad_x", "grad_mean", "grad_log_std"}
NUMBERS = {"batch", "rows", "cols", "seed_low", "seed_high", "draw_low", "draw_high"}
for module, const in (
    (triton_kernels, {"ENTRIES": 32}),
    (triton_blocks, {"SIDE": 32, "WHOLE": True, "PRECISION": "tf32"}),
):
    for kernel in (module._forward, module._transposed, module._sampled):
        fixed = {**const, "LRT": True, "TILE": 128}
        kind = {n: "*fp32" if n in POINTERS else "i32" if n in NUMBERS else "*i32" for n in kernel.arg_names}
        source = ASTSource(kernel, {n: "constexpr" if n in fixed else kind[n] for n in kind}, fixed)
        made = compile(source, target=GPUTarget("cuda", 90, 32))
        tensor_core = "mma" in made.asm["ptx"]
        assert tensor_core == (module is triton_blocks), kernel
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles on Linux")
def test_the_kernels_compile_for_a_gpu(tmp_path):
    """Checks what the interpreter cannot: types, and the use of tensor cores by blocks."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")
@pytest.mark.parametrize("pattern", ["unstructured", "block32", "neuron"])
def test_a_step_on_the_gpu_is_repeatable_and_finite(pattern):
    network = torch.nn.Sequential(torch.nn.Linear(300, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
    x = torch.randn(64, 300, generator=generator())
    results = []
    for _ in range(2):
        net = szilard.bayesianize(network, 0.2, fresh=True, pattern=pattern).cuda()
        y = net(x.cuda())
        y.square().mean().backward()
        results.append([y, *(w.mean.grad for w in bayes.weights(net).values())])
    for one, other in zip(*results, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)
