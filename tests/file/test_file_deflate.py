"""Deflate streams that end too early or have trailing bytes."""

import pytest

from szilard.file import deflate
from szilard.file.error import Broken


@pytest.mark.parametrize("trailing", [1, 10, 5000, 300_000])
@pytest.mark.parametrize("wanted", [1, 3, 4, 1000])
def test_trailing_bytes_are_refused(trailing, wanted):
    """Reading returns at most the content of the stream; end() then reports the trailing bytes."""
    inflater = deflate.Inflater(deflate.compress(b"abc") + bytes(trailing), "a tensor")
    assert inflater.take(wanted) == b"abc"[:wanted]
    with pytest.raises(Broken, match="has too many bytes" if wanted < 3 else "not one whole"):
        inflater.end()


@pytest.mark.parametrize("trailing", [1, 300_000])
def test_trailing_bytes_of_a_stream_read_in_pieces_are_refused(trailing):
    inflater = deflate.Inflater(deflate.compress(bytes(range(200))) + bytes(trailing), "a tensor")
    assert inflater.take(1) == b"\0"
    assert len(inflater.take(150)) == 150
    assert inflater.take(1000) == bytes(range(151, 200))
    assert inflater.take(1000) == b""
    with pytest.raises(Broken, match="not one whole"):
        inflater.end()


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_truncated_stream_gives_its_beginning_and_is_refused(kept):
    data = bytes(range(256)) * 100
    inflater = deflate.Inflater(deflate.compress(data)[:kept], "a tensor")
    found = inflater.take(len(data))
    assert found == data[: len(found)]
    assert len(found) < len(data)
    with pytest.raises(Broken, match="not one whole"):
        inflater.end()
