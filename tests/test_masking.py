"""One masker: names, pairs, texts, and what a project adds to them."""

from __future__ import annotations

import json
import time

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from djqueue.text.masking import MASK, is_secret, masked, masked_text

NAMES = """
password passwd pwd pass user_password PASSWORD passphrase secret client_secret token
access_token refreshToken authorization Proxy-Authorization api_key apiKey X-Api-Key APIKEY
access_key private_key ssh_key secret_key encryptionKey cookie Set-Cookie session sessionid
credential credentials auth credit_card card_number cvv iban ssn pin otp signature dsn
database_url redis_url jwt bearer csrfmiddlewaretoken connection_string db_pass
aws_secret_access_key security_code salt
""".split()  # noqa: SIM905
OPEN = """
order user username email number author monkey keyboard keyword passenger compass spin pinned
discard cardinality description primary_key cache_key sort_key url code zip
hostname passage authored capital
""".split()  # noqa: SIM905
VALUE = "S3cr3t-hunter2"


@pytest.mark.parametrize("name", NAMES)
def test_values_of_these_names_are_secret(name):
    assert is_secret(name)


def test_other_names_are_not():
    assert [name for name in OPEN if is_secret(name)] == []


PLACES = {
    "argument": lambda name: {name: VALUE},
    "nested": lambda name: {"a": [{"b": {name: {"c": [VALUE]}}}]},
    "pair": lambda name: {"headers": [[name, VALUE]]},
    "tuple": lambda name: {"h": {"$": "tuple", "v": [name, VALUE]}},
    "dict of pairs": lambda name: {"d": {"$": "dict", "v": [[name, VALUE], [1, 2]]}},
    "beside the pairs": lambda name: {"d": {"$": "dict", "v": [], name: VALUE}},
    "named value": lambda name: {"v": {"name": name, "value": VALUE}},
    "keyed value": lambda name: {"v": [{"key": name, "value": VALUE}]},
    "json in text": lambda name: {"body": json.dumps({"x": [{name: [VALUE, 1]}]})},
    "json in json": lambda name: {"body": json.dumps({"b": json.dumps({name: VALUE})})},
    "query": lambda name: {"url": f"https://host/path?a=1&{name}={VALUE}&b=2"},
    "command line": lambda name: {"argv": ["run", f"--{name}", VALUE]},
}
TEXTS = {
    "header": "HTTP 401 {name}: {value}",
    "scheme": "sent {name}: Bearer {value} to host",
    "query": "401 for https://host/?x=1&{name}={value}",
    "assignment": "{name} = {value}, given",
    "python": "call({name}='{value}', x=1)",
    "dict": "got {{'{name}': '{value}', 'x': 1}}",
    "bytes": "got {{b'{name}': b'{value}'}}",
    "json": 'body was {{"a": 1, "{name}": "{value}"}} there',
    "json of a list": 'body was {{"{name}": ["{value}", "x"]}} there',
    "escaped json": 'body was "{{\\"{name}\\": \\"{value}\\"}}"',
    "pair": "headers [('{name}', '{value}'), ('a', 'b')]",
    "named": 'got {{"name": "{name}", "value": "{value}"}}',
    "postgresql": "DETAIL:  Key ({name})=({value}) already exists.",
    "row": "DETAIL:  Failing row contains (7, {value}, {name}).",
    "option": "command failed: run --{name} {value} --fast",
    "environment": "{name}={value}",
}


@pytest.mark.parametrize("place", PLACES)
def test_no_value_of_a_secret_name_is_readable(place):
    shown = {name: json.dumps(masked(PLACES[place](name))) for name in NAMES}
    assert {name for name, text in shown.items() if VALUE in text} == set()


@pytest.mark.parametrize("place", TEXTS)
def test_no_text_gives_a_secret_away(place):
    shown = {name: masked_text(TEXTS[place].format(name=name, value=VALUE)) for name in NAMES}
    assert {text for text in shown.values() if VALUE in text} == set()


@pytest.mark.parametrize(
    "text",
    [
        f"redis://usr:{VALUE}@127.0.0.1:6379/0 refused",
        f"redis://:{VALUE}#x/y@host/0 refused",
        f"amqp://u:p@{VALUE}@host refused",
        f"https://{VALUE}@sentry.io/1",
        f"Bearer {VALUE} was refused",
        f"-----BEGIN RSA PRIVATE KEY-----\n{VALUE}\n-----END RSA PRIVATE KEY-----",
        f"Cookie: a={VALUE}; b={VALUE}",
        f"Authorization: AWS4-HMAC Credential=a, Signature={VALUE}",
        f'password = """{VALUE}"""',
        f"password={VALUE}",
        f"bearer = {VALUE}",
    ],
)
def test_urls_headers_and_keys(text):
    assert VALUE not in masked_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'shop.SendReceipt'",
        "connect to host:5432 failed: timeout",
        "https://example.com:443/orders?id=7&page=2#top",
        'File "/srv/shop/jobs.py", line 12, in handle',
        "IntegrityError: duplicate, see order=42; it is (7, 8)",
        "ssh://host/x failed for a@b.example",
        "",
    ],
)
def test_what_is_no_secret_stays(text):
    assert masked_text(text) == text


def test_values_that_are_no_secret_stay():
    value = {"order": 42, "to": [["a", "b"], None, 1.5, True], "x": {"$": "model", "v": {"k": 7}}}
    assert masked(value) == value


@given(st.text())
def test_masking_twice_changes_no_more(text):
    once = masked_text(f"password={text}&x=1")
    assert masked_text(once) == once


@pytest.mark.parametrize("text", ["a=" * 30_000, "((" * 30_000, "'" * 60_000, "x" * 60_000])
def test_it_takes_no_time_of_note(text):
    begun = time.perf_counter()
    masked_text(text)
    masked_text(f"password={text}")
    assert time.perf_counter() - begun < 5


def test_what_is_too_deep_is_cut_off():
    deep: list[object] = []
    for _level in range(5000):
        deep = [deep]
    assert masked(deep)
    masked_text("[" * 5000 + "]" * 5000)


def test_a_project_adds_names_and_removes_some():
    with override_settings(
        DJQUEUE={"MASK": {"add": ["Customer", "x_*"], "remove": ["max_tokens"]}}
    ):
        assert is_secret("customer_name")
        assert is_secret("X-Trace")
        assert masked({"max_tokens": 100}) == {"max_tokens": 100}
        assert masked({"api_token": 100}) == {"api_token": MASK}
    assert not is_secret("customer_name")
    assert is_secret("max_tokens")
