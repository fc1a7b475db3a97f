"""Networks compiled by TVM, with own operators for mean and variance."""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest
import torch
from deploy_networks import bayesian, differences, inputs

from szilard import SzilardError, deploy

pytest.importorskip("tvm")
from szilard.deploy.tvm_operators import with_joint_layers


@pytest.fixture(scope="module")
def compiled():
    """A network with moments for batches of 3, its network and its inputs."""
    network = bayesian(density=0.5, outputs=5)  # neither 16 nor 5 columns fill the last vector
    return deploy.compile(network, inputs(3), backend="tvm", batch=3), network


def test_moments_are_those_of_torch(compiled):
    found, network = compiled
    wanted = deploy.compile(network, inputs(3), backend="eager", batch=3)
    worst = differences(found(inputs(3)), wanted(inputs(3)))
    assert max(worst.values()) < 1e-4, worst


def test_gaussian_layers_are_joint_operators(compiled):
    found, _ = compiled
    graph, count = with_joint_layers(found.run.job.graph)
    assert count == 2
    assert torch.allclose(graph(inputs(3))[4], found.run.job.graph(inputs(3))[4], rtol=1e-5)


def test_objects_for_arm_hold_vector_multiply_adds(compiled, tmp_path):
    deploy.tvm_objects(compiled[0], "aarch64", tmp_path / "arm.tar", batch=1)
    with tarfile.open(tmp_path / "arm.tar") as archive:
        archive.extractall(tmp_path / "arm", filter="data")
    found = sorted((tmp_path / "arm").rglob("*.o"))
    headers = [one.read_bytes()[:20] for one in found]
    assert found
    assert all(one[:5] == b"\x7fELF\x02" and one[18:20] == b"\xb7\x00" for one in headers)  # 64 bits, AArch64
    tool = shutil.which("llvm-objdump") or shutil.which("aarch64-linux-gnu-objdump")
    if tool is None:
        pytest.skip("no disassembler for AArch64")
    text = "".join(
        subprocess.run([tool, "-d", one], capture_output=True, text=True, check=True).stdout for one in found
    )
    fused = [line for line in text.splitlines() if "fmla" in line or "fmls" in line]
    assert any("4s" in line for line in fused)


def test_objects_for_riscv(compiled, tmp_path):
    deploy.tvm_objects(compiled[0], "riscv64", tmp_path / "riscv.tar")
    with tarfile.open(tmp_path / "riscv.tar") as archive:
        headers = [
            archive.extractfile(one).read(20) for one in archive.getmembers() if one.name.endswith(".o")
        ]
    assert headers
    assert all(one[18:20] == b"\xf3\x00" for one in headers)  # RISC-V


def test_what_tvm_refuses(compiled, tmp_path):
    with pytest.raises(SzilardError, match="no target 'sparc'; choose one of aarch64, riscv64, x86-64"):
        deploy.tvm_objects(compiled[0], "sparc", tmp_path / "x.tar")
    with pytest.raises(SzilardError, match="writes no file"):
        deploy.compile(bayesian(), inputs(2), backend="tvm", path=tmp_path / "x.so")
    with pytest.raises(SzilardError, match="threads must be 1 for programs of TVM"):
        deploy.compile(bayesian(), inputs(2), backend="tvm", threads=2)
    eager = deploy.compile(bayesian(), inputs(2), backend="eager")
    with pytest.raises(SzilardError, match="backend eager; compile it with tvm"):
        deploy.tvm_objects(eager, "aarch64", tmp_path / "x.tar")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["point", "moments"])
@pytest.mark.parametrize("spec", ["mlp:16", "lenet5", "resnet20-b"])
def test_networks_for_any_batch(spec, mode):
    shape = (1, 12, 12)
    network = bayesian(spec, shape)
    wanted = deploy.compile(network, inputs(2, shape), backend="eager", mode=mode)
    found = deploy.compile(network, inputs(2, shape), backend="tvm", mode=mode)
    for size in (1, 7, 8, 19):
        worst = differences(found(inputs(size, shape)), wanted(inputs(size, shape)))
        assert max(worst.values()) < 1e-4, (size, worst)
