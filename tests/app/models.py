"""Models of every kind that a job may have as an argument, and a ledger of what jobs did."""

from __future__ import annotations

import uuid

from django.db import models


class Note(models.Model):
    """The plainest model."""

    text = models.TextField()


class Author(models.Model):
    """What a book refers to."""

    name = models.CharField(max_length=100)


class Book(models.Model):
    """A model with a relation."""

    title = models.CharField(max_length=100)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")


class Parcel(models.Model):
    """A model whose primary key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    address = models.CharField(max_length=200, default="")


class Seat(models.Model):
    """A model whose primary key has two columns."""

    pk = models.CompositePrimaryKey("train", "number")
    train = models.IntegerField()
    number = models.IntegerField()
    passenger = models.CharField(max_length=100, default="")


class Ledger(models.Model):
    """One line for each thing that a job did, written by the job itself, in any process."""

    job_uuid = models.CharField(max_length=36, db_index=True)
    attempt = models.IntegerField()
    pid = models.IntegerField()
    what = models.CharField(max_length=200)
    at = models.FloatField()
