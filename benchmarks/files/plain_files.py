"""Files without a codec for networks: safetensors with zstd, in float32 or int8.

* float32 tensors in a safetensors file, then zstd at level 19;
* the same with each matrix and kernel in int8 and one float32 scale for each output channel: torchao's
  ``Int8WeightOnlyConfig``. torchao supports linear layers only, so a kernel is passed to it as a matrix
  ``[C_out, C_in kh kw]``; accuracy is measured with the dequantised values.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from files.coded import Coded

LEVEL = 19  # of zstd

State = Mapping[str, Tensor]


def float32_zstd(state: State) -> Coded:
    """The float32 file; raises ImportError without safetensors and zstandard."""
    return _coded(lambda: {name: tensor.contiguous() for name, tensor in state.items()}, dict)


def int8_zstd(state: State) -> Coded:
    """The int8 file; raises ImportError without torchao, safetensors and zstandard."""
    importlib.import_module("torchao.quantization")  # imported here, so that the import is not timed
    return _coded(lambda: _quantized(state), _restored)


def _quantized(state: State) -> dict[str, Tensor]:
    torchao = importlib.import_module("torchao.quantization")
    config = torchao.Int8WeightOnlyConfig(set_inductor_config=False)
    tensors = {}
    for name, tensor in state.items():
        if tensor.dim() < 2 or not tensor.is_floating_point():
            tensors[name] = tensor.contiguous()
            continue
        matrix = tensor.detach().flatten(1)
        layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        layer.weight = nn.Parameter(matrix.clone())
        torchao.quantize_(layer, config)
        tensors[name] = layer.weight.qdata.reshape(tensor.shape)
        tensors[f"{name}.scale"] = layer.weight.scale.flatten()
    return tensors


def _restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {}
    for name, tensor in tensors.items():
        scale = tensors.get(f"{name}.scale")
        if scale is not None:
            state[name] = tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
        elif not (name.endswith(".scale") and name.removesuffix(".scale") in tensors):
            state[name] = tensor
    return state


def _coded(
    pack: Callable[[], dict[str, Tensor]], restore: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
) -> Coded:
    safetensors = importlib.import_module("safetensors.torch")
    zstandard = importlib.import_module("zstandard")
    started = time.perf_counter()
    content = zstandard.ZstdCompressor(level=LEVEL).compress(safetensors.save(pack()))
    written = time.perf_counter()
    state = restore(safetensors.load(zstandard.ZstdDecompressor().decompress(content)))
    return Coded(len(content), state, written - started, time.perf_counter() - written)
