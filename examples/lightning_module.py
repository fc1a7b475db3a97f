"""Train with Szilard in a Lightning module.

pip install 'szilard[lightning]' && python examples/lightning_module.py
"""

from __future__ import annotations

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import szilard


class SparseBayesian(lightning.LightningModule):
    """Trains any network with any of Szilard's methods."""

    def __init__(self, network: torch.nn.Module, method: szilard.methods.Method) -> None:
        super().__init__()
        self.method = method
        self.network = method.prepare(network)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss = self.method.loss(self.network, *batch)
        self.log("energy", self.method.last.energy, prog_bar=True)
        self.log("cost", self.method.last.cost, prog_bar=True)
        return loss

    def on_train_batch_end(self, *_: object) -> None:
        self.method.after_step(self.network, self.optimizers().optimizer)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.method.optimizer(self.network)


def main() -> None:
    data = szilard.data.load("digits")
    loader = DataLoader(TensorDataset(data.train.x, data.train.y), batch_size=64, shuffle=True)
    network = szilard.networks.build("mlp:256,256", data.input_shape, data.n_outputs)
    method = szilard.methods.SSVI(n_data=len(data.train), density=0.1, every=20, total_steps=20 * len(loader))
    module = SparseBayesian(network, method)
    trainer = lightning.Trainer(
        max_epochs=20, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(module, loader)
    quality = szilard.metrics.evaluate(method.predict(module.network, data.test.x), data.test.y)
    print({name: round(value, 3) for name, value in quality.items()})


if __name__ == "__main__":
    main()
