"""ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import atomic
from szilard.deploy.backends.base import Backend, Job, Run, exported
from szilard.errors import SzilardError, first_line

HASH = "szilard.sha256"


class OnnxRuntime(Backend):
    name = "onnx"
    summary = "an ONNX file, run by ONNX Runtime"
    extra = "onnx"
    modules = ("onnx", "onnxruntime", "onnxscript")
    suffix = ".onnx"

    def compile(self, job: Job) -> Run:
        content = model_bytes(job)
        if job.path is not None:
            atomic.write(job.path, content, follow=True)
        return session(content, job.threads)


def model_bytes(job: Job) -> bytes:
    """The ONNX file of a graph, with metadata and a hash of everything else.

    Raises:
        SzilardError: the graph has an operation that ONNX does not.
    """
    import onnx

    program = exported(job)
    try:
        made = torch.onnx.export(
            program, (), input_names=["x"], output_names=list(job.graph.outputs), dynamo=True, verbose=False
        )
    except Exception as error:
        raise SzilardError(f"the network cannot be written as ONNX: {first_line(error)}") from error
    assert made is not None
    model: Any = made.model_proto
    del model.metadata_props[:]
    entries = dict(job.metadata) | {HASH: digest(model)}
    onnx.helper.set_model_props(model, entries)
    content: bytes = model.SerializeToString()
    return content


def digest(model: Any) -> str:
    """SHA-256 of a model without its metadata."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def read(path: Path) -> tuple[bytes, dict[str, str]]:
    """The bytes and the metadata of a file that :func:`model_bytes` made.

    Raises:
        SzilardError: not an ONNX file, not one of szilard, or its content does not match its hash.
    """
    import onnx

    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise SzilardError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:
        raise SzilardError(f"{path} is not an ONNX file: {first_line(error)}") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if HASH not in metadata:
        raise SzilardError(f"{path} was not written by szilard deploy; run it with ONNX Runtime itself")
    if metadata[HASH] != digest(model):
        raise SzilardError(
            f"{path} does not match its hash: its weights or operations were changed; write it again with szilard deploy"
        )
    return content, metadata


def session(content: bytes, threads: int = 1) -> Run:
    """Open a model in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        opened = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise SzilardError(f"ONNX Runtime cannot open the model: {first_line(error)}") from error
    name = opened.get_inputs()[0].name

    def run(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(found) for found in opened.run(None, {name: x.numpy()}))

    return run
