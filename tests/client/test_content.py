"""The body of a request, written while it is sent."""

import tracemalloc
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.client.request import RequestBody
from qubrid_cli.urls import DataUrl

PIECE = 256 * 1024


@given(st.integers(0, 3).flatmap(lambda rest: st.sampled_from([rest, 196_608 + rest, 2 * 196_608 - rest])))
def test_a_data_url_in_chunks_equals_the_whole_one(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    url = DataUrl("image/png", data)
    assert str(url) == "data:image/png;base64," + b64encode(data).decode()
    assert len(url) == len(str(url))


def test_a_body_has_its_length_before_it_is_encoded() -> None:
    content = RequestBody((b'{"n":', DataUrl("image/jpeg", b"12345"), b"x" * PIECE + b"}"))
    assert len(content) == len(bytes(content)) == len(b"".join(content.iter_chunks()))
    assert max(map(len, content.iter_chunks())) <= PIECE


def test_an_image_is_not_held_twice_while_it_is_sent() -> None:
    content = RequestBody((DataUrl("image/jpeg", bytes(8_000_000)),))
    tracemalloc.start()
    try:
        assert sum(map(len, content.iter_chunks())) == len(content)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
