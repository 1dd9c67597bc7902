"""Large arguments made small: compressed in their place, or kept elsewhere under the job's id.

Only the arguments of a payload are replaced, and a key before them says how:

    …,"packed":"zlib","arguments":"<base64 of zlib data>"}
    …,"packed":"stored","arguments":"<SHA-256 of zlib data, 64 hexadecimal digits>"}

Plain arguments are always an object, so nothing that a user passes can look like either. A stored
payload names no place: the data is where the job's own id says, and only data of that digest is
taken for it.
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
LEVEL = 1
"""A dispatch waits for it: half the time of zlib's default, for an eighth more bytes."""

STORED_MARK = f',"packed":"{STORED}","arguments":"'
"""What a stored payload ends in, but for the digest."""
_MARK_AT = len(STORED_MARK) + 64 + len('"}')
_decoder = json.JSONDecoder()


class Packed(NamedTuple):
    """What `pack` made of a payload."""

    text: str
    """What goes to the queue."""
    body: bytes | None = None
    """What has to be stored under the job's id before that; None: nothing."""


class TooLong(InvalidPayload):
    """The arguments inflate to more than is allowed."""


def pack(text: str, compress_above: int | None, store_above: int | None) -> Packed:
    """Compress what is longer than `compress_above`, and put aside what is then still longer than
    `store_above`. None and 0 never do. Lengths are characters of the whole text, which is ASCII.
    """
    before, arguments = split(text)
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
    """A payload's text before ``,"arguments":``, and the JSON of the arguments."""
    position = 1
    while True:
        start = position
        key, position = _decoder.raw_decode(text, position)
        if key == "arguments":
            return text[: start - 1], text[position + 1 : -1]
        _, position = _decoder.raw_decode(text, position + 1)
        position += 1


def is_stored(text: str) -> bool:
    """Whether the arguments of a payload are kept elsewhere. Reads nothing but its end."""
    return text.startswith(STORED_MARK, len(text) - _MARK_AT)


def digest(body: bytes) -> str:
    """What a payload says of the data that is stored for it."""
    return sha256(body).hexdigest()


def body_of(text: str) -> bytes:
    """The zlib data within a payload, out of its base64."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise InvalidPayload("The payload's compressed arguments are not base64.") from None


def inflated(payload: Payload, body: bytes, limit: int) -> Payload:
    """`payload` with the arguments that are in `body`; `InvalidPayload` says what is wrong."""
    text = inflate(body, limit)
    try:
        arguments = parsed(text, "the text")
    except InvalidPayload as error:
        raise InvalidPayload(f"The payload's packed arguments cannot be read: {error}") from None
    if not isinstance(arguments, dict):
        found = type(arguments).__name__
        raise InvalidPayload(f"The payload's packed arguments are a JSON {found}, not an object.")
    return payload._replace(arguments=arguments, packed=None)


def inflate(body: bytes, limit: int) -> str:
    """The text in zlib data. Never makes more than `limit` bytes, whatever the data says."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidPayload(f"The payload's arguments cannot be decompressed: {error}.") from None
    if len(data) > limit:
        raise TooLong(
            f"The payload's arguments inflate to more than {limit:,} bytes, and are not read. "
            'The limit is DJQUEUE["PAYLOADS"]["MAX_SIZE"].'
        )
    if not inflater.eof or inflater.unused_data:
        raise InvalidPayload("The payload's compressed arguments are cut off or too long.")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidPayload("The payload's packed arguments are not ASCII.") from None
