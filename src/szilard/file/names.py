"""The names of a file's tensors in few bytes: the length of the prefix shared with the name before, and the rest
deflated."""

from __future__ import annotations

from collections.abc import Sequence

from szilard.file import deflate
from szilard.file.cursor import Cursor, varints
from szilard.file.error import Broken, SzilardFileError

LONGEST = 1 << 10  #: bytes of one name
ALL = 1 << 21  #: bytes of all names together

_WORDS = """
embeddings.word_embeddings.weight encoder.layer.0.attention.self.query.weight bias
key.value.output.dense.LayerNorm.weight cls_token pos_embed patch_embed.proj.weight blocks.0.norm1.weight bias
attn.qkv.weight bias proj.weight bias norm2.weight bias mlp.fc1.weight bias layers.0.self_attn.in_proj_weight bias
out_proj.weight bias linear1.weight bias 2.weight bias norm1.weight bias 2.weight bias
features.0.classifier.1.head.shortcut.module.model.0.layer4.0.layer3.0.layer2.0.downsample.0.weight 1.weight bias
running_mean var num_batches_tracked layer1.0.conv1.weight bn1.weight bias running_mean var num_batches_tracked
conv2.weight bn2.weight bias running_mean var num_batches_tracked conv3.weight bn3.weight bias running_mean var
num_batches_tracked conv1.weight.mean log_std support bn1.weight 1.bias weight.mean log_std support fc.weight bias
fc1.weight bias 2.weight bias 3.weight bias 0.weight bias 1.weight bias 2.weight bias 3.weight bias 4.weight bias
5.weight bias
"""
#: Names in an order that is common, each without the prefix shared with the one before: the preset dictionary of the
#: deflate stream. It is part of the format and must not be changed.
DICTIONARY = "".join(f"{word}\0" for word in _WORDS.split()).encode()


def pack(names: Sequence[str]) -> bytes:
    """The block of names.

    Raises:
        SzilardFileError: a name is too long, contains a zero character or is not text.
    """
    shared, rest = [], []
    before = b""
    for name in names:
        try:
            now = name.encode()
        except UnicodeEncodeError as error:
            raise SzilardFileError(f"the tensor name {name!r} is not Unicode text; rename it") from error
        if len(now) > LONGEST or b"\0" in now:
            raise SzilardFileError(
                f"the tensor name {name[:50]!r} is longer than {LONGEST} bytes or contains a zero character; rename it"
            )
        shared.append(_common(before, now))
        rest.append(now[shared[-1] :] + b"\0")
        before = now
    raw = varints(shared) + b"".join(rest)
    if sum(map(len, rest)) + sum(shared) > ALL:
        raise SzilardFileError(f"the tensors' names have more than {ALL} bytes in total; shorten them")
    return deflate.compress(raw, DICTIONARY)


def unpack(block: bytes, count: int) -> list[str]:
    """The names of a block, ``count`` of them.

    Raises:
        Broken: there are not ``count`` names, or two are equal.
    """
    raw = deflate.expand(block, 2 * count + ALL, "the table of names", DICTIONARY)
    lengths = Cursor(raw, "the table of names")
    shared = [lengths.varint(LONGEST) for _ in range(count)]
    rest = raw[lengths.at :].split(b"\0")
    if len(rest) != count + 1 or rest.pop():
        raise Broken(f"the table of names does not contain {count} names")
    found: list[str] = []
    before, left = b"", ALL
    for length, end in zip(shared, rest, strict=True):
        if length > len(before) or length + len(end) > LONGEST:
            raise Broken("the table of names contains one that is too long")
        before = before[:length] + end
        left -= len(before) + 1
        if left < 0:
            raise Broken("the table of names is too long")
        try:
            found.append(before.decode())
        except UnicodeDecodeError as error:
            raise Broken("the table of names contains one that is not text") from error
    if len(set(found)) != count:
        raise Broken("two tensors have the same name")
    return found


def _common(one: bytes, other: bytes) -> int:
    """Length of the common prefix of two byte strings."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))
