"""What a payload may look like, before anything is made of it."""

from __future__ import annotations

import json
import time
import zlib
from base64 import b64encode
from typing import Any

import pytest

from djqueue.errors import InvalidPayload, NotSerializable
from djqueue.payload.packing import inflated
from djqueue.payload.payload import (
    MOST_LEVELS,
    MOST_VALUES,
    Limits,
    decode,
    encode,
    encode_head,
    known_head,
)
from tests.arguments import support

HEAD = encode_head("app.thing", Limits(tries=3))
BEFORE = f'{HEAD},"id":"1","sent":1.0,"arguments":'


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def unpack(body: str) -> Any:
    packed = b64encode(zlib.compress(body.encode())).decode()
    payload = decode(f'{HEAD},"id":"1","sent":1.0,"packed":"zlib","arguments":"{packed}"}}')
    return inflated(payload, zlib.compress(body.encode()), 1 << 30).arguments


@pytest.mark.parametrize("levels", [300, 600, 900, 9_000, 100_000])
def test_what_is_nested_too_deeply_is_refused_before_anything_recurses(levels):
    body = f'{{"x":{"[" * levels}{"]" * levels}}}'
    with pytest.raises(InvalidPayload, match="nested too deeply"):
        decode(f"{BEFORE}{body}}}")
    with pytest.raises(InvalidPayload, match="nested too deeply"):
        unpack(body)


def test_what_a_dispatch_makes_of_the_deepest_argument_is_read():
    deepest: Any = 1
    for _ in range(64):
        deepest = {1: deepest}  # pairs: three levels each
    stored = support.encode(deepest)
    payload = decode(encode(HEAD, "1", 1.0, {"x": stored}))
    assert support.decode(payload.arguments["x"]) == deepest


def test_brackets_within_texts_are_no_levels():
    assert decode(encode(HEAD, "1", 1.0, {"x": "[" * 1000})).arguments == {"x": "[" * 1000}
    wide = [[1]] * (2 * MOST_LEVELS)
    assert decode(encode(HEAD, "1", 1.0, {"x": wide})).arguments == {"x": wide}


@pytest.mark.parametrize("item", ["[]", '{"v":[]}'])
def test_too_many_values_are_refused_before_they_are_made(item):
    body = f'{{"x":[{",".join([item] * MOST_VALUES)}]}}'
    for read in (lambda: decode(f"{BEFORE}{body}}}"), lambda: unpack(body)):
        began = time.process_time()
        with pytest.raises(InvalidPayload, match="more than 2,000,000 values"):
            read()
        assert time.process_time() - began < 3


def test_a_dispatch_says_so_at_once():
    with pytest.raises(NotSerializable, match="Save them with a storage"):
        encode(HEAD, "1", 1.0, {"x": [1] * (MOST_VALUES + 1)})


def test_commas_within_a_text_are_no_values():
    text = 'a,"\\' * 1000 + "," * MOST_VALUES
    began = time.process_time()
    assert decode(encode(HEAD, "1", 1.0, {"x": text})).arguments == {"x": text}
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        f'{HEAD},"id":"1","name":"app.other","sent":1.0,"arguments":{{}}}}',
        f'{HEAD},"id":"1","options":{{"tries":9}},"sent":1.0,"arguments":{{}}}}',
        '{"v":1,"name":"x","name":"app.thing","options":{},"id":"1","sent":1,"arguments":{}}',
        '{"v":1,"name":"x","options":{"tries":9,"tries":3},"id":"1","sent":1,"arguments":{}}',
    ],
)
def test_a_key_that_is_there_twice_is_refused(text):
    json.loads(text)
    with pytest.raises(InvalidPayload, match=r"twice|repeated"):
        decode(text)


def test_an_ordinary_head_is_known():
    head = known_head(encode(HEAD, "1", 1.0, {})).head
    assert head is not None
    assert (head.name, head.limits.tries) == ("app.thing", 3)
