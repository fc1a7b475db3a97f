"""Networks on another machine: the session with its server, the clocks there, and TVM's own server on this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from cli_tools import TINY, szilard
from deploy_networks import bayesian, inputs

from szilard import SzilardError, deploy
from szilard.cost.interleave import rounds
from szilard.cost.latency import judged
from szilard.deploy import remote, tvm_session


class Clocks:
    """A module on a device whose functions take the same time in every call; it had a processor for a share of it."""

    def __init__(self, seconds: float, share: float = 1.0) -> None:
        self.seconds, self.share, self.used, self.asked = seconds, share, 0.0, []

    def time_evaluator(self, function, cpu, number, repeat):
        def call(*arguments):
            self.asked.append((number, repeat))
            self.used += self.share * self.seconds * (1 + number * repeat)
            return type("Found", (), {"results": [self.seconds] * repeat})

        return call

    def timer(self) -> remote._Timer:
        return remote._Timer(self, "timed", None, [], lambda: self.used)


def judge(network: Clocks, **settings):
    timers = {"reference": Clocks(2**-11).timer(), "network": network.timer()}
    turns = rounds(timers, budget=0.0, least_rounds=10, warmed_up=True)
    named = {"network": (turns["network"], timers["network"].calls)}
    return judged(turns["reference"], named, threads=1, where="the device pi:9090", **settings)["network"]


def test_times_are_those_of_the_device():
    found = judge(Clocks(2**-8))
    assert (found.median, found.p10, found.p90) == (2**-8,) * 3
    assert found.noise.share == pytest.approx(1.0)  # the call that is not timed does not count
    assert found.readings == 10 * 6  # 20 ms of calls in each round, each one a reading
    assert found.calls_per_reading == 1


def test_short_calls_are_timed_several_at_a_time_there():
    network = Clocks(2**-19)
    found = judge(network)
    assert (found.median, found.calls_per_reading) == (2**-19, 27)
    assert network.asked[-1] == (27, 389)  # 20 ms of readings of 27 calls, in one message


def test_a_noisy_device_is_refused():
    with pytest.raises(
        SzilardError, match=r"device pi:9090 is too noisy .* had a processor for 40 % of the time"
    ):
        judge(Clocks(2**-8, share=0.4))
    assert not judge(Clocks(2**-8, share=0.4), noisy=True).noise.quiet


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("pi:9091", ("pi", 9091)), ("pi", ("pi", 9090)), ("tvm://10.0.0.7:80", ("10.0.0.7", 80)),
        ("[::1]:9090", ("::1", 9090)),
    ],
)  # fmt: skip
def test_addresses(address, found):
    assert tvm_session.parsed(address) == found


@pytest.mark.parametrize("address", ["", "pi:ssh", ":9090", "pi:0", "pi:65536"])
def test_what_is_no_address(address):
    with pytest.raises(SzilardError, match="give HOST:PORT"):
        tvm_session.parsed(address)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"SSH-2.0", "is no RPC server of TVM"),
        (b"", "does not answer: another program is using it"),
        (None, None),
    ],
)
def test_who_answers(answer, sentence, monkeypatch):
    monkeypatch.setattr(tvm_session, "WAIT", 0.05 if answer == b"" else 10.0)
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                magic, size = struct.unpack("<ii", connection.recv(8, socket.MSG_WAITALL))
                heard.append((magic, connection.recv(size, socket.MSG_WAITALL)))
                connection.sendall(struct.pack("<i", 0xFF271 + 2) if answer is None else answer)
                with contextlib.suppress(ConnectionError):
                    connection.recv(1)  # until the other side closes

        thread = threading.Thread(target=serve)
        thread.start()
        if sentence is None:
            tvm_session.knock("127.0.0.1", server.getsockname()[1])
        else:
            with pytest.raises(SzilardError, match=sentence):
                tvm_session.knock("127.0.0.1", server.getsockname()[1])
        thread.join()
    magic, key = heard[0]
    assert magic == 0xFF271  # TVM's
    assert key.startswith(b"client:")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_no_server():
    with pytest.raises(SzilardError, match=r"there is no TVM server at 127.0.0.1.*tvm.exec.rpc_server"):
        tvm_session.knock("127.0.0.1", free_port())


def test_the_line_of_an_error_that_says_what_is_wrong():
    text = "RPCError: Error caught from RPC call:\nCompilation error:\n/usr/bin/ld: a.o: wrong format.\nmore"
    assert tvm_session.reason(RuntimeError(text)) == "/usr/bin/ld: a.o: wrong format"
    assert tvm_session.reason(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--processor", "aarch64"], "--processor is an option of --remote; add --remote"),
        (["--noisy"], "--noisy is an option of --remote"),
        (["--remote", "pi", "--backend", "onnx"], "--remote is for backend tvm, not onnx"),
        (["--remote", "pi", "-o", "net.onnx"], "writes no file; leave out --out"),
        (
            ["--remote", "pi", "--processor", "sparc"],
            "no target 'sparc'; choose one of aarch64, riscv64, x86-64",
        ),
    ],
)
def test_options_that_do_not_go_together(typed, sentence, tmp_path):
    szilard("deploy", tmp_path, *typed).refused(sentence)


@pytest.fixture(scope="module")
def server():
    """The address of TVM's server on this machine."""
    pytest.importorskip("tvm")
    port = free_port()
    words = [
        "-m",
        "tvm.exec.rpc_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--port-end",
        str(port + 1),
        "--silent",
    ]
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                tvm_session.knock("127.0.0.1", port)
                break
            except SzilardError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_outputs_and_times_of_a_server_on_this_machine(server, monkeypatch):
    compiled = deploy.compile(bayesian(density=0.5, outputs=5), inputs(3), backend="tvm", batch=3)
    found = deploy.on_device(compiled, server, inputs(7), budget=0.1, noisy=True)
    assert (found.address, found.batch, found.inputs) == (server, 3, 6)
    assert found.difference < 1e-5
    assert 0 < found.latency.p10 <= found.latency.median <= found.latency.p90 < 1
    family = found.processor.partition(" ")[0]
    other = "riscv64" if family != "riscv64" else "aarch64"
    with pytest.raises(SzilardError, match=f"is {family}, not {other}; leave out processor="):
        deploy.on_device(compiled, server, inputs(3), processor=other)
    right = remote._Device.outputs
    monkeypatch.setattr(remote._Device, "outputs", lambda *given: [1.01 * one for one in right(*given)])
    with pytest.raises(SzilardError, match=r"tvm on .* computes another \w+ than PyTorch"):
        deploy.on_device(compiled, server, inputs(3))


@pytest.mark.slow
def test_the_command(server, tmp_path):
    typed = szilard("fit", *TINY, "--density", 0.8, "--no-baselines", "--out", tmp_path / "run", "--quiet")
    assert typed.code == 0, typed.output
    typed = szilard("deploy", tmp_path / "run", "--remote", server, "--noisy")
    assert typed.code == 0, typed.output
    assert server in typed.stdout
    assert "(p10 to p90)" in typed.stdout
    assert "(moments, 1 thread)" in typed.stdout
    assert "the device's own clock" in typed.stdout
    typed = szilard("deploy", tmp_path / "run", "--remote", server, "--noisy", "--json")
    found = json.loads(typed.stdout)
    assert found["device"]["address"] == server
    assert found["device"]["inputs"] == 64
    assert found["device"]["difference"] < 1e-4
    assert found["seconds"] == {"moments": found["device"]["median"]}
