"""Read files of ``torch.save`` without torch's own reader: only tensors and plain containers.

Other objects in a checkpoint (settings, callbacks, classes of a trainer) can be returned as :class:`Unread`, which
holds only a name, so that the tensors can still be read. The modules of a TorchScript archive are such objects with
attributes.

``torch.load(weights_only=True)`` runs no code from the file, but a file of a kilobyte can make it allocate gigabytes: a
compressed record, a storage that is not in the file, ``bytearray(10**12)``, a view larger than its storage. Here every
storage is a slice of the file's bytes, so memory is bounded by the size of the file.
"""

from szilard.model.torch_file.reading import is_archive, loads
from szilard.model.torch_file.refusals import Damaged, Objects
from szilard.model.torch_file.tensors import MOST_VIEW
from szilard.model.torch_file.unread import Unread

__all__ = ["MOST_VIEW", "Damaged", "Objects", "Unread", "is_archive", "loads"]
