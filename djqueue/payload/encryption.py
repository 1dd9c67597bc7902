"""Encrypted texts: what an encrypted job carries, what it returns, and why it failed.

A token holds a header and a text. The header says what the text is and whose: a token that is put
into the place of another one is refused. In a payload only the arguments and the context are
replaced, and the options say that the job is encrypted:

    …,"options":{"encrypted":true},…,"context":{"encrypted":"<token>"},
     "packed":"encrypted","arguments":"<token>"}
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from djqueue.conf import PayloadSettings, settings
from djqueue.errors import InvalidPayload, MissingPackage, NotSerializable, Undecryptable
from djqueue.payload.keyring import keyring
from djqueue.payload.packing import LEVEL, digest, inflate, split, with_encrypted
from djqueue.payload.parts import find_part
from djqueue.payload.payload import encode_more
from djqueue.text.marks import in_own_words

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ARGUMENTS",
    "CONTEXT",
    "ENCRYPTED_CONTEXT",
    "HIDDEN",
    "SHOWN",
    "TRACE",
    "decrypt",
    "decrypted_value",
    "encrypt",
]
__all__ += ["encrypted", "encrypted_value", "is_encrypted_value"]
__all__ += ["context_digest", "is_trace_id", "refuse_plain", "refuse_plain_value"]

SHOWN = "encrypted"
"""What people read in place of what is encrypted."""
ARGUMENTS, CONTEXT, HIDDEN = "arguments", "context", "hidden"
"""What tokens are made for."""
ENCRYPTED_CONTEXT = "encrypted"
"""The key of a context that holds all of it, encrypted."""
TRACE = "trace"
"""What a payload's context has for `djqueue.tracing`, beside values, language and time zone."""
_TRACE_IDS = frozenset({"traceparent", "tracestate", "b3", "uber-trace-id", "x-amzn-trace-id"})
_OF_B3 = "x-b3-"
_LARGEST = 16 << 20
"""Bytes that a token of anything but arguments may hold."""
_SMALL = 1_000
"""Characters of a value that are not worth compressing."""
_VALUE = "$"
"""No stored value of a user is an object with this key and `SHOWN`: see `djqueue.arguments`."""


def encrypt(text: str, *, level: int = 0, **whose: str) -> str:
    """Return a token that holds `text`, which is ASCII, compressed at that `level` of zlib. `whose`
    says what it is. Raises `MissingPackage`.
    """
    header = json.dumps(whose, separators=(",", ":"))
    return keyring().encrypt(zlib.compress(f"{header}\n{text}".encode("ascii"), level))


def decrypt(token: str, *, limit: int = _LARGEST, **whose: str) -> str:
    """Return the text of a token, at most `limit` bytes of it.

    Raises `Undecryptable` where this process has no key for it, and `InvalidPayload` for a token
    that was made for something else than `whose` says.
    """
    return _opened(token, limit, whose)


def _opened(token: str, limit: int, whose: Mapping[str, str]) -> str:
    try:
        data = keyring().decrypt(token)
    except MissingPackage as error:
        raise in_own_words(Undecryptable(f"This process cannot decrypt. {error}")) from None
    header, _, text = inflate(data, limit).partition("\n")
    try:
        made_for = json.loads(header)
    except ValueError:
        made_for = None
    of_djqueue = isinstance(made_for, dict)  # other code may use the same keys
    if not of_djqueue or any(made_for.get(name) != value for name, value in whose.items()):
        raise InvalidPayload(
            "What is encrypted here was made for another job, so it is not used: the payload was "
            "altered in its store."
        )
    return text


def is_trace_id(header: str) -> bool:
    """Return whether a header of a trace has ids alone; baggage has values of the project."""
    name = header.casefold()
    return name in _TRACE_IDS or name.startswith(_OF_B3)


def context_digest(context: Mapping[str, Any]) -> str:
    """Return the digest of an encrypted context, by which arguments know theirs; an empty text for
    a payload without one. Raises `InvalidPayload` for a plain one.
    """
    if not context:
        return ""
    token = context.get(ENCRYPTED_CONTEXT)
    if not isinstance(token, str):
        raise InvalidPayload(
            "The payload is encrypted, and its context is not: it was altered in its store."
        )
    return digest(token.encode(errors="replace"))[:32]


def encrypted(text: str, name: str, compress_above: int | None, keeps_user: bool) -> str:
    """Return the payload of a job called `name` with its arguments and its context encrypted.

    With `keeps_user` the key of the user in the context stays readable: it is the owner of a result
    that is kept. Raises `NotSerializable` for more arguments than a worker reads, and
    `MissingPackage`.
    """
    _, arguments = split(text)
    most = (settings().payloads or PayloadSettings()).max_size
    if len(arguments) > most:
        raise NotSerializable(
            f"{name} has arguments of {len(arguments):,} bytes, and DJQUEUE["
            f'"PAYLOADS"]["MAX_SIZE"] is {most:,}. Pass a reference to the data (a model, a '
            "file's name) in place of the data. Nothing was queued."
        )
    level = LEVEL if compress_above and len(text) > compress_above else 0
    text, kept = _with_context(text, name, keeps_user)
    whose = {"kind": ARGUMENTS, "job": name, "context": context_digest(kept)}
    return with_encrypted(text, encrypt(arguments, level=level, **whose))


def _with_context(text: str, name: str, keeps_user: bool) -> tuple[str, Mapping[str, Any]]:
    """Return the payload with its context encrypted, and what stands for that."""
    part = find_part(text, "context")
    if part is None:
        return text, {}
    whole = text[part.value : part.end]
    kept: dict[str, object] = {ENCRYPTED_CONTEXT: encrypt(whole, kind=CONTEXT, job=name)}
    found = json.loads(whole)
    if trace := {key: each for key, each in found.get(TRACE, {}).items() if is_trace_id(key)}:
        kept[TRACE] = trace
    user = found.get("values", {}).get("user_id")
    if keeps_user and user is not None:
        kept["values"] = {"user_id": user}
    return f"{text[: part.start]}{encode_more(context=kept)}{text[part.end :]}", kept


def encrypted_value(value: Any, **whose: str) -> dict[str, str]:
    """Return what stands for a JSON value in a result, and as what a step leaves to the next."""
    text = json.dumps(value, separators=(",", ":"))
    level = 1 if len(text) > _SMALL else 0
    return {_VALUE: SHOWN, "v": encrypt(text, level=level, **whose)}


def is_encrypted_value(stored: Any) -> bool:
    """Return whether a stored value is one of `encrypted_value`."""
    return isinstance(stored, dict) and stored.get(_VALUE) == SHOWN


def decrypted_value(stored: Any, *, required: bool = False, **whose: str) -> Any:
    """Return the JSON value that `stored` stands for. Another one is returned as it is, unless an
    encrypted one is `required`: then it raises `InvalidPayload`. Raises as `decrypt`.
    """
    if not is_encrypted_value(stored):
        if required:
            refuse_plain_value(whose["job"])
        return stored
    return json.loads(_opened(str(stored.get("v")), _LARGEST, whose))


def refuse_plain(name: str) -> None:
    """Raise `InvalidPayload` for a plain payload of the job called `name`, whose class is
    encrypted, unless the settings accept that.
    """
    if not settings().encryption_accepts_plain:
        raise InvalidPayload(
            f"{name} is encrypted, and this payload is not: it was dispatched before the class had"
            " encrypted=True, or altered in its store. If its arguments may be trusted,"
            " `queue_run ID --copy` dispatches it encrypted. While many such jobs wait, set"
            ' DJQUEUE["ENCRYPTION_ACCEPTS_PLAIN"] to True.'
        )


def refuse_plain_value(name: str) -> None:
    """Raise `InvalidPayload` for a plain value that a job called `name` has returned, whose class
    is encrypted, unless the settings accept that.
    """
    if not settings().encryption_accepts_plain:
        raise InvalidPayload(
            f"What {name} returned is not encrypted, and the job is: it was kept before its class"
            " was encrypted, or altered in its store. For the former, set"
            ' DJQUEUE["ENCRYPTION_ACCEPTS_PLAIN"] for as long as there are such results.'
        )
