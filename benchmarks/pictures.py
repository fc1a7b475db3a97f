"""Draw ``docs/one_pass.png``, latency against what the uncertainty is worth, from the results of one_pass.py;
``docs/moments.png``, deviations of one pass against those of draws, from a network that it trains on digits;
``docs/field_ratio.png`` and ``docs/field_errors.png``, bytes and errors of fields, from the results of field.py;
``docs/sensing_*.png``, photographs from compressed measurements, from the results of compressed_sensing.py;
``docs/solve_errors.png``, errors of solvers by layer and against seconds, from the results of solve.py;
``docs/galen_*.png``, policies, networks and sensitivity, from the results of galen.py.

python benchmarks/pictures.py [--out FOLDER] [--only one_pass|moments|field|solve|sensing|galen]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # the backend is chosen first

import szilard
from climate import field_pictures
from pages import field_blocks, galen_blocks, sensing_blocks, solve_blocks
from pages.one_pass_blocks import section
from policies import galen_pictures
from prediction import latency
from sensing import sensing_pictures
from solving import solve_pictures
from szilard import bayes
from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.moments.value import both

#: Networks of the table of latency, and the cases whose quality is theirs.
NETWORKS = {"MLP": "MNIST MLP", "LeNet-5": "MNIST LeNet-5", "ResNet-20": "CIFAR-10 ResNet-20"}
#: Colour and marker of each way to predict. Okabe and Ito (2008): colour-blind people tell these colours apart.
_DRAWS = 400
PICTURES = ("one_pass", "moments", "field", "solve", "sensing", "galen")
WAYS = {
    "point": ("#999999", "s"),
    "one pass": ("#0072b2", "o"),
    "30 draws": ("#d55e00", "^"),
}


def points(found: dict[str, Any], network: str) -> dict[str, tuple[float, float]]:
    """Microseconds of an answer for one input, and AUROC of its epistemic uncertainty, by way to predict.

    The epistemic uncertainty of a point prediction is zero for every input, so its AUROC is 0.5.
    """
    rows = found["latency"]
    quality = next(row for row in found["quality"] if row["network"] == NETWORKS[network])
    backend = latency.default_backend(rows, network, 1)
    point, moments = (
        latency.seconds(rows, network, 1, backend, mode, "full") for mode in ("point", "moments")
    )
    factor = latency.against_draws(rows, network, 1, backend, False, "full")
    key = "auroc_mutual_information"
    seconds = {"point": point, "one pass": moments, "30 draws": moments and factor and moments * factor}
    scores = {"point": 0.5, "one pass": quality["one pass"][key], "30 draws": quality["draws"][key]}
    return {way: (1e6 * float(seconds[way] or "nan"), scores[way]) for way in WAYS}


def draw(found: dict[str, Any], path: Path) -> None:
    """Write the picture: a panel for each network."""
    figure, panels = plt.subplots(1, len(NETWORKS), figsize=(8, 2.8), sharey=True, layout="constrained")
    for panel, network in zip(panels, NETWORKS, strict=True):
        for way, (x, y) in points(found, network).items():
            colour, marker = WAYS[way]
            panel.plot(x, y, marker, color=colour, markersize=7)
            panel.annotate(way, (x, y), (0, 7), textcoords="offset points", ha="center", color=colour)
        panel.set(
            xscale="log", ylim=(0.45, 1.03), title=NETWORKS[network], xlabel="microseconds for one input"
        )
        panel.margins(x=0.25)
        panel.axhline(0.5, color="#dddddd", linewidth=0.8, zorder=0)
    panels[0].set_ylabel("AUROC of epistemic uncertainty")
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def deviations() -> dict[str, tuple[Tensor, Tensor]]:
    """Standard deviations of units by one pass and by draws, by layer, of an MLP trained on digits."""
    data = szilard.data.load("digits")
    method = szilard.methods.SSVI(n_data=len(data.train), density=0.5)
    network = szilard.fit(method, "mlp:64,64", data, epochs=30, progress=False).network.eval()
    layers = [module for module in network.modules() if isinstance(module, BayesLayer)]
    found = {}
    x = data.test.x[:8]
    for number, layer in enumerate(layers):
        kept: list[Any] = []
        handle = layer.register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output))
        bayes.propagate(network, x)
        mine = both(kept.pop()).variance.sqrt()
        with torch.no_grad():
            for draw in range(_DRAWS):
                with bayes.evaluating(network), bayes.drawn(network, 0, draw):
                    network(x)
        handle.remove()
        name = "outputs" if number == len(layers) - 1 else f"layer {number + 1}"
        found[name] = (mine.flatten(), torch.stack(kept).std(0).flatten())
    return found


def draw_deviations(path: Path) -> None:
    """Write the picture: a panel for each layer, with the diagonal."""
    found = deviations()
    figure, panels = plt.subplots(1, len(found), figsize=(8, 2.9), layout="constrained")
    for panel, (name, (mine, drawn)) in zip(panels, found.items(), strict=True):
        low, high = 0.9 * float(min(mine.min(), drawn.min())), 1.05 * float(max(mine.max(), drawn.max()))
        panel.plot([low, high], [low, high], color="#999999", linewidth=0.8)
        panel.plot(drawn, mine, ".", color="#0072b2", markersize=3, alpha=0.5, markeredgewidth=0)
        panel.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=name, xlabel=f"of {_DRAWS} draws")
    panels[0].set_ylabel("deviation by one pass")
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs")
    parser.add_argument("--only", choices=PICTURES, action="append", help="draw this only; repeatable")
    arguments = parser.parse_args()
    folder, wanted = arguments.out, arguments.only or PICTURES
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    if "one_pass" in wanted:
        draw(section(), folder / "one_pass.png")
    if "moments" in wanted:
        draw_deviations(folder / "moments.png")
    if "field" in wanted:
        field_pictures.draw(field_blocks.section(), folder)
    if "sensing" in wanted:
        sensing_pictures.draw(sensing_blocks.section(), folder)
    if "solve" in wanted:
        solve_pictures.draw(solve_blocks.section(), folder)
    if "galen" in wanted:
        galen_pictures.draw(galen_blocks.section(), folder)


if __name__ == "__main__":
    main()
