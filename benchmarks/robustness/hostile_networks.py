"""Saved networks with changed metadata, as .szd and .pt files, given to every function that opens a network.

The metadata name code, data files and data sets in a folder of bait files (:func:`network_seeds.lay_bait`). A reader
that opens or runs one of them because a file names it violates SECURITY.md.
"""

from __future__ import annotations

import functools
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import szd_reference as reference

from robustness import codec, mutate, odd_json
from robustness.network_seeds import bait, seeds
from robustness.watch import MIB, Outcome, too_much, watched

Fault = tuple[str, str]
SECONDS = 1.0  # limit of CPU time to open a network of some kilobytes
COMMAND_SECONDS = 20.0  # limit of CPU time of a command
COMMANDS_EVERY = 12  # one of this many inputs is also given to the commands


# -- mutants --------------------------------------------------------------------------------------------


def mutant(family: str, number: int, folder: Path, traps: Path) -> tuple[str, bytes]:
    """Name and bytes of input ``number`` of ``meta`` (.szd) or ``pt``."""
    rng = random.Random(f"{family} {number}")
    _, draft, content = rng.choice(seeds(folder))
    if family == "pt":
        return "mutant.pt", torch_file(content, rng, bait(traps))
    draft = draft.copy()
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        draft.meta = changed_network(draft.meta, rng, bait(traps))
    if rng.random() < 0.1:
        mutate.change_shape(draft, [draft], rng)
        codec.fit_raw(draft, rng)
        draft.meta = odd_json.text(draft.meta, rng)
        return "mutant.szd", codec.rehashed(codec.write(draft))
    draft.meta = odd_json.text(draft.meta, rng)
    return "mutant.szd", codec.rehashed(codec.write(draft))


def changed_network(meta: Any, rng: random.Random, extra: list[Any]) -> Any:
    """Metadata with one change, mostly in a field of the saved network."""
    network = meta.get("network") if isinstance(meta, dict) else None
    if not isinstance(network, dict) or not network or rng.random() < 0.1:
        return odd_json.change(meta, rng, extra)
    key = rng.choice(list(network))
    if rng.random() < 0.5:
        return {**meta, "network": {**network, key: odd_json.odd(rng, extra)}}
    inner = odd_json.change({key: network[key]}, rng, extra)
    rest = {other: value for other, value in network.items() if other != key}
    return {**meta, "network": {**rest, **inner}} if isinstance(inner, dict) else {**meta, "network": inner}


def torch_file(content: dict[str, Any], rng: random.Random, extra: list[Any]) -> bytes:
    """A file of ``torch.save`` with changed content, or with changed bytes inside its archive."""
    how = rng.random()
    if how < 0.6:
        content = changed_content(content, rng, extra)
    data = saved(content)
    if how > 0.95:
        return mutate.spoil(data, rng)
    return repacked(data, rng) if how > 0.6 else data


def saved(content: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def changed_content(content: dict[str, Any], rng: random.Random, extra: list[Any]) -> Any:
    content, extra = dict(content), [*extra, *odd_tensors(rng)]
    keys = [key for key in content if key != "state_dict"]
    if rng.random() < 0.25 and isinstance(content.get("state_dict"), dict):
        state = dict(content["state_dict"])
        name = rng.choice(list(state))
        how = rng.randrange(4)
        if how == 0:
            del state[name]
        elif how == 1:
            state[odd_name(name, rng)] = state.pop(name)
        else:
            state[name] = unliteral(odd_json.odd(rng, odd_tensors(rng) * 3))
        return content | {"state_dict": state}
    key = rng.choice(keys)
    value = content[key].tolist() if hasattr(content[key], "tolist") else content[key]
    inner = unliteral(odd_json.change({key: value}, rng, extra))
    content.pop(key)
    return {**content, **inner} if isinstance(inner, dict) else inner


def odd_name(name: str, rng: random.Random) -> Any:
    return rng.choice([f"{name}x", "", 7, None, ("a", 1), "module." + name, "\x1b[2J"])


def odd_tensors(rng: random.Random) -> list[Any]:
    """Tensors that no valid network contains."""
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
    """The value with its JSON literals replaced by numbers, for a pickle."""
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


def repacked(data: bytes, rng: random.Random) -> bytes:
    """The zip archive with one member changed, compressed, doubled, emptied or enlarged, with correct checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as fresh:
        names = archive.namelist()
        chosen, how = rng.choice(names), rng.randrange(7)
        chosen = rng.choice([chosen, next(name for name in names if name.endswith("data.pkl"))])
        for name in names:
            content, method = archive.read(name), zipfile.ZIP_STORED
            if name == chosen:
                if how in (0, 1):
                    content = mutate.spoil(content, rng)
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


# -- readers --------------------------------------------------------------------------------------------


def check(name: str, data: bytes, folder: Path, traps: Path, *, commands: bool) -> list[Fault]:
    """Faults of the library on one file.

    Args:
        folder: where the file is written.
        commands: test ``measure``, ``predict`` and ``compress``, too.
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
        commands_to_run = {
            "measure": ["measure", str(path), "--samples", "1", "--json"],
            "predict": ["predict", str(path), "digits", "--samples", "1", "-o", f"{out}.csv"],
            "compress": ["compress", str(path), "--lam", "1e-4", "-o", f"{out}.szd", "--quiet"],
        }
        for word, arguments in commands_to_run.items():
            found = watched(functools.partial(typed_command, *arguments), (path, out, keys))
            faults += judged(word, found, declared, COMMAND_SECONDS)
            for leftover in folder.glob("out*"):
                leftover.unlink()
    if (traps / "RAN").exists():
        (traps / "RAN").unlink()
        faults.append(("code_run", "the payload was executed"))
    return faults


def declared_bytes(data: bytes, path: Path) -> int:
    if path.suffix != ".szd":
        return len(data)
    try:
        return reference.tables(data).declared
    except reference.Refused:
        return 0


def judged(entry: str, found: Outcome, declared: int, seconds: float) -> list[Fault]:
    faults: list[Fault] = []
    if found.wrong:
        faults.append(("wrong_exceptions", f"{entry}: {found.wrong}"))
    slack = 0 if entry.startswith("load") else 128 * MIB  # predictions need additional memory
    if too_much(found, declared + slack):
        faults.append(("peak_over_allowed", f"{entry}: {found.peak} bytes for {declared} declared"))
    if found.seconds > seconds:
        faults.append(("slow", f"{entry}: {found.seconds:.1f} s"))
    return faults + [("code_run", f"{entry}: {what}") for what in found.touched]


def typed_command(*arguments: str) -> str:
    """Run a command in this process; its exit code must be 0, or 2 with one line of output.

    Raises:
        AssertionError: a different exit code or output.
        BaseException: an exception that the command did not handle.
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
