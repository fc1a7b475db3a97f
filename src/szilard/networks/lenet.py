"""LeNet-5."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from szilard.errors import SzilardError

_SMALLEST = 12  # 12 -> pool 6 -> convolution 2 -> pool 1


class LeNet5(nn.Sequential):
    """Two 5x5 convolutions with pooling and three linear layers (LeCun et al. 1998, fig. 2), as used today.

    ReLU and max-pooling replace the paper's tanh and trained averages, and the second convolution reads
    all six maps. The first convolution pads by 2, so that 28x28 inputs give the map sizes of the paper's 32x32:
    61 706 parameters for 1x28x28 and ten classes.

    Args:
        input_shape: ``(C, H, W)``, H and W at least 12.
        n_outputs: width of the last layer.

    Shapes: ``[B, C, H, W] -> [B, n_outputs]``.
    """

    def __init__(self, input_shape: Sequence[int], n_outputs: int) -> None:
        if len(input_shape) != 3:
            raise SzilardError(
                f"lenet5 needs images (C, H, W), not inputs of shape {tuple(input_shape)}; use mlp"
            )
        channels, height, width = input_shape
        if min(height, width) < _SMALLEST:
            raise SzilardError(
                f"lenet5 needs images of at least {_SMALLEST}x{_SMALLEST}, not {height}x{width}; "
                "use mlp or resnet20"
            )
        size = (height // 2 - 4) // 2 * ((width // 2 - 4) // 2)
        super().__init__(
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * size, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, n_outputs),
        )
