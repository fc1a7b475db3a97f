"""A plain PyTorch loop. Szilard adds only the network, the loss and one call after each step.

python examples/plain_loop.py
"""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, TensorDataset

import szilard

data = szilard.data.load("digits")
train = TensorDataset(data.train.x, data.train.y)
loader = DataLoader(train, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0))

network = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(64, 256),
    torch.nn.ReLU(),
    torch.nn.Linear(256, 256),
    torch.nn.ReLU(),
    torch.nn.Linear(256, 10),
)
# fresh=True: this network was never trained, so its support starts at random. Omit it for a pretrained network.
network = szilard.bayesianize(network, density=0.1, fresh=True)
method = szilard.methods.SSVI(n_data=len(train), total_steps=30 * len(loader), every=20)
optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

for epoch in range(30):
    for x, y in loader:
        loss = method.loss(network, x, y)  # free energy per example, in nats
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)  # moves the support every 20 steps
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}: F = {method.last_energy:.3f} + {method.last_cost:.3f} nats")

predicted = method.predict(network, data.test.x, samples=32)
ood = method.predict(network, data.ood.x, samples=32)
quality = szilard.metrics.evaluate(predicted, data.test.y, ood=ood)
print({name: round(value, 3) for name, value in quality.items()})
cost = szilard.cost.count(network, data.input_shape)
print(
    f"{cost.nonzeros} numbers instead of {64 * 256 + 256 * 256 + 2560 + 522}, {cost.macs} multiply-adds per image"
)
