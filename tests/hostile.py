"""Rows of the jobs table that nobody's `dispatch()` has written.

Each is put among good jobs. Those of `BAD` can never run and have to end among the failed jobs;
those of `ODD` are strange but legal: they have to end, one way or the other.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

FORGED = "FORGED"
"""Begins what must never begin a line of a worker's output."""
FORGERY = f"x\r\n{FORGED} 2026-01-01 00:00:00  app.record  id  default  1  DONE\x1b[2K\x1b]0;t\x07"


@dataclass
class Row:
    """One row. `{id}` in the payload is the row's own uuid."""

    label: str
    payload: str | bytes
    name: str = "app.record"
    columns: dict[str, Any] = field(default_factory=dict)
    """Values of other columns."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def text(self) -> str | bytes:
        if isinstance(self.payload, bytes):
            return self.payload.replace(b"{id}", self.id.encode())
        return self.payload.replace("{id}", self.id)


def payload(arguments: str = '{"number":-1}', **values: str) -> str:
    """A payload as `dispatch()` writes it, with some values (raw JSON) of one's own."""
    fields = {
        "v": "1",
        "name": '"app.record"',
        "options": "{}",
        "id": '"{id}"',
        "sent": "1790000000.5",
        "arguments": arguments,
        **values,
    }
    return "{" + ",".join(f'"{key}":{value}' for key, value in fields.items() if value) + "}"


def one(key: str, value: str) -> str:
    """A JSON object with one key; `value` is raw JSON."""
    return f"{{{json.dumps(key)}:{value}}}"


GOOD = payload()
WRONG = (
    "null",
    "true",
    "-1",
    "1.5",
    "1e999",
    "99999999999999999999",
    '"1"',
    "[]",
    "[1]",
    '{"a":1}',
)


def bad(largest: int = 1 << 20) -> Iterator[Row]:
    """What can never run. The largest text has `largest` characters."""
    yield from _broken_text()
    yield from _strange_values()
    yield from _headers()
    yield from _options()
    yield from _names()
    yield from _large(largest)
    yield from _nasty_errors()


def _broken_text() -> Iterator[Row]:
    for length in range(len(GOOD)):
        yield Row(f"the first {length} characters", GOOD[:length])
    for text in (
        "null",
        "1",
        "[]",
        '"x"',
        " ",
        "{}",
        "{}{}",
        GOOD + "x",
        GOOD + GOOD,
        "\ufeff" + GOOD,
    ):
        yield Row(f"not one object: {text[:10]}", text)
    chance = random.Random(12)
    for length in (1, 2, 7, 100, 5000):
        yield Row("random text", "".join(chr(chance.randint(1, 0xD7FF)) for _ in range(length)))
        yield Row("random ASCII", "".join(chr(chance.randint(1, 127)) for _ in range(length)))


def _strange_values() -> Iterator[Row]:
    yield Row("NaN", payload('{"number":NaN}'))
    yield Row("Infinity", payload('{"number":-Infinity}'))
    yield Row("1e999", payload('{"number":1,"seconds":1e999}'))
    yield Row("5,000 digits", payload(one("number", "9" * 5000)))
    yield Row("depth 5,000", payload(one("number", "[" * 5000 + "]" * 5000)))
    yield Row("depth 100,000", payload(one("number", "[" * 100_000 + "]" * 100_000)))
    yield Row("deep objects", payload(one("number", '{"a":' * 5000 + "1" + "}" * 5000)))
    yield Row("deep outside", "[" * 5000 + GOOD + "]" * 5000)
    for key in ("__class__", "py/object", "__reduce__", "$type", "__init__", "self", ""):
        yield Row(f"argument {key}", payload(one(key, '"os.system"')))
    yield Row("missing argument", payload("{}"))
    yield Row("another job's id", payload(id=f'"{uuid.uuid4()}"'))


def _headers() -> Iterator[Row]:
    for key in ("v", "name", "options", "id", "sent", "arguments"):
        yield Row(f"no {key}", payload(**{key: ""}))
        for value in WRONG:
            if (key, value) not in (("sent", "1.5"), ("options", '{"a":1}')):
                yield Row(f"{key}: {value}", payload(**{key: value}))
    for value in ("true", '"1"', "[]", '{"a":1}', "1e999", "1e300", "-1"):
        yield Row(f"retry_until: {value}", payload(retry_until=value))
    for key in ("tags", "context"):
        for value in ("1", "true", '"x"'):
            yield Row(f"{key}: {value}", payload(**{key: value}))


def _options() -> Iterator[Row]:
    numbers = ("tries", "timeout", "max_exceptions", "max_interruptions")
    for key in numbers:
        for value in ("true", "-1", "1e999", "99999999999999999999", '"1"', "[]", "{}"):
            yield Row(f"{key}: {value}", payload(options=one(key, value)))
    for value in ("1", '"1"', "true", '["x"]', "[-1]", "[1e999]", "[1e300]", "[true]", "[[1]]"):
        yield Row(f"backoff: {value}", payload(options=one("backoff", value)))
    for key in ("fail_on_timeout", "delete_when_missing"):
        yield Row(f"{key}: 1", payload(options=one(key, "1")))
    for value in ("1", "[]", '"no such database"', '"\\u0000"'):
        yield Row(f"atomic: {value}", payload(options=one("atomic", value)))


def _names() -> Iterator[Row]:
    names = ("no.such", "os.system", "builtins.eval", "app.jobs:record", "../app.record", "", " ",
             "tests.app.jobs.record", "x" * 100_000, "<script>alert(1)</script>", FORGERY,
             "\u202eevil", "\ud800", "\0", "=cmd|' /C calc'!A0", "%s%n", "{name}")  # fmt: skip
    for name in names:
        yield Row(f"job {name[:20]!r}", payload(name=json.dumps(name)))
    for name in (FORGERY, "<b>x</b>", "\u202eevil", "\U0001f4a5" * 50):
        yield Row("name beside the payload", "not JSON", name=name[:255])


def _large(largest: int) -> Iterator[Row]:
    text = "x" * largest
    yield Row("large text", text)
    yield Row("large name", payload(name=f'"{text}"'))
    yield Row("large head", payload(options=f'{{"x":"{text}"}}', v="2"))
    yield Row("many objects", f"[{'{},' * (largest // 3)}1]")
    yield Row("many arguments", payload(json.dumps({f"a{n}": 1 for n in range(largest // 50)})))


def _nasty_errors() -> Iterator[Row]:
    for how in ("str", "repr", "huge", "nul", "surrogate", "forged", "html", "chained",
                "class name", "system exit", "keyboard interrupt", "recursion", "group", "no args",
                "notes", "generator exit", "str exits"):  # fmt: skip
        text = payload(one("how", f'"{how}"'), name='"app.raises_nastily"')
        yield Row(f"error: {how}", text, name="app.raises_nastily")
    for message in (FORGERY, "\ud800", "\0", "<script>alert(1)</script>", "\u202e", "x" * 100_000):
        text = payload(one("message", json.dumps(message)), name='"app.boom"')
        yield Row(f"message {message[:10]!r}", text, name="app.boom")
    for delay in ("1e300", "-1e300", "1e18", "4e9"):
        text = payload(one("delay", delay), name='"app.releases_for"', options='{"tries":1}')
        yield Row(f"release({delay})", text, name="app.releases_for")


def odd() -> Iterator[Row]:
    """Strange, but nothing is wrong with it, or nothing that matters to the job."""
    yield Row("duplicate keys", '{"v":2,"v":1,' + GOOD[1:])
    yield Row("duplicate arguments", payload('{"number":-1,"number":-2}'))
    yield Row(
        "unknown keys", payload(queue='"other"', connection='"redis"', delay="-1", attempts="9")
    )
    yield Row("spaces", json.dumps(json.loads(GOOD), indent=1))
    yield Row("keys in another order", json.dumps(dict(reversed(json.loads(GOOD).items()))))
    yield Row("4,000 digits", payload(one("number", "9" * 4000)))
    yield Row("unknown options", payload(options='{"no such":1,"__class__":"X"}'))
    yield Row("strange tags", payload(tags='[1,null,{"a":[]},"\\ud800"]'))
    yield Row("strange context", payload(context='{"__class__":"X","\\u0000":"\\ud800"}'))
    yield Row("object argument", payload('{"number":{"py/object":"os.system","__class__":"X"}}'))
    yield Row("surrogate in a number", payload('{"number":"\\ud800"}'))
    yield Row("NUL in a number", payload('{"number":"\\u0000"}'))
    yield Row("large argument", payload(one("number", f'"{"x" * (1 << 20)}"')))
    yield Row("negative number", payload('{"number":-99999999999999999999}'))


def columns(vendor: str) -> Iterator[Row]:
    """Good payloads in rows whose other columns hold what they should not."""
    yield Row("most attempts", GOOD, columns={"attempts": 2**31 - 1})
    yield Row("most interruptions", GOOD, columns={"interruptions": 2**31 - 1})
    yield Row("damaged history", GOOD, columns={"history": "[1,"})
    yield Row("strange history", GOOD, columns={"history": '{"errors":"x","attempts":3}'})
    yield Row("more history", GOOD, columns={"history": '{"errors":1e999,"attempts":[1,null]}'})
    yield Row("deep history", GOOD, columns={"history": "[" * 100_000})
    yield Row("largest priority", GOOD, columns={"line": -32768, "priority": 32767})
    yield Row("least priority", GOOD, columns={"line": 32767, "priority": -32768})
    due = {"line": None, "priority": -32768}
    yield Row("least priority, due", GOOD, columns=due)
    release = payload('{"how":"release","seconds":0}', name='"app.ends_as_told"')
    yield Row("least priority, released", release, columns={"priority": -32768})
    if vendor == "postgresql":
        yield Row("infinitely old", GOOD, columns={"available_at": "-infinity"})
        yield Row("before Christ", GOOD, columns={"available_at": "0044-03-15 BC"})
    if vendor == "sqlite":
        for value in (0, 1.5, "", "x", b"\xff"):
            yield Row(f"available at {value!r}", GOOD, columns={"available_at": value})
        yield Row("history of bytes", GOOD, columns={"history": b"\xff\x00"})
        yield Row("attempts of text", GOOD, columns={"attempts": "x"})
        yield Row("interruptions of text", GOOD, columns={"interruptions": "x"})
        yield Row("line of text", GOOD, columns={"line": "x"})
        yield Row("huge attempts", GOOD, columns={"attempts": 2**63 - 1})


def undecodable() -> Iterator[Row]:
    """Bytes that are no text: only SQLite keeps them."""
    chance = random.Random(13)
    for length in (1, 10, 1000):
        yield Row("random bytes", chance.randbytes(length))
    good = GOOD.encode()
    yield Row("a wrong byte", good.replace(b"app.record", b"app.\xffrecord"))
    yield Row("a wrong byte in an argument", good.replace(b"-1}", b'"\xc3\x28"}'))
    yield Row("UTF-16", GOOD.encode("utf-16"))
    yield Row("UTF-32", GOOD.encode("utf-32"))
    yield Row("a NUL byte", good + b"\0")
    yield Row("overlong", good.replace(b"-1", b'"\xc0\xaf"'))
    yield Row("compressed", b"\x1f\x8b\x08" + bytes(1000))


def every(vendor: str, largest: int) -> tuple[list[Row], list[Row]]:
    """Those that must fail, and those that must end."""
    must_fail, must_end = list(bad(largest)), [*odd(), *columns(vendor)]
    if vendor == "sqlite":
        must_fail += undecodable()
    return must_fail, must_end
