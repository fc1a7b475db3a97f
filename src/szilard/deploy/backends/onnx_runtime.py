"""ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import atomic
from szilard.deploy.backends.base import Backend, Job, Run, exported
from szilard.deploy.backends.quiet import quiet
from szilard.deploy.description import HASH, Description, hashed
from szilard.errors import SzilardError, first_line


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
        return Session(content, job.threads)

    def open(self, path: Path, content: bytes, threads: int) -> tuple[dict[str, str], Callable[[Any], Run]]:
        model, metadata = read(path, content)

        def opened(described: Description) -> Run:
            _check_interface(model, described, path)
            return Session(content, threads)

        return metadata, opened


class Session:
    """A model in ONNX Runtime: a function from inputs to its outputs.

    Args:
        content: the bytes of the ONNX file.
        threads: of the runtime.

    Attributes:
        content, threads: as given.
        input: name of its input.

    Raises:
        SzilardError: ONNX Runtime cannot open it.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        import onnxruntime

        self.content, self.threads = content, threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        try:
            self._opened = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise SzilardError(f"ONNX Runtime cannot open the model: {first_line(error)}") from error
        self.input = self._opened.get_inputs()[0].name

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs for ``x [B, *shape]``, in the order of the file."""
        try:
            found = self._opened.run(None, {self.input: x.numpy()})
        except Exception as error:
            raise SzilardError(f"ONNX Runtime cannot run the network: {first_line(error)}") from error
        return tuple(torch.from_numpy(value) for value in found)


def model_bytes(job: Job) -> bytes:
    """The ONNX file of a graph, with the job's metadata and a hash of everything.

    Raises:
        SzilardError: the graph has an operation that ONNX does not, or the file would have more than 2 GiB.
    """
    with quiet():
        program = exported(job)
        try:
            made = torch.onnx.export(program, (), dynamo=True, verbose=False)
        except Exception as error:
            raise SzilardError(f"the network cannot be written as ONNX: {_reason(error)}") from error
    assert made is not None
    model: Any = made.model_proto
    rename(model, ["x"], job.graph.outputs)
    derive_second_moments(model)
    for node in model.graph.node:  # the exporter's notes: Python stack traces with paths of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    for entries in (
        model.metadata_props,
        model.graph.metadata_props,
        *(v.metadata_props for v in _values(model)),
    ):
        del entries[:]
    return finished(model, job.metadata)


def _reason(error: BaseException) -> str:
    """Why the exporter failed: the operation that it cannot translate, or the first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    operation = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(error))
    if operation is None:
        return first_line(error)
    return (
        f"PyTorch's exporter has no translation of {operation[1]}; choose backend native, inductor or eager"
    )


def finished(model: Any, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a model with metadata and the hash of both.

    Raises:
        SzilardError: it has more than 2 GiB, the most of a protobuf.
    """
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in metadata.items() if key != HASH})
    try:
        found = digest(model)
        model.metadata_props.add(key=HASH, value=found)
        content: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:
        raise SzilardError(
            f"the ONNX file cannot be made: {first_line(error)}; it may have at most 2 GiB"
        ) from error
    return content


def digest(model: Any) -> str:
    """SHA-256 of a model without the entry that holds it."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    kept = [(entry.key, entry.value) for entry in bare.metadata_props if entry.key != HASH]
    del bare.metadata_props[:]
    return hashed([
        bare.SerializeToString(deterministic=True),
        *(text.encode() for pair in sorted(kept) for text in pair),
    ])  # fmt: skip


def read(path: Path, content: bytes) -> tuple[Any, dict[str, str]]:
    """The model and the metadata of a file that :func:`finished` made.

    Raises:
        SzilardError: not an ONNX file, not one of szilard, its content does not match its hash, or it refers to other
            files.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise SzilardError(f"{path} is damaged or not an ONNX file: {first_line(error)}") from error
    if not model.graph.node:
        raise SzilardError(f"{path} is empty or damaged: it contains no network")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if HASH not in metadata:
        raise SzilardError(f"{path} was not written by szilard; run it with ONNX Runtime itself")
    if metadata[HASH] != digest(model):
        raise SzilardError(
            f"{path} does not match its hash: it is damaged, or its weights or operations were changed; write it again"
        )
    if any(one.data_location == onnx.TensorProto.EXTERNAL or one.external_data for one in _tensors(model)):
        raise SzilardError(
            f"{path} refers to tensors in other files, which szilard never writes; write it again"
        )
    return model, metadata


def rename(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Name the inputs and outputs of a model; other values with these names get other ones.

    The exporter's own renaming leaves an inner value that an operation such as ``mean`` named like an output.

    Raises:
        SzilardError: two outputs are the same value, or one is an input.
    """
    graph = model.graph
    old = [value.name for value in (*graph.input, *graph.output)]
    if len(set(old)) != len(old):
        raise SzilardError("two outputs of the graph are the same value, which an ONNX file cannot have")
    wanted = dict(zip(old, [*inputs, *outputs], strict=True))
    taken = set(wanted.values())
    names = {name for node in graph.node for name in (*node.input, *node.output)} | {
        v.name for v in _values(model)
    }
    for name in names & taken - set(wanted):
        wanted[name] = f"{name}.inner"
    for value in _values(model):
        value.name = wanted.get(value.name, value.name)
    for node in graph.node:
        for ends in (node.input, node.output):
            ends[:] = [wanted.get(name, name) for name in ends]


def derive_second_moments(model: Any) -> None:
    """Replace stored second moments m² + s by two operations on the stored m and s.

    ONNX Runtime folds them when it opens the file, so that they cost no time afterwards, and the file is up to a
    third smaller.
    """
    import onnx

    stored = {one.name: one for one in model.graph.initializer}
    added = []
    for name in [name for name in stored if name.endswith(".second")]:
        mean, variance = (f"{name.removesuffix('.second')}.{part}" for part in ("mean", "variance"))
        if mean in stored and variance in stored:
            model.graph.initializer.remove(stored[name])
            added += [
                onnx.helper.make_node("Mul", [mean, mean], [f"{name}.square"], name=f"{name}.square"),
                onnx.helper.make_node("Add", [f"{name}.square", variance], [name], name=name),
            ]
    nodes = [*added, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _check_interface(model: Any, described: Description, path: Path) -> None:
    """Compare inputs and outputs of the model with what its metadata says."""
    import onnx

    given, outputs = model.graph.input, [one.name for one in model.graph.output]
    shape = [one.dim_value for one in given[0].type.tensor_type.shape.dim] if len(given) == 1 else []
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(given[0].type.tensor_type.elem_type).name if shape else ""
    except Exception:
        kind = ""
    wanted = [described.batch or 0, *described.shape]
    if (
        shape != wanted
        or kind != str(described.dtype).removeprefix("torch.")
        or outputs != list(described.outputs)
    ):
        raise SzilardError(
            f"{path} is damaged: its inputs or outputs are not those that it describes; write it again"
        )


def _values(model: Any) -> Iterator[Any]:
    graph = model.graph
    for part in (graph.input, graph.output, graph.value_info, graph.initializer):
        yield from part


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors of a model: weights, and attributes of operations, also in subgraphs and functions."""
    graphs, nodes = [model.graph], [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
