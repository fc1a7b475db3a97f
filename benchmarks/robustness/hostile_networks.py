"""Saved networks with changed metadata, as .szd and as torch's files, through all that opens a network.

The metadata name code, data files and data sets that lie in a folder of bait (:func:`lay_bait`): whoever opens or runs
one of these because a file said so has done what SECURITY.md promises not to do.
"""

from __future__ import annotations

import functools
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import szd_reference as page

from robustness import codec, mutate, odd_json
from robustness.watch import MIB, Outcome, too_much, watched

Fault = tuple[str, str]
SECONDS = 1.0  # of CPU time, to open a network of some kilobytes
COMMAND_SECONDS = 20.0  # the same, and to ask it
COMMANDS_EVERY = 12  # inputs, of which one goes through the commands, too
FIT = [
    "fit",
    "--no-baselines",
    "--epochs",
    "1",
    "--samples",
    "2",
    "--ood",
    "none",
    "--accelerator",
    "cpu",
    "--quiet",
]
PAYLOAD = """
from pathlib import Path
Path(__file__).with_name("RAN").touch()
def build(input_shape, n_outputs):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, n_outputs))
"""


def lay_bait(folder: Path) -> None:
    """Code and data that nobody may touch."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "payload.py").write_text(PAYLOAD)
    (folder / "bait.csv").write_text("a,b,y\n" + "1,2,3\n2,3,5\n" * 20)
    np.savez(folder / "bait.npz", x=np.zeros((30, 1, 8, 8), np.float32), y=np.arange(30) % 10)
    for name in ("MNIST", "mnist", "cifar10"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "train-images-idx3-ubyte").write_bytes(b"\0\0\10\3" + bytes(12))


def bait(folder: Path) -> list[Any]:
    """Values that lead there, and names that lead elsewhere."""
    return [
        "payload.py:build", f"{folder}/payload.py:build", "./payload.py:build", "payload:build", "os:system",
        "bait.csv",
        f"{folder}/bait.csv", "bait.npz", f"{folder}/bait.npz", str(folder), "mnist", "cifar10", "boston",
        "mlp:100000,100000",
        "mlp:" + "9" * 50, "mlp:-4", "mlp:0", "mlp:", "mlp", "resnet9999", "resnet20", "lenet5", "../../x",
        "ssvi", "mean-field",
        "deterministic", "regression", "classification", {"name": "mnist", "root": str(folder), "download": True},
        {"name": "bait.csv"}, {"name": f"{folder}/bait.npz"}, {"name": "digits", "ood": f"{folder}/bait.npz"},
        {"name": "digits", "download": True}, {"name": "mnist", "fetch": True}, [1, 2**40], [2**20, 2**20], [1] * 64,
    ]  # fmt: skip


# -- seeds ----------------------------------------------------------------------------------------------


def make_seeds(folder: Path) -> None:
    """A tiny network of every method, and one that predicts a quantity, each as ``NAME.pt`` and ``NAME.szd``."""
    from szilard import methods

    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "table.csv"
    rows = [f"{i % 7},{i % 5 - 2.5},{i % 3}" for i in range(60)]
    table.write_text("\n".join(["a,b,y", *rows]) + "\n")
    digits = ["--data", "digits", "--n-train", "60", "--network", "mlp:4"]
    typed = [part for name in methods.names() for part in ("--method", name)]
    command(*FIT, *digits, *typed, "--out", str(folder / "run"))
    quantity = ["--data", str(table), "--target", "y", "--task", "regression", "--network", "mlp:3"]
    command(*FIT, *quantity, "--method", "deterministic", "--out", str(folder / "table"))
    found = {path.parent.name: path for path in sorted((folder / "run").glob("*/network.pt"))}
    found["quantity"] = folder / "table" / "deterministic" / "network.pt"
    for name, path in found.items():
        (folder / f"{name}.pt").write_bytes(path.read_bytes())
        (folder / f"{name}.szd").write_bytes(as_szd(path))


def as_szd(path: Path) -> bytes:
    """A network of a run as a .szd file: its tensors raw, its metadata as ``szilard compress`` writes them."""
    from szilard import file
    from szilard.model import saved_network

    found = saved_network.load(path)
    return file.dumps(file.from_state_dict(found.network.state_dict(), meta=saved_network.to_meta(found)))


def command(*arguments: str) -> str:
    """A command in this process.

    Raises:
        RuntimeError: it did not end well.
    """
    from typer.testing import CliRunner

    from szilard.cli import app

    done = CliRunner().invoke(app, list(arguments))
    if done.exit_code:
        raise RuntimeError(f"szilard {' '.join(arguments[:3])}: {done.output} {done.exception!r}")
    return done.output


@functools.cache
def seeds(folder: Path) -> list[tuple[str, codec.Draft, dict[str, Any]]]:
    """Name, .szd draft and content of the .pt file of each network."""
    import torch

    return [
        (path.stem, codec.read(path.read_bytes()), torch.load(path.with_suffix(".pt"), weights_only=True))
        for path in sorted(folder.glob("*.szd"))
    ]


# -- mutants --------------------------------------------------------------------------------------------


def mutant(family: str, number: int, folder: Path, traps: Path) -> tuple[str, bytes]:
    """Name and bytes of input ``number`` of ``meta`` (.szd) or ``pt``."""
    more = random.Random(f"{family} {number}")
    _, draft, content = more.choice(seeds(folder))
    if family == "pt":
        return "mutant.pt", torch_file(content, more, bait(traps))
    draft = draft.copy()
    for _ in range(more.choice([1, 1, 1, 2, 3])):
        draft.meta = changed_network(draft.meta, more, bait(traps))
    if more.random() < 0.1:
        mutate.change_shape(draft, [draft], more)
        codec.fit_raw(draft, more)
        draft.meta = odd_json.text(draft.meta, more)
        return "mutant.szd", codec.rehashed(codec.write(draft))
    draft.meta = odd_json.text(draft.meta, more)
    return "mutant.szd", codec.rehashed(codec.write(draft))


def changed_network(meta: Any, more: random.Random, extra: list[Any]) -> Any:
    """Most changes go to one of the fields of a saved network."""
    network = meta.get("network") if isinstance(meta, dict) else None
    if not isinstance(network, dict) or not network or more.random() < 0.1:
        return odd_json.change(meta, more, extra)
    key = more.choice(list(network))
    if more.random() < 0.5:
        return {**meta, "network": {**network, key: odd_json.odd(more, extra)}}
    inner = odd_json.change({key: network[key]}, more, extra)
    rest = {other: value for other, value in network.items() if other != key}
    return {**meta, "network": {**rest, **inner}} if isinstance(inner, dict) else {**meta, "network": inner}


def torch_file(content: dict[str, Any], more: random.Random, extra: list[Any]) -> bytes:
    """A file of ``torch.save`` with other content, or with other bytes inside its archive."""
    how = more.random()
    if how < 0.6:
        content = changed_content(content, more, extra)
    data = saved(content)
    if how > 0.95:
        return mutate.spoil(data, more)
    return repacked(data, more) if how > 0.6 else data


def saved(content: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def changed_content(content: dict[str, Any], more: random.Random, extra: list[Any]) -> Any:
    content, extra = dict(content), [*extra, *odd_tensors(more)]
    keys = [key for key in content if key != "state_dict"]
    if more.random() < 0.25 and isinstance(content.get("state_dict"), dict):
        state = dict(content["state_dict"])
        name = more.choice(list(state))
        how = more.randrange(4)
        if how == 0:
            del state[name]
        elif how == 1:
            state[odd_name(name, more)] = state.pop(name)
        else:
            state[name] = unliteral(odd_json.odd(more, odd_tensors(more) * 3))
        return content | {"state_dict": state}
    key = more.choice(keys)
    value = content[key].tolist() if hasattr(content[key], "tolist") else content[key]
    inner = unliteral(odd_json.change({key: value}, more, extra))
    content.pop(key)
    return {**content, **inner} if isinstance(inner, dict) else inner


def odd_name(name: str, more: random.Random) -> Any:
    return more.choice([f"{name}x", "", 7, None, ("a", 1), "module." + name, "\x1b[2J"])


def odd_tensors(more: random.Random) -> list[Any]:
    """Tensors that no network has."""
    import torch

    one = torch.zeros(1)
    return [
        one.expand(2**40), one.expand(2**20, 2**20), torch.eye(3).to_sparse(), torch.zeros(3, dtype=torch.complex64),
        torch.full((1, 8, 8), float("nan")), torch.zeros(1, 8, 8), torch.full((1, 1, 1), -1.0), torch.zeros(0),
        torch.zeros(64),
        torch.zeros(3, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.bool), torch.empty(3, device="meta"),
        torch.zeros(4, 64).t(), torch.zeros(2, 3, dtype=torch.bfloat16),
    ]  # fmt: skip


def unliteral(value: Any) -> Any:
    """Literals of JSON as the numbers that they stand for, as a pickle can hold them."""
    if isinstance(value, dict):
        return {key: unliteral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unliteral(item) for item in value]
    if isinstance(value, str) and value.startswith("@@"):
        word = value.strip("@")
        if word.lstrip("-").isdigit():
            return 10 ** min(len(word), 4000)
        try:
            return float(word)
        except ValueError:
            return "\x1b[2J" if word.startswith('"') else [[[[[]]]]]
    return value


def repacked(data: bytes, more: random.Random) -> bytes:
    """The zip archive with one member changed, compressed, doubled, emptied or grown; sums made right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as fresh:
        names = archive.namelist()
        chosen, how = more.choice(names), more.randrange(7)
        chosen = more.choice([chosen, next(name for name in names if name.endswith("data.pkl"))])
        for name in names:
            content, method = archive.read(name), zipfile.ZIP_STORED
            if name == chosen:
                if how in (0, 1):
                    content = mutate.spoil(content, more)
                elif how == 2:
                    content, method = content + bytes(32 * MIB), zipfile.ZIP_DEFLATED
                elif how == 3:
                    continue
                elif how == 4:
                    content = b""
                elif how == 5:
                    method = zipfile.ZIP_DEFLATED
                else:
                    fresh.writestr(name + "2", content)
            fresh.writestr(name, content, method)
    return out.getvalue()


# -- doors ----------------------------------------------------------------------------------------------


def check(name: str, data: bytes, folder: Path, traps: Path, *, commands: bool) -> list[Fault]:
    """What is wrong with the library on one file.

    Args:
        folder: for the file.
        commands: try ``measure``, ``predict`` and ``compress``, too.
    """
    from szilard.model import saved_network

    path = folder / name
    path.write_bytes(data)
    keys = Path(os.environ["XDG_CONFIG_HOME"])
    declared = declared_bytes(data, path)
    found = watched(lambda: saved_network.load(path), (path, keys))
    faults = judged("load of a network", found, declared, SECONDS)
    if commands:
        out = folder / "out"
        typed = {
            "measure": ["measure", str(path), "--samples", "1", "--json"],
            "predict": ["predict", str(path), "digits", "--samples", "1", "-o", f"{out}.csv"],
            "compress": ["compress", str(path), "--lam", "1e-4", "-o", f"{out}.szd", "--quiet"],
        }
        for word, arguments in typed.items():
            found = watched(functools.partial(typed_command, *arguments), (path, out, keys))
            faults += judged(word, found, declared, COMMAND_SECONDS)
            for leftover in folder.glob("out*"):
                leftover.unlink()
    if (traps / "RAN").exists():
        (traps / "RAN").unlink()
        faults.append(("code_run", "the payload has run"))
    return faults


def declared_bytes(data: bytes, path: Path) -> int:
    if path.suffix != ".szd":
        return len(data)
    try:
        return page.tables(data).declared
    except page.Refused:
        return 0


def judged(door: str, found: Outcome, declared: int, seconds: float) -> list[Fault]:
    faults: list[Fault] = []
    if found.wrong:
        faults.append(("wrong_exceptions", f"{door}: {found.wrong}"))
    slack = 0 if door.startswith("load") else 128 * MIB  # asking a network takes memory of its own
    if too_much(found, declared + slack):
        faults.append(("peak_over_allowed", f"{door}: {found.peak} bytes for {declared} declared"))
    if found.seconds > seconds:
        faults.append(("slow", f"{door}: {found.seconds:.1f} s"))
    return faults + [("code_run", f"{door}: {what}") for what in found.touched]


def typed_command(*arguments: str) -> str:
    """A command in this process; it must end with 0, or with 2 and one line.

    Raises:
        AssertionError: it ended in another way.
        BaseException: what the command did not tell its user.
    """
    from typer.testing import CliRunner

    from szilard.cli import app

    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    lines = [line for line in done.output.splitlines() if line.strip()]
    if done.exit_code == 2 and not (lines and lines[-1].startswith("error: ")):
        raise AssertionError(f"refused without a sentence: {done.output[-200:]}")
    if done.exit_code not in (0, 2):
        raise AssertionError(f"exit code {done.exit_code}")
    return done.output
