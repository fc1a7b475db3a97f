"""Why a file of ``torch.save`` is not read."""


class Damaged(Exception):
    """The file is truncated or changed, or is not a file of ``torch.save``."""


class Objects(Exception):
    """The file has more than dense tensors, numbers, strings and containers; the message names it."""
