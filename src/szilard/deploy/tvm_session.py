"""A session with TVM's RPC server on another machine: how it is reached, and which processor it has."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from szilard.deploy.cross_compiling import TARGETS, target_of
from szilard.errors import SzilardError, printable

PORT = 9090  #: Of ``python -m tvm.exec.rpc_server``, if none is given.
WAIT = 10.0  #: Seconds for a server to answer.
_MAGIC = 0xFF271  # of the first message to a server
_OTHER_KEY = _MAGIC + 2  # a server's answer to a client that asks for another device
_BEFORE = ("RPCError", "Compilation error", "Traceback")  # of an error's text: where it was caught


def parsed(address: str) -> tuple[str, int]:
    """Host and port of ``"HOST:PORT"``.

    Raises:
        SzilardError: it is something else.
    """
    host, colon, port = address.strip().removeprefix("tvm://").rpartition(":")
    if not colon:
        host, port = port, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SzilardError(f"the device is {address!r}; give HOST:PORT, for instance localhost:{PORT}")
    return host, int(port)


@contextmanager
def opened(host: str, port: int) -> Iterator[Any]:
    """A session with the server, which takes the next client when the block ends.

    Raises:
        SzilardError: there is no server, or it does not answer.
    """
    from tvm import rpc

    knock(host, port)
    try:
        session = rpc.connect(host, port)
    except Exception as error:
        raise SzilardError(f"the TVM server at {host}:{port} starts no session: {reason(error)}") from error
    try:
        yield session
    finally:
        with suppress(Exception):  # the device may have ended it
            session.get_function("CloseRPCConnection")()


def knock(host: str, port: int) -> None:
    """Ask the server for a device that it does not have: TVM's own client waits for ever for a server that is busy.

    Raises:
        SzilardError: there is no server, or it does not answer.
    """
    key, reply = b"client:szilard-asks-whether-you-are-there", b""
    try:
        with socket.create_connection((host, port), timeout=WAIT) as connection:
            connection.sendall(struct.pack("<ii", _MAGIC, len(key)) + key)
            reply = connection.recv(4)
    except TimeoutError as error:
        raise SzilardError(
            f"the TVM server at {host}:{port} does not answer: another program is using it, it must be started again, "
            "or the device is off"
        ) from error
    except OSError as error:
        raise SzilardError(
            f"there is no TVM server at {host}:{port} ({error.strerror or error}); start one on the device with "
            f"python -m tvm.exec.rpc_server --host 127.0.0.1 --port {PORT}, and forward its port with ssh -L"
        ) from error
    if reply != struct.pack("<i", _OTHER_KEY):
        raise SzilardError(f"what listens at {host}:{port} is no RPC server of TVM; give the port of one")


def target(session: Any, device: str, processor: str | None) -> tuple[dict[str, Any], str]:
    """The target of TVM for a device, and its name.

    Raises:
        SzilardError: the device does not say what it is, or is another one than ``processor``.
    """
    from tvm.target import Target, codegen

    asked = None if processor is None else target_of(processor)
    try:
        triple, cpu = (
            str(session.get_function(f"target.llvm_get_system_{what}")()) for what in ("triple", "cpu")
        )
    except Exception as error:
        if asked is None:
            raise SzilardError(
                f"the device {device} does not say which processor it has ({reason(error)}); give processor=, one of "
                f"{', '.join(TARGETS)}"
            ) from error
        return asked, str(processor)
    family = triple.partition("-")[0]
    if asked is not None:
        if family.replace("_", "-").replace("arm64", "aarch64") != processor:
            raise SzilardError(f"the device {device} is {family}, not {processor}; leave out processor=")
        return asked, f"{processor} ({asked['mcpu']})"
    if family == "x86_64":
        # Wider vectors than those of AVX2 made untuned programs slower.
        wide = codegen.target_has_features("avx2", Target({"kind": "llvm", "mcpu": cpu}))
        cpu = "x86-64-v3" if wide else "x86-64"
    return {"kind": "llvm", "mtriple": triple, "mcpu": cpu}, f"{family} ({cpu})"


def reason(error: BaseException) -> str:
    """The line of an error of TVM that says what is wrong; those before it say where it was caught."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(_BEFORE)]
    return printable(kept[0] if kept else type(error).__name__).rstrip(".")
