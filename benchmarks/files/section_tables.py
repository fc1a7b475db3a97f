"""Tables and figures of the benchmark of files, from its measured sections."""

from __future__ import annotations

from typing import Any

import lenet_files
from files import ablation, along_lambda, coder_speed, contest, nncodec_rows, our_files, predicted_loss
from uncertainty import posterior_files

Section = dict[str, Any]


def table(  # noqa: PLR0911
    name: str, section: Section
) -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows of a section."""
    rows = section.get("rows", [])
    if name in ("resnet20", "resnet56"):
        shown = [row for row in rows if not row["name"].endswith("curve")]
        title = (
            f"{name}: {section['measure']} {section['baseline']:.2f} % on {section['pictures'][1]}; "
            f"the smallest file that loses at most {section['limit']:g} on {section['pictures'][0]}"
        )
        return title, contest.COLUMNS, contest.body(shown, nncodec_rows.TUNED)
    if name == "coder":
        return "Entropy coders on the levels of ResNet-20", coder_speed.COLUMNS, coder_speed.body(rows)
    if name == "ablation":
        return "Bytes of ResNet-20 at equal loss", ablation.COLUMNS, ablation.body(rows)
    if name == "predicted":
        found = [
            f"median {section[f'{k}median_ratio']:.2f}, r = {section[f'{k}r']:.3f}" for k in ("", "soft_")
        ]
        title = (
            f"Measured over predicted loss: {found[0]} of logarithms; at softmax temperature 4: {found[1]}"
        )
        return title, predicted_loss.COLUMNS, predicted_loss.body(section)
    if name == "lambda":
        return "ResNet-20 along λ", along_lambda.COLUMNS, along_lambda.body(rows)
    if name == "lenet":
        return "LeNets on MNIST, trained for their files", list(lenet_files.COLUMNS), lenet_files.body(rows)
    return "Sparse Bayesian networks", posterior_files.COLUMNS, posterior_files.body(rows)


CURVE_COLUMNS = ["", "bytes", "score %", "drop", "± se"]


def curve(section: Section) -> list[list[str]]:
    """All files of Szilard and of NNCodec's best options, by size, under CURVE_COLUMNS."""
    names = {our_files.POINT, our_files.NAME, nncodec_rows.POINT, nncodec_rows.TUNED}
    rows = sorted(
        (r for r in section["rows"] if r["name"] in names), key=lambda r: (r["name"][0], r["n_bytes"])
    )
    return [
        [
            r["name"].partition(",")[0],
            f"{r['n_bytes']:,}",
            f"{r['score']:.2f}",
            f"{r['drop']:.2f}",
            f"{r['drop_error']:.2f}",
        ]
        for r in rows
    ]


def figures(sections: dict[str, Section]) -> dict[str, float | None]:
    """The JSON keys; null if a section or a peer was not run."""
    found: dict[str, float | None] = {}
    for network in ("resnet20", "resnet56"):
        rows = {row["name"]: row for row in sections.get(network, {}).get("rows", [])}
        ours, free = rows.get(our_files.NAME), rows.get(our_files.DATA_FREE)
        kept = rows.get(our_files.PROMISED)
        found[f"{network}_vs_nncodec_tuned"] = over(kept, rows.get(nncodec_rows.TUNED))
        found[f"{network}_plain_vs_nncodec_tuned"] = over(ours, rows.get(nncodec_rows.TUNED))
        found[f"{network}_vs_nncodec_default"] = over(ours, rows.get(nncodec_rows.DEFAULT))
        found[f"{network}_drop_pt"] = kept["drop"] if kept else None
        found[f"{network}_plain_drop_pt"] = ours["drop"] if ours else None
        found[f"{network}_data_free_vs_nncodec_tuned"] = over(free, rows.get(nncodec_rows.TUNED))
        found[f"{network}_bytes"] = ours["n_bytes"] if ours else None
        found[f"{network}_encode_seconds"] = ours["write_seconds"] if ours else None
        found[f"{network}_encode_cpu_seconds"] = ours["options"].get("cpu_seconds") if ours else None
        found[f"{network}_decode_seconds"] = ours["read_seconds"] if ours else None
    keys = [f"{name}_{key}" for name in ("lenet300", "lenet5") for key in ("bytes", "error_percent")]
    found |= dict.fromkeys(keys) | lenet_files.figures(sections.get("lenet", {}).get("rows", []))
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


def over(row: dict[str, Any] | None, other: dict[str, Any] | None) -> float | None:
    """Bytes of one row divided by those of another."""
    return row["n_bytes"] / other["n_bytes"] if row and other else None
