"""Model instances and querysets: stored as references, fetched again when the job runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import FieldError, ObjectDoesNotExist, ValidationError
from django.db import DEFAULT_DB_ALIAS, DataError, connections, router
from django.db.models import Model, QuerySet

from djqueue.arguments.errors import DamagedError, GoneError, RefusedError, brief, short_repr
from djqueue.arguments.key_order import InOrderOfKeys
from djqueue.arguments.scalars import PACK, pack_str, part, unpack_text
from djqueue.compat import fetched_rows, yields_instances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from djqueue.arguments.value_codec import ValueCodec

MAX_KEYS = 10_000
"""A queryset with more rows is refused."""

# Errors of a lookup by a key of a wrong type or size; they depend on the field and the database.
_WRONG_KEY = (TypeError, ValueError, OverflowError, ValidationError, FieldError, DataError)


def pack_model(value: Model, codec: ValueCodec) -> Any:
    """Return the reference to a saved instance."""
    model = type(value)
    label = model._meta.label
    _check_named(model, codec.models)
    if value._state.adding:
        raise RefusedError(
            f"is a {label} that is not saved, so no job could find it. Save it first."
        )
    if value.pk is None or (isinstance(value.pk, tuple) and None in value.pk):
        raise RefusedError(f"is a {label} without a primary key: it was deleted. Pass its values.")
    # Not a read replica, where the row may not have arrived yet. Without a router this is the
    # database that the instance came from.
    alias = router.db_for_write(model, instance=value)
    return {"$": "model", **_source(model, alias), "k": _pack_key(value.pk, model)}


def pack_queryset(value: QuerySet[Any], codec: ValueCodec) -> Any:
    """Return the keys of a queryset's rows, in its order."""
    model = value.model
    label = model._meta.label
    _check_named(model, codec.rows)
    if value.query.combinator:
        raise RefusedError(
            f"is a combined queryset of {label} (of union() or the like), which cannot be restored "
            "as one. Pass list() of it, or its parts."
        )
    if not yields_instances(value):
        raise RefusedError(
            f"is a queryset of values of {label}, not of instances. Pass list() of it, or remove "
            "values(), values_list() or dates()."
        )
    keys = _keys(value)
    if len(keys) > MAX_KEYS:
        raise RefusedError(
            f"is a queryset of more than {MAX_KEYS:,} {label} rows. Pass the filter as arguments, "
            "and query in the job."
        )
    hints = {"instance": _row(model, value.db, keys[0])} if keys else {}
    alias = router.db_for_write(model, **hints)
    packed = [_pack_key(key, model) for key in keys]
    stored = {"$": "queryset", **_source(model, alias), "k": packed}
    if type(value) is not QuerySet:
        stored["c"] = type(value).__qualname__
    return stored


def _keys(queryset: QuerySet[Any]) -> list[Any]:
    rows = fetched_rows(queryset)
    if rows is None:
        keys = list(queryset.values_list("pk", flat=True)[: MAX_KEYS + 1])
    else:
        keys = [row.pk for row in rows[: MAX_KEYS + 1]]
    return list(dict.fromkeys(keys))


def _check_named(model: type[Model], named: Sequence[type] | None) -> None:
    if named is not None and not issubclass(model, tuple(named)):
        names = " or ".join(one.__qualname__ for one in named) or "with a type that is not a model"
        raise RefusedError(
            f"is a {model._meta.label}, but annotated {names}. Correct one of the two."
        )
    try:
        registered = apps.get_model(model._meta.label_lower) is model
    except LookupError:
        registered = False
    if not registered:
        raise RefusedError(
            f"is a {model._meta.label} that is not the installed model of that name (as in a "
            "migration), so it cannot be restored. Pass its pk."
        )


def _source(model: type[Model], alias: str) -> dict[str, str]:
    label = model._meta.label_lower
    return {"m": label} if alias == DEFAULT_DB_ALIAS else {"m": label, "db": alias}


def _key_fields(model: type[Model]) -> Sequence[Any]:
    return model._meta.pk_fields


def _row(model: type[Model], alias: str | None, key: Any) -> Model:
    """Return an instance with its key only; the other fields are deferred."""
    fields = _key_fields(model)
    parts = key if len(fields) > 1 else (key,)
    known = dict(zip((field.attname for field in fields), parts, strict=True))
    names = [one.attname for one in model._meta.concrete_fields if one.attname in known]
    row: Model = model.from_db(alias, names, [known[name] for name in names])
    return row


def _pack_key(key: Any, model: type[Model]) -> Any:
    """Return a key in its type; as the field's text where the type is a class of the project."""
    fields = _key_fields(model)
    parts = key if len(fields) > 1 else (key,)
    packed = []
    for value, field in zip(parts, fields, strict=True):
        pack = PACK.get(type(value))
        if pack is not None:
            packed.append(pack(value))
        else:
            text = field.value_to_string(_row(model, None, key))
            packed.append({"$": "key", "v": pack_str(text)})
    return packed if len(fields) > 1 else packed[0]


def _unpack_key(stored: Any, model: type[Model], codec: ValueCodec) -> Any:
    fields = _key_fields(model)
    parts = stored if len(fields) > 1 else [stored]
    if not isinstance(parts, list) or len(parts) != len(fields):
        raise DamagedError(f"a key of {model._meta.label} does not have {len(fields)} parts")
    values = []
    for one, field in zip(parts, fields, strict=True):
        if isinstance(one, dict) and one.get("$") == "key":
            value = field.to_python(unpack_text(one.get("v")))
        else:
            value = codec.unpack_scalar(one)
        if value is None:
            raise DamagedError(f"a key of {model._meta.label} is null")
        values.append(value)
    return tuple(values) if len(fields) > 1 else values[0]


def unpack_model(data: Mapping[str, Any], codec: ValueCodec) -> Model:
    """Fetch the row. Soft-deleted rows are found, as the base manager filters nothing."""
    model, alias = _sought(data, codec.models)
    try:
        key = _unpack_key(data.get("k"), model, codec)
        instance: Model = model._base_manager.using(alias).get(pk=key)
    except ObjectDoesNotExist:
        raise GoneError(f"{model._meta.object_name} {_shown_key(key)} no longer exists") from None
    except _WRONG_KEY as error:
        raise DamagedError(f"it has no key of {model._meta.label}: {brief(error)}") from None
    return instance


def unpack_queryset(data: Mapping[str, Any], codec: ValueCodec) -> QuerySet[Any]:
    """Return a lazy queryset of the rows that still exist, in the stored order."""
    model, alias = _sought(data, codec.rows)
    stored = part(data, "k", list)
    if len(stored) > MAX_KEYS:
        raise DamagedError(f"it is a queryset of more than {MAX_KEYS:,} keys")
    try:
        keys = [_unpack_key(one, model, codec) for one in stored]
        rows: QuerySet[Any] = _queryset_class(model, data.get("c"))(model=model, using=alias)
        rows = rows.filter(pk__in=keys).order_by(*_order(model, keys)) if keys else rows.none()
    except _WRONG_KEY as error:
        raise DamagedError(f"it has no keys of {model._meta.label}: {brief(error)}") from None
    return rows


def _order(model: type[Model], keys: list[Any]) -> Sequence[Any]:
    if all(type(key) is int for key in keys):
        if keys == sorted(keys):
            return ["pk"]
        if keys == sorted(keys, reverse=True):
            return ["-pk"]
    fields = _key_fields(model)
    parts = keys if len(fields) > 1 else [(key,) for key in keys]
    return [InOrderOfKeys(fields, parts)]


def _queryset_class(model: type[Model], name: Any) -> type[QuerySet[Any]]:
    """Return the model's queryset class of that name, for its methods, or the plain `QuerySet`."""
    if name is not None:
        for manager in model._meta.managers:
            found = type(manager.all())
            if found.__qualname__ == name:
                return found
    return QuerySet


def _sought(data: Mapping[str, Any], named: Sequence[type] | None) -> tuple[type[Model], str]:
    """Return the installed model and the database of a reference. Raises `DamagedError`."""
    label, alias = part(data, "m", str), data.get("db", DEFAULT_DB_ALIAS)
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        raise DamagedError(f"there is no model {short_repr(label)} here") from None
    if named is not None and not issubclass(model, tuple(named)):
        names = " or ".join(one.__qualname__ for one in named) or "no model"
        raise DamagedError(f"it is a {model._meta.label}, and the annotation names {names}")
    if model._meta.swapped:
        raise DamagedError(f"{model._meta.label} was replaced by {model._meta.swapped}")
    if not isinstance(alias, str) or alias not in connections:
        raise DamagedError(f"there is no database {short_repr(alias)} here")
    return model, alias


def _shown_key(key: Any) -> str:
    return short_repr(key) if isinstance(key, str) else str(key)[:100]
