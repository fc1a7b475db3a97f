"""The weights of an external network: read from a file and loaded into the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from szilard.cli.messages import notifier
from szilard.errors import SzilardError, printable
from szilard.file.ledger import ORIGINAL
from szilard.model import formats, matching, saved_network
from szilard.model.formats import Format
from szilard.model.matching import Matched

Tell = Callable[[str], object]


def load(path: Path, network: nn.Module, key: str | None, tell: Tell) -> Matched:
    """Put the weights of a file into a network, and print in one line where in the file they were.

    Raises:
        SzilardError: they do not fit.
    """
    matched = saved_network.load_state(path, network, saved_network.plain_state(path), key)
    if matched.note:
        tell(printable(f"{path}: {matched.note}"))
    return matched


def network_of(
    path: Path,
    spec: str | None,
    key: str | None,
    trusted: bool,
    build: Callable[[str], nn.Module],
    tell: Tell,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a file that holds weights alone, and the metadata on the weights for a ``.szd`` file.

    Args:
        spec: argument of ``build``. A TorchScript archive holds its own code, which is run if it is trusted.

    Raises:
        SzilardError: the network is unknown, or the weights do not fit it.
    """
    script = formats.of(path) == Format.TORCHSCRIPT
    if spec is None and script and trusted:
        return _script(path), {}
    if spec is None:
        if script:
            raise SzilardError(
                f"{path} is a TorchScript archive, whose code is not run unless you trust it; add --trust, or name its "
                "network with --network"
            )
        raise SzilardError(
            f"{path} holds weights and does not say of which network; add --network, for instance file.py:function"
        )
    network = build(spec)
    matched = load(path, network, key, tell)
    own = matching.size(network.state_dict().values())
    if matched.kind in ("", own[1]):
        return network, {}
    return network, {ORIGINAL: {"bytes": matched.bytes, "type": matched.kind}}


def _script(path: Path) -> nn.Module:
    notifier()(printable(f"running the code in {path}"))
    try:
        found = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        reason = printable(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
        raise SzilardError(
            f"{path} cannot be loaded by torch.jit.load ({reason[:120]}); export it again"
        ) from error
    assert isinstance(found, nn.Module)
    return found.eval()
