"""Deflate streams that end before or after where they should."""

import pytest

from szilard.file import deflate
from szilard.file.error import Broken


@pytest.mark.parametrize("behind", [1, 10, 5000, 300_000])
@pytest.mark.parametrize("wanted", [1, 3, 4, 1000])
def test_bytes_behind_the_end_end_the_reading(behind, wanted):
    """Whoever wants more than the stream holds gets what there is, and is told of the rest."""
    inflater = deflate.Inflater(deflate.compress(b"abc") + bytes(behind), "a tensor")
    assert inflater.take(wanted) == b"abc"[:wanted]
    with pytest.raises(Broken, match="has too many bytes" if wanted < 3 else "not one whole"):
        inflater.end()


@pytest.mark.parametrize("behind", [1, 300_000])
def test_bytes_behind_the_end_of_a_stream_that_is_read_in_pieces(behind):
    inflater = deflate.Inflater(deflate.compress(bytes(range(200))) + bytes(behind), "a tensor")
    assert inflater.take(1) == b"\0"
    assert len(inflater.take(150)) == 150
    assert inflater.take(1000) == bytes(range(151, 200))
    assert inflater.take(1000) == b""
    with pytest.raises(Broken, match="not one whole"):
        inflater.end()


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_stream_that_is_cut_short_gives_what_there_is(kept):
    data = bytes(range(256)) * 100
    inflater = deflate.Inflater(deflate.compress(data)[:kept], "a tensor")
    found = inflater.take(len(data))
    assert found == data[: len(found)]
    assert len(found) < len(data)
    with pytest.raises(Broken, match="not one whole"):
        inflater.end()
