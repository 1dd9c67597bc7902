"""Packing is exact both ways, and whatever a store hands back is bounded before it is believed."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djqueue.errors import InvalidPayload
from djqueue.payload import payload
from djqueue.payload.packing import TooLong, body_of, inflate, inflated, is_stored, pack, split
from djqueue.payload.payload import Limits

ID = "0197a000-0000-7000-8000-000000000001"
HEAD = payload.encode_head("shop.Import", Limits(tries=3, timeout=9.5))
LIMIT = 1 << 20


def text_of(arguments, **more):
    return payload.encode(HEAD, ID, 1790000000.25, arguments, payload.encode_more(**more))


def unpack(text, body=None):
    read = payload.decode(text)
    assert read.packed is not None
    return inflated(read, body if body is not None else body_of(read.packed.text), LIMIT)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# What would fool a search for the place where the arguments begin.
HOSTILE = {
    "arguments": {"packed": "stored", "arguments": "x"},
    "packed": "zlib",
    'a","packed":"stored","arguments":"b': ',"arguments":{',
    "id": ',"id":"',
}


@given(
    arguments=st.dictionaries(st.text(min_size=1), JSON, max_size=4),
    context=st.dictionaries(st.text(), JSON, max_size=3) | st.just(HOSTILE),
    tags=st.lists(st.text(), max_size=3).map(tuple),
    until=st.none() | st.floats(0, 2e9),
)
def test_what_is_packed_comes_back_and_the_rest_stays_readable(arguments, context, tags, until):
    text = text_of(arguments, context=context, tags=tags, retry_until=until)
    plain = payload.decode(text)
    before, body_text = split(text)
    assert f'{before},"arguments":{body_text}}}' == text

    stored = pack(text, None, 1)
    assert is_stored(stored.text)
    assert payload.known_head(stored.text).head is payload.known_head(text).head
    assert stored.text.isascii()
    assert unpack(stored.text, stored.body) == plain

    data = zlib.compress(body_text.encode())
    packed = f'{before},"packed":"zlib","arguments":"{b64encode(data).decode()}"}}'
    assert payload.known_head(packed).head is payload.known_head(text).head
    assert not is_stored(packed)
    assert unpack(packed) == plain


def test_arguments_that_look_like_a_packed_payload_are_arguments():
    text = text_of(HOSTILE)
    assert payload.decode(text).packed is None
    assert payload.decode(text).arguments == HOSTILE
    assert not is_stored(text)
    assert not is_stored(text_of({"packed": "stored", "arguments": "0" * 64}))


def test_only_what_is_longer_is_compressed():
    text = text_of({"text": "x" * 5000})
    assert pack(text, len(text), None).text == text
    assert pack(text, None, None).text == pack(text, 0, 0).text == text
    packed = pack(text, len(text) - 1, None)
    assert packed.body is None
    assert len(packed.text) < 400
    assert unpack(packed.text).arguments == {"text": "x" * 5000}


def test_what_does_not_become_smaller_stays_as_it_is():
    import random

    noise = "".join(random.Random(1).choices("0123456789abcdefghijklmnopqrstuvwxyzABCDEF-_", k=300))
    text = text_of({"noise": noise})
    assert pack(text, 100, None).text == text


def test_only_what_compression_does_not_make_fit_is_stored():
    text = text_of({"text": "x" * 100_000})
    assert pack(text, 4096, 1000).body is None
    stored = pack(text, None, 1000)
    assert stored.body is not None
    assert len(stored.text) < 300
    assert unpack(stored.text, stored.body).arguments == {"text": "x" * 100_000}


def test_a_retry_writes_the_payload_anew_and_the_reference_survives():
    stored = pack(text_of({"text": "x" * 100}, retry_until=1.5), None, 1)
    data = json.loads(stored.text)
    del data["retry_until"]
    again = json.dumps(data, separators=(",", ":"))
    assert is_stored(again)
    assert unpack(again, stored.body).arguments == {"text": "x" * 100}


# -- hostile data ----------------------------------------------------------------------------------


def bomb(size):
    squeeze = zlib.compressobj(9)
    block = b"a" * (1 << 20)
    parts = [squeeze.compress(block) for _ in range(size >> 20)]
    return b"".join([*parts, squeeze.flush()])


def test_a_bomb_is_refused_in_bounded_memory():
    data = bomb(1 << 30)
    assert len(data) < 2 << 20
    tracemalloc.start()
    with pytest.raises(TooLong, match="inflate to more than 1,048,576 bytes"):
        inflate(data, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * LIMIT


def test_the_limit_is_exact():
    assert len(inflate(zlib.compress(b"x" * LIMIT), LIMIT)) == LIMIT
    with pytest.raises(TooLong):
        inflate(zlib.compress(b"x" * (LIMIT + 1)), LIMIT)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "truncated"),
        (b"nothing of zlib's", "decompressed"),
        (zlib.compress(b"{}")[:-1], "truncated"),
        (zlib.compress(b"{}") + b"x", "too long"),
        (zlib.compress(b"{}") + zlib.compress(b"{}"), "too long"),
        (zlib.compress("é".encode()), "not ASCII"),
        (zlib.compress(b"{"), "cannot be read"),
        (zlib.compress(b'{"a":NaN}'), "cannot be read"),
        (zlib.compress(b'{"a":' + b"[" * 100_000), "cannot be read"),
        (zlib.compress(b"[1]"), "a JSON list, not an object"),
        (zlib.compress(b'"text"'), "a JSON str, not an object"),
    ],
)
def test_damaged_data_is_an_invalid_payload(data, words):
    read = payload.decode(pack(text_of({}), None, 1).text)
    with pytest.raises(InvalidPayload, match=words):
        inflated(read, data, LIMIT)


@pytest.mark.parametrize("text", ["é", "a", "AAAA AAAA", "====", "AA\\u0000AA"])
def test_what_is_no_base64(text):
    with pytest.raises(InvalidPayload, match="base64"):
        body_of(text)


@pytest.mark.parametrize(
    "tail",
    [
        '"packed":"zlib","arguments":{}}',
        '"packed":1,"arguments":"x"}',
        '"packed":"stored","arguments":null}',
        '"packed":"stored"}',
        '"arguments":"eJyrrgUAAXUA+Q=="}',
    ],
)
def test_a_packed_payload_of_another_form_is_refused(tail):
    text = text_of({})
    with pytest.raises(InvalidPayload):
        payload.decode(text[: -len('"arguments":{}}')] + tail)
