"""Model instances travel as references and are fetched anew."""

from __future__ import annotations

import uuid
from typing import Any, Optional

import pytest
from django.apps import apps
from django.contrib.auth.models import AbstractUser, Group, User
from django.db import connection, models
from django.db.migrations.state import ModelState, StateApps
from django.test import override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils.functional import SimpleLazyObject

from djqueue.errors import InvalidPayload, ModelMissing, NotSerializable
from tests.app.models import Author, Book, Note, Parcel, Seat
from tests.arguments.support import WHERE, decode, round_trip, stored

pytestmark = pytest.mark.django_db


class _Visible(models.Manager["Memo"]):
    def get_queryset(self) -> models.QuerySet[Memo]:
        return super().get_queryset().exclude(text="deleted")


class Memo(Note):
    """A proxy whose default manager hides what was deleted softly."""

    objects = _Visible()

    class Meta:
        app_label = "app"
        proxy = True


@pytest.fixture(scope="module", autouse=True)
def _forget_proxy():
    yield
    apps.all_models["app"].pop("memo", None)
    apps.clear_cache()


def _note() -> Note:
    return Note.objects.create(text="hello")


def _book() -> Book:
    return Book.objects.create(title="It", author=Author.objects.create(name="King"))


@pytest.mark.parametrize(
    "make",
    [
        _note,
        _book,
        lambda: Parcel.objects.create(address="x"),
        lambda: Seat.objects.create(train=7, number=12),
        lambda: User.objects.create(username="anna"),
    ],
    ids=["integer", "relation", "uuid", "composite", "user"],
)
def test_an_instance_comes_back_as_the_row_it_is_now(make):
    value = make()
    for annotation in (Any, type(value), Optional[type(value)], models.Model):  # noqa: UP045
        again = round_trip(value, annotation)
        assert type(again) is type(value)
        assert again == value
        assert again is not value
        assert again._state.db == "default"


def test_the_values_are_those_of_the_run_not_of_the_dispatch():
    note = _note()
    data = stored(note, Note)
    Note.objects.update(text="changed")
    assert decode(data, Note, WHERE).text == "changed"


def test_only_the_reference_is_stored():
    note = _note()
    assert stored(note) == {"$": "model", "m": "app.note", "k": note.pk}


def test_instances_inside_containers_come_back_too():
    note, seat = _note(), Seat.objects.create(train=1, number=2)
    value = {"rows": [(note, {seat})], note: "key"}
    assert round_trip(value) == value


def test_storing_an_instance_asks_the_database_nothing():
    note = Note.objects.only("pk").get(pk=_note().pk)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        data = stored(note, Note)
    assert not queries.captured_queries
    assert decode(data, Note, WHERE).text == "hello"


def test_an_instance_that_was_never_saved_is_refused():
    for unsaved in (Note(text="x"), Note(pk=5), Parcel()):
        with pytest.raises(NotSerializable, match=r"that is not saved, .* Save it first"):
            stored(unsaved)


def test_an_instance_that_was_deleted_is_refused():
    note = _note()
    note.delete()
    with pytest.raises(NotSerializable, match="it was deleted"):
        stored(note)


def test_an_instance_of_another_model_than_annotated_is_refused():
    with pytest.raises(NotSerializable, match=r"is a app\.Note, but annotated Book or Author"):
        stored(_note(), Book | Author)
    with pytest.raises(NotSerializable, match=r"\(value\[0\]\) is a app\.Note"):
        stored([_note()], list[Book])


def test_a_union_names_several_models():
    for value in (_note(), _book()):
        assert round_trip(value, Note | Book | None) == value


def test_a_base_class_in_the_annotation_allows_its_models():
    user = User.objects.create(username="anna")
    assert round_trip(user, AbstractUser) == user


def test_a_proxy_is_a_model_of_its_own_and_one_of_its_base():
    memo = Memo.objects.get(pk=_note().pk)
    for annotation in (Memo, Note):
        assert type(round_trip(memo, annotation)) is Memo
    with pytest.raises(NotSerializable, match="but annotated Memo"):
        stored(_note(), Memo)


def test_a_row_that_the_default_manager_hides_is_found():
    memo = Memo.objects.get(pk=_note().pk)
    Note.objects.update(text="deleted")
    assert round_trip(memo, Memo).text == "deleted"


def test_the_user_of_a_request_comes_back_as_a_user():
    user = User.objects.create(username="anna")
    again = round_trip(SimpleLazyObject(lambda: user), User)
    assert type(again) is User
    assert again == user


def test_a_model_of_a_migration_is_refused():
    note = _note()
    state = StateApps([], {})
    historical = ModelState.from_model(Note).render(state)
    with pytest.raises(NotSerializable, match=r"as in a migration.* Pass its pk"):
        stored(historical._base_manager.get(pk=note.pk))


@isolate_apps("tests.app")
def test_a_model_that_is_not_installed_is_refused():
    class Loose(models.Model):
        class Meta:
            app_label = "app"

    loose = Loose(pk=1)
    loose._state.adding = False
    with pytest.raises(NotSerializable, match="not the installed model"):
        stored(loose)


def test_a_row_that_is_gone_says_what_happened_and_what_to_do():
    note = _note()
    data, key = stored([note], list[Note]), note.pk
    note.delete()
    with pytest.raises(ModelMissing) as missing:
        decode(data, list[Note], WHERE)
    assert str(missing.value) == (
        f"Note {key} no longer exists, so shop.SendReceipt could not start "
        '(argument "value" (value[0])). It was probably deleted, or the job was dispatched before '
        "its transaction committed. Use `after_commit=True`, or `delete_when_missing=True` to drop "
        "such jobs."
    )


# Databases and routers.


class _Replicas:
    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        instance = hints.get("instance")
        return "default" if instance and instance._state.db == "replica" else None


def test_a_replica_is_never_stored_but_where_the_router_writes():
    note = _note()
    note._state.db = "replica"
    with override_settings(DATABASE_ROUTERS=[_Replicas()]):
        assert "db" not in stored(note)
    note._state.db = "other"
    assert stored(note)["db"] == "other"


@pytest.mark.django_db(databases=["default", "other"])
def test_an_instance_comes_back_from_the_database_it_lives_in():
    note = Note.objects.using("other").create(text="there")
    again = round_trip(note, Note)
    assert (again.text, again._state.db) == ("there", "other")


# Keys of classes of somebody's own.


class Ticket(str):
    __slots__ = ()


def test_a_key_of_a_class_of_its_own_is_stored_as_the_fields_text():
    note = _note()
    note.pk = type("Number", (int,), {})(note.pk)
    assert round_trip(note, Note).pk == note.pk
    parcel = Parcel.objects.create()
    parcel.pk = type("Id", (uuid.UUID,), {})(str(parcel.pk))
    assert round_trip(parcel).pk == parcel.pk
    seat = Seat.objects.create(train=1, number=2)
    seat.number = type("Number", (int,), {})(2)
    assert round_trip(seat).pk == (1, 2)


# What nobody but an attacker, or other code, would store.


@pytest.mark.parametrize(
    ("data", "annotation", "why"),
    [
        ({"$": "model", "m": "auth.user", "k": 1}, Note, "the annotation names Note"),
        (
            {"$": "model", "m": "auth.user", "k": 1},
            Note | Book,
            "the annotation names Note or Book",
        ),
        ({"$": "model", "m": "app.note", "k": 1}, Memo, "the annotation names Memo"),
        ([{"$": "model", "m": "auth.user", "k": 1}], list[Note], "the annotation names Note"),
        ({"$": "model", "m": "nowhere.note", "k": 1}, Any, "no model 'nowhere.note' here"),
        ({"$": "model", "m": "os.system", "k": 1}, Any, "no model"),
        ({"$": "model", "m": "builtins", "k": 1}, Any, "no model"),
        ({"$": "model", "m": "a.b.c", "k": 1}, Any, "no model"),
        ({"$": "model", "m": ".", "k": 1}, Any, "no model"),
        ({"$": "model", "m": None, "k": 1}, Any, "of type NoneType"),
        ({"$": "model", "k": 1}, Any, "of type NoneType"),
        ({"$": "model", "m": "app.note"}, Any, "is null"),
        ({"$": "model", "m": "app.note", "k": None}, Any, "is null"),
        ({"$": "model", "m": "app.note", "k": "one"}, Any, "no key"),
        ({"$": "model", "m": "app.note", "k": "\x00"}, Any, "no key"),
        ({"$": "model", "m": "app.note", "k": "\ud800"}, Any, "no key"),
        ({"$": "model", "m": "app.note", "k": [1]}, Any, "not expected here"),
        ({"$": "model", "m": "app.note", "k": {"pk": 1}}, Any, "a tag is of type"),
        ({"$": "model", "m": "app.note", "k": float("inf")}, Any, "not expected here"),
        ({"$": "model", "m": "app.note", "k": {"$": "model", "m": "app.note", "k": 1}}, Any, "not"),
        ({"$": "model", "m": "app.parcel", "k": "x"}, Any, "no key"),
        ({"$": "model", "m": "app.parcel", "k": {"$": "key", "v": 1}}, Any, "of type int"),
        ({"$": "model", "m": "app.seat", "k": 1}, Any, "does not have 2 parts"),
        ({"$": "model", "m": "app.seat", "k": [1]}, Any, "does not have 2 parts"),
        ({"$": "model", "m": "app.seat", "k": [1, None]}, Any, "is null"),
        ({"$": "model", "m": "app.note", "k": 1, "db": "elsewhere"}, Any, "no database"),
        ({"$": "model", "m": "app.note", "k": 1, "db": ["default"]}, Any, "no database"),
    ],
    ids=str,
)
def test_references_that_no_dispatch_makes_are_damaged(data, annotation, why):
    with pytest.raises(InvalidPayload, match=why):
        decode(data, annotation, WHERE)


@pytest.mark.parametrize("key", [2**70, -(2**70), 0, True])
def test_a_key_of_no_row_is_a_missing_model_whatever_its_size(key):
    data = {"$": "model", "m": "app.note", "k": key}
    with pytest.raises((ModelMissing, InvalidPayload)):
        decode(data, Note, WHERE)


@override_settings(AUTH_USER_MODEL="app.Author")
def test_a_model_that_was_swapped_out_is_damaged(monkeypatch):
    monkeypatch.setattr(Group._meta, "swapped", "app.Team", raising=False)
    data = {"$": "model", "m": "auth.group", "k": 1}
    with pytest.raises(InvalidPayload, match=r"replaced by app\.Team"):
        decode(data, Any, WHERE)
