"""Packing large arguments: they are compressed in place, or stored elsewhere under the job's id.

Only the arguments of a payload are replaced. A key before them says how:

    …,"packed":"zlib","arguments":"<base64 of zlib data>"}
    …,"packed":"stored","arguments":"<SHA-256 of zlib data, 64 hexadecimal digits>"}
    …,"packed":"encrypted","arguments":"<a token of `djqueue.payload.encryption`>"}

Plain arguments are always an object, so no user's argument can be mistaken for packed ones. A
stored payload names no place: the data is found by the job's id, and must have the digest. What is
stored of encrypted arguments is their token.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from djqueue.errors import InvalidPayload
from djqueue.payload.payload import parsed

if TYPE_CHECKING:
    from djqueue.payload.payload import Payload

STORED = "stored"
ZLIB = "zlib"
ENCRYPTED = "encrypted"
LEVEL = 1
"""zlib's level. Dispatches wait for it: half the time of the default, an eighth more bytes."""

STORED_MARK = f',"packed":"{STORED}","arguments":"'
"""What comes before the digest in a stored payload."""
_ENCRYPTED_MARK = f',"packed":"{ENCRYPTED}"'
_MARK_AT = len(STORED_MARK) + 64 + len('"}')
_decoder = json.JSONDecoder()


class Packed(NamedTuple):
    """A packed payload."""

    text: str
    """The payload to push."""
    body: bytes | None = None
    """The data to store under the job's id before the push; None if there is none."""


class TooLong(InvalidPayload):
    """The arguments inflate to more bytes than ``MAX_SIZE`` allows."""


def pack(text: str, compress_above: int | None, store_above: int | None) -> Packed:
    """Compress a payload longer than `compress_above`; split off the arguments if it is then longer
    than `store_above`. None and 0 mean never. Lengths are characters of the text, which is ASCII.
    """
    before, arguments = split(text)
    if before.endswith(_ENCRYPTED_MARK):  # compressed before it was encrypted
        if not store_above or len(text) <= store_above:
            return Packed(text)
        body = json.loads(arguments).encode("ascii")
        before = before.removesuffix(_ENCRYPTED_MARK)
        return Packed(f'{before}{STORED_MARK}{digest(body)}"}}', body)
    compresses = bool(compress_above) and len(text) > (compress_above or 0)
    # Level 0 stores the bytes as they are, in the same format.
    body = zlib.compress(arguments.encode("ascii"), LEVEL if compresses else 0)
    if compresses:
        packed = f'{before},"packed":"{ZLIB}","arguments":"{b64encode(body).decode("ascii")}"}}'
        if len(packed) < len(text):
            text = packed
    if not store_above or len(text) <= store_above:
        return Packed(text)
    return Packed(f'{before}{STORED_MARK}{digest(body)}"}}', body)


def split(text: str) -> tuple[str, str]:
    """Return a payload's text before ``,"arguments":``, and the JSON of the arguments."""
    position = 1
    while True:
        start = position
        key, position = _decoder.raw_decode(text, position)
        if key == "arguments":
            return text[: start - 1], text[position + 1 : -1]
        _, position = _decoder.raw_decode(text, position + 1)
        position += 1


def with_encrypted(text: str, arguments: str) -> str:
    """Return a plain payload with the token `arguments` in place of its arguments."""
    before, _ = split(text)
    return f'{before}{_ENCRYPTED_MARK},"arguments":"{arguments}"}}'


def is_stored(text: str) -> bool:
    """Return whether the arguments of a payload are stored elsewhere. Reads only its end."""
    return text.startswith(STORED_MARK, len(text) - _MARK_AT)


def digest(body: bytes) -> str:
    """Return the digest by which a payload identifies its stored data."""
    return sha256(body).hexdigest()


def body_of(text: str) -> bytes:
    """Decode the base64 of a payload's compressed arguments."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise InvalidPayload("The payload's compressed arguments are not base64.") from None


def inflated(payload: Payload, body: bytes, limit: int) -> Payload:
    """Return `payload` with the arguments that are in `body`. Raises `InvalidPayload`."""
    return with_arguments(payload, inflate(body, limit))


def with_arguments(payload: Payload, text: str) -> Payload:
    """Return `payload` with the arguments of that JSON `text`. Raises `InvalidPayload`."""
    try:
        arguments = parsed(text, "the text")
    except InvalidPayload as error:
        raise InvalidPayload(f"The payload's packed arguments cannot be read: {error}") from None
    if not isinstance(arguments, dict):
        found = type(arguments).__name__
        raise InvalidPayload(f"The payload's packed arguments are a JSON {found}, not an object.")
    return payload._replace(arguments=arguments, packed=None)


def inflate(body: bytes, limit: int) -> str:
    """Decompress zlib data to at most `limit` bytes of text. Raises `InvalidPayload`."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidPayload(f"The payload's arguments cannot be decompressed: {error}.") from None
    if len(data) > limit:
        raise TooLong(
            f"The payload's arguments would inflate to more than {limit:,} bytes, the limit in "
            'DJQUEUE["PAYLOADS"]["MAX_SIZE"].'
        )
    if not inflater.eof or inflater.unused_data:
        raise InvalidPayload("The payload's compressed arguments are truncated or too long.")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidPayload("The payload's packed arguments are not ASCII.") from None
