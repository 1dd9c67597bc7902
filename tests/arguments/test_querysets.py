"""Querysets are evaluated at the dispatch and come back as the same rows in the same order."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.models import Count, F
from django.test.utils import CaptureQueriesContext

from djqueue.arguments import models as references
from djqueue.errors import InvalidPayload, NotSerializable
from tests.app.models import Author, Book, Note, Parcel, Seat
from tests.arguments.support import WHERE, decode, round_trip, stored

pytestmark = pytest.mark.django_db


class SloganQuerySet(models.QuerySet["Slogan"]):
    def loud(self) -> SloganQuerySet:
        return self.filter(text=F("text"))


class Slogan(Note):
    objects = SloganQuerySet.as_manager()

    class Meta:
        app_label = "app"
        proxy = True


@pytest.fixture(scope="module", autouse=True)
def _forget_proxy():
    yield
    apps.all_models["app"].pop("slogan", None)
    apps.clear_cache()


@pytest.fixture
def notes():
    return [Note.objects.create(text=text) for text in "dacb"]


def _texts(notes: Iterable[Note]) -> str:
    return "".join(note.text for note in notes)


def test_it_comes_back_as_a_queryset_in_its_order(notes):
    for order in ("pk", "-pk", "text", "-text"):
        value = Note.objects.order_by(order)
        again = round_trip(value)
        assert type(again) is models.QuerySet
        assert list(again) == list(value)


def test_it_asks_the_database_only_when_it_is_read(notes):
    data = stored(Note.objects.order_by("text"))
    with CaptureQueriesContext(connection) as queries:
        again = decode(data, Any, WHERE)
        assert not queries.captured_queries
        assert again._result_cache is None
        list(again)
        assert len(queries.captured_queries) == 1


def test_the_order_holds_for_first_slices_values_and_what_follows(notes):
    again = round_trip(Note.objects.order_by("text"))
    first = again.first()
    assert first is not None
    assert first.text == "a"
    assert _texts(again[1:3]) == "bc"
    assert list(again.values_list("text", flat=True)) == ["a", "b", "c", "d"]
    assert _texts(again.filter(text__gt="a")) == "bcd"
    assert _texts(again.reverse()) == "dcba"
    assert _texts(again.iterator()) == "abcd"
    assert _texts(again.order_by("-text")) == "dcba"
    assert _texts(again.order_by("pk")) == "dacb"
    assert again.count() == 4
    assert again.update(text="x") == 4
    assert again.delete()[0] == 4


def test_rows_that_vanished_are_left_out_and_new_ones_do_not_join(notes):
    data = stored(Note.objects.order_by("text"))
    notes[3].delete()
    Note.objects.create(text="0")
    assert _texts(decode(data, Any, WHERE)) == "acd"


def test_slices_are_what_they_were(notes):
    assert _texts(round_trip(Note.objects.order_by("text")[1:3])) == "bc"


def test_what_was_read_already_is_not_read_again(notes):
    value = Note.objects.order_by("text")
    list(value)
    with CaptureQueriesContext(connection) as queries:
        stored(value)
    assert not queries.captured_queries


def test_an_empty_one_comes_back_empty_without_a_query():
    for value in (Note.objects.none(), Note.objects.filter(text="nowhere")):
        data = stored(value)
        with CaptureQueriesContext(connection) as queries:
            again = decode(data, Any, WHERE)
            assert list(again) == []
        assert not queries.captured_queries
        assert isinstance(again, models.QuerySet)


def test_filters_distinct_annotations_and_joins_decide_which_rows(notes):
    king, poe = Author.objects.create(name="King"), Author.objects.create(name="Poe")
    for author in (king, king, poe):
        Book.objects.create(title="x", author=author)
    busy = Author.objects.annotate(n=Count("books")).filter(n__gt=1)
    assert list(round_trip(busy)) == [king]
    joined = Author.objects.filter(books__title="x").order_by("-name")
    assert list(round_trip(joined)) == [poe, king]
    assert stored(joined)["k"] == [poe.pk, king.pk]
    books = Book.objects.select_related("author").distinct().order_by("-pk")
    assert list(round_trip(books)) == list(books)
    assert list(round_trip(king.books.all())) == list(king.books.all())


def test_keys_may_be_uuids_or_have_several_columns():
    for n in range(5):
        Parcel.objects.create(address=str(n))
        Seat.objects.create(train=n % 2, number=n)
    for value in (Parcel.objects.order_by("-address"), Seat.objects.order_by("-number")):
        again = round_trip(value)
        assert list(again) == list(value)
        assert again[0] == value[0]


def test_a_queryset_class_of_the_models_own_comes_back(notes):
    again = round_trip(Slogan.objects.order_by("text"))
    assert type(again) is SloganQuerySet
    assert _texts(again.loud()) == "abcd"


def test_a_queryset_class_that_is_gone_is_the_plain_one(notes):
    data = {**stored(Slogan.objects.all()), "c": "os.system"}
    assert type(decode(data, Any, WHERE)) is models.QuerySet


@pytest.mark.django_db(databases=["default", "other"])
def test_it_comes_back_from_the_database_it_was_of():
    Note.objects.using("other").create(text="there")
    again = round_trip(Note.objects.using("other"))
    assert again.db == "other"
    assert _texts(again) == "there"


def test_ten_thousand_rows_are_too_many_and_not_read(notes, monkeypatch):
    monkeypatch.setattr(references, "MAX_KEYS", 3)
    assert _texts(round_trip(Note.objects.all()[:3])) == "dac"
    for value in (Note.objects.all(), Note.objects.all()[:100]):
        with pytest.raises(NotSerializable, match=r"more than 3 app\.Note rows\. Pass the filter"):
            stored(value)
    evaluated = Note.objects.all()
    list(evaluated)
    with pytest.raises(NotSerializable, match="more than 3"):
        stored(evaluated)


@pytest.mark.slow
def test_ten_thousand_rows_in_any_order_come_back():
    Note.objects.bulk_create(Note(text=str(n)) for n in range(10_000))
    keys = list(Note.objects.values_list("pk", flat=True))
    random.Random(1).shuffle(keys)
    data = {"$": "queryset", "m": "app.note", "k": keys}
    assert [note.pk for note in decode(data, Any, WHERE)] == keys


def test_what_is_no_queryset_of_instances_is_refused(notes):
    everything = Note.objects.all()
    for value in (everything.values(), everything.values_list("pk"), everything.values()[:2]):
        with pytest.raises(NotSerializable, match=r"Pass list\(\) of it, or remove values"):
            stored(value)
    with pytest.raises(NotSerializable, match="combined queryset"):
        stored(everything.union(Note.objects.none(), everything))


def test_the_annotation_says_which_model_its_rows_are_of(notes):
    value = Note.objects.order_by("text")
    assert _texts(round_trip(value, Iterable[Note])) == "abcd"
    with pytest.raises(NotSerializable, match="but annotated Book"):
        stored(value, Iterable[Book])
    with pytest.raises(InvalidPayload, match="the annotation names Book"):
        decode(stored(value), Iterable[Book], WHERE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"$": "queryset", "m": "app.note", "k": 5}, "of type int"),
        ({"$": "queryset", "m": "app.note"}, "of type NoneType"),
        ({"$": "queryset", "m": "app.note", "k": [1, None]}, "is null"),
        ({"$": "queryset", "m": "app.note", "k": ["one"]}, "no keys"),
        ({"$": "queryset", "m": "app.note", "k": [[1]]}, "not expected"),
        ({"$": "queryset", "m": "app.seat", "k": [[1, 2], [3]]}, "does not have 2 parts"),
        ({"$": "queryset", "m": "app.parcel", "k": ["x"]}, "no keys"),
        ({"$": "queryset", "m": "app.note", "k": [0] * 10_001}, "more than 10,000 keys"),
        ({"$": "queryset", "m": "x.note", "k": [1]}, "no model"),
        ({"$": "queryset", "m": "app.note", "k": [1], "db": 5}, "no database"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_keys_that_no_dispatch_makes_are_damaged(data, why):
    with pytest.raises(InvalidPayload, match=why):
        decode(data, Any, WHERE)
