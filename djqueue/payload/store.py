"""The payload store: arguments that are too large for a queue, in a table or one of `STORAGES`.

An entry is identified by the id of its job. It is written before the job is pushed, read by the
child that runs the job, and removed when the job has ended. Every entry has a row, also when its
data is in a storage: `djqueue.operations.payload_pruning` finds unused entries by their rows.

A storage is the project's code and may be remote, so workers use it in children only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import DatabaseError
from django.utils import timezone

from djqueue.compat import delete_rows
from djqueue.conf import PayloadSettings, settings
from djqueue.errors import ConfigurationError, InvalidPayload, QueueUnavailable
from djqueue.payload.encryption import ARGUMENTS, context_digest, decrypt
from djqueue.payload.packing import (
    ENCRYPTED,
    STORED,
    ZLIB,
    body_of,
    digest,
    inflated,
    with_arguments,
)

if TYPE_CHECKING:
    from django.core.files.storage import Storage
    from django.db.models import QuerySet

    from djqueue.models import Payload as Row
    from djqueue.payload.payload import Payload

FOLDER = "djqueue-payloads"
CHECK_AFTER = 86_400.0
"""Seconds after which pruning checks whether a due job still exists: long enough for the
transaction that dispatches it to end."""
_BYTES_AT_ONCE = 4 << 20
"""Bytes of bodies in one INSERT: servers limit the size of a statement."""


class Entry(NamedTuple):
    """The data of one job."""

    id: str
    body: bytes
    check_after: float = CHECK_AFTER
    """Seconds before pruning may check whether it is still needed."""


def unpacked(payload: Payload, limit: int | None = None) -> Payload:
    """Return `payload` with its arguments unpacked and decrypted, at most `limit` bytes of them.

    Raises `InvalidPayload` if they are damaged, missing or too long (`packing.TooLong`),
    `Undecryptable` if this process has no key for them, and `QueueUnavailable` if the payload store
    cannot be reached. A payload whose head does not say what its arguments are was altered: it is
    refused before anything of it is decrypted.
    """
    says_encrypted = payload.head.limits.encrypted
    if payload.packed is None:
        if says_encrypted:
            raise InvalidPayload(_NOT_ENCRYPTED)
        return payload
    known = settings().payloads or PayloadSettings()
    limit = known.max_size if limit is None else limit
    how, text = payload.packed
    if how != STORED and says_encrypted is not (how == ENCRYPTED):
        raise InvalidPayload(_NOT_ENCRYPTED if says_encrypted else _NOT_SAID)
    if how == ZLIB:
        return inflated(payload, body_of(text), limit)
    if how == STORED:
        body = read(payload.id, text)
        if not says_encrypted:
            return inflated(payload, body, limit)
        how, text = ENCRYPTED, body.decode("ascii", "replace")
    if how == ENCRYPTED:
        whose = {"job": payload.head.name, "context": context_digest(payload.context)}
        plain = decrypt(text, limit=limit + 4096, kind=ARGUMENTS, **whose)
        return with_arguments(payload, plain)
    raise InvalidPayload(
        f"The payload's arguments are packed in an unknown way: {how!r:.100}. It was "
        "probably dispatched by a newer release: update the workers, then retry it."
    )


_NOT_ENCRYPTED = (
    "The payload says that its arguments are encrypted, and they are not: it was altered in its"
    " store, and the job is not run."
)
_NOT_SAID = (
    "The payload's arguments are encrypted, and its options do not say so: it was altered in its"
    " store, and nothing of it is decrypted."
)


def write(connection: str, entries: Sequence[Entry]) -> None:
    """Store `entries` for jobs of `connection`. Rows are part of an open transaction on the store's
    database; files in a storage are not. Raises `QueueUnavailable`.
    """
    known = _known()
    with _translate_errors(f'database "{settings().payload_database}"'):
        for some in _in_parts(entries):
            rows = [_row(connection, entry, within=known.storage is None) for entry in some]
            _table().bulk_create(rows)
    if known.storage is not None:
        # After the rows: a rollback leaves files without rows, which pruning finds by their age,
        # while a row without a file is noticed at once.
        for entry in entries:
            _save(known.storage, entry)


def replace(connection: str, entry: Entry) -> None:
    """Store `entry` in place of what there is under its id. If the storage does not take it, what
    there was is put back. Raises `QueueUnavailable`.
    """
    known = _known()
    row, key = _row(connection, entry, within=known.storage is None), UUID(entry.id)
    with _translate_errors(f'database "{settings().payload_database}"'):
        values = {name: getattr(row, name) for name in ("connection", "body", "check_at")}
        if not _table().filter(uuid=key).update(**values):
            row.save(using=settings().payload_database, force_insert=True)
    if known.storage is not None:
        before = _open(known.storage, key, known.max_size)
        with _translate_errors(f'storage "{known.storage}"'):
            storages[known.storage].delete(_path(key))
        try:
            _save(known.storage, entry)
        except QueueUnavailable:
            if before is not None:
                _save(known.storage, entry._replace(body=before))
            raise


def read(id: str, expected: str) -> bytes:
    """Return the data stored for `id` if it has the `expected` digest. Raises as `unpacked`."""
    known = settings().payloads
    if known is None:
        raise InvalidPayload(
            'The job\'s arguments are in the payload store, and DJQUEUE["PAYLOADS"] is None here. '
            "Configure the store they were written to, then retry the job."
        )
    key = _key(id)
    body = None
    if known.storage is not None:
        body = _open(known.storage, key, known.max_size)
    if body is None:  # also where it was written before a storage was configured
        with _translate_errors(f'database "{settings().payload_database}"'):
            found = _table().filter(uuid=key).values_list("body", flat=True).first()
            body = None if found is None else bytes(found)
    if body is None:
        raise InvalidPayload(
            f"The arguments of job {key} are no longer in the payload store: the job has ended, "
            "they were pruned, or this is not the store they were written to."
        )
    if digest(body) != expected:
        raise InvalidPayload(
            f"The data of job {key} in the payload store is not what it was dispatched with."
        )
    return body


def postpone_check(ids: Iterable[str | UUID], seconds: float) -> None:
    """Postpone the pruning check of these entries by `seconds`."""
    with _translate_errors(f'database "{settings().payload_database}"'):
        later = timezone.now() + timedelta(seconds=seconds)
        _table().filter(uuid__in=list(ids)).update(check_at=later)


def moved(ids: Sequence[str], connection: str) -> None:
    """Note on which connection the jobs called `ids` are now."""
    with _translate_errors(f'database "{settings().payload_database}"'):
        _table().filter(uuid__in=list(ids)).update(connection=connection)


def remove(ids: Sequence[str]) -> None:
    """Delete the entries of `ids`. Ids without an entry are ignored."""
    known = settings().payloads
    keys = [UUID(id) for id in ids if _is_key(id)]
    if known is None or not keys:
        return
    if known.storage is not None:
        with _translate_errors(f'storage "{known.storage}"'):
            for key in keys:
                storages[known.storage].delete(_path(key))
    # Rows last: if the storage fails, pruning still knows of the files.
    with _translate_errors(f'database "{settings().payload_database}"'):
        delete_rows(_table().filter(uuid__in=keys))


def orphan_files(shard: int, older_than: timedelta) -> list[str]:
    """Return the ids of files without a row in one of the storage's 256 folders, the `shard`."""
    known = _known()
    if known.storage is None:
        return []
    storage = storages[known.storage]
    folder = f"{FOLDER}/{shard:02x}"
    before = timezone.now() - older_than
    with _translate_errors(f'storage "{known.storage}"'):
        try:
            names = [name for name in storage.listdir(folder)[1] if _is_key(name)]
        except FileNotFoundError:
            return []
        with_row = set(_table().filter(uuid__in=names).values_list("uuid", flat=True))
        return [
            name
            for name in names
            if UUID(name) not in with_row and _modified(storage, f"{folder}/{name}") < before
        ]


# -- rows ------------------------------------------------------------------------------------------


def _table() -> QuerySet[Row]:
    from djqueue.models import Payload

    return Payload.objects.using(settings().payload_database)


def _row(connection: str, entry: Entry, *, within: bool) -> Row:
    from djqueue.models import Payload

    now = timezone.now()
    return Payload(
        uuid=UUID(entry.id),
        connection=connection,
        body=entry.body if within else None,
        created_at=now,
        check_at=now + timedelta(seconds=entry.check_after),
    )


def _in_parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and size + len(entry.body) > _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry.body)
    if part:
        yield part


# -- files -----------------------------------------------------------------------------------------


def _path(key: UUID) -> str:
    """Return the path of an entry, in one of 256 folders by the random end of its id."""
    return f"{FOLDER}/{key.hex[-2:]}/{key}"


def _save(alias: str, entry: Entry) -> None:
    path = _path(UUID(entry.id))
    storage = storages[alias]
    with _translate_errors(f'storage "{alias}"'):
        saved = storage.save(path, ContentFile(entry.body))
    if saved.replace("\\", "/") != path:
        storage.delete(saved)
        raise ConfigurationError(
            f'Storage "{alias}" saved {path} under another name: {saved}. Large arguments need a '
            "storage that keeps the names it is given."
        )


def _open(alias: str, key: UUID, limit: int) -> bytes | None:
    with _translate_errors(f'storage "{alias}"'):
        try:
            with storages[alias].open(_path(key)) as file:
                # zlib may add some bytes, and a token is a third longer
                body: bytes = file.read(limit // 3 * 4 + (1 << 16))
        except FileNotFoundError:
            return None
    return body


def _modified(storage: Storage, path: str) -> Any:
    moment = storage.get_modified_time(path)
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


@contextmanager
def _translate_errors(place: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except DatabaseError as error:
        raise QueueUnavailable(f"The payload store ({place}) is unavailable: {error}") from error
    except Exception as error:
        # A storage raises whatever its client library does.
        kind = type(error).__name__
        raise QueueUnavailable(
            f"The payload store ({place}) is unavailable: {kind}: {error}"
        ) from error


# -- names -----------------------------------------------------------------------------------------


def _known() -> PayloadSettings:
    known = settings().payloads
    if known is None:
        raise ConfigurationError('There is no payload store: DJQUEUE["PAYLOADS"] is None.')
    return known


def _key(id: str) -> UUID:
    """Return the key of an entry. A payload cannot name anything else, such as a path."""
    if not _is_key(id):
        raise InvalidPayload(
            f"The payload's id {id!r:.100} is not a UUID, so nothing can be stored for it."
        )
    return UUID(id)


def _is_key(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
