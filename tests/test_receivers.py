"""`queued_receiver`: Django's signals, handled by jobs."""

import io
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core import management
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save, pre_save
from django.dispatch import Signal

from djqueue import queued_receiver
from djqueue.errors import InvalidJob, NotSerializable
from djqueue.jobs import registry
from djqueue.models import FailedJob, QueuedJob
from djqueue.testing import fake_queue, work
from tests.app.models import Author, Book, Note

pytestmark = pytest.mark.django_db

paid = Signal()
heard = []


@pytest.fixture
def receiving():
    """Connect a function that remembers what it was called with; until the end of the test."""
    connected = []

    def connect(signal, function=None, **options):
        def receiver(sender, **given):
            given.pop("signal")
            heard.append((sender, given))

        before = {spec.name for spec in registry.all()}
        uid = uuid4().hex
        options.setdefault("name", f"tests.{uid}")
        found = queued_receiver(signal, dispatch_uid=uid, **options)(function or receiver)
        connected.append((signal, options.get("sender"), uid, before))
        return found

    heard.clear()
    yield connect
    for signal, sender, uid, before in connected:
        for one in sender if isinstance(sender, list) else [sender]:
            signal.disconnect(sender=one, dispatch_uid=uid)
        for spec in registry.all():
            if spec.name not in before:
                registry.unregister(spec.name)


def test_an_instance_travels_as_a_reference(receiving):
    receiving(post_save, sender=Note, queue="mail")
    note = Note.objects.create(text="first")
    assert QueuedJob.objects.get().queue == "mail"
    assert heard == []
    Note.objects.filter(pk=note.pk).update(text="second")
    work()
    ((sender, given),) = heard
    assert sender is Note
    assert given["instance"].text == "second"
    assert (given["created"], given["update_fields"], given["using"]) == (True, None, "default")


def test_update_fields_are_carried(receiving):
    note = Note.objects.create(text="first")
    receiving(post_save, sender=Note)
    note.save(update_fields=["text"])
    work()
    assert heard[0][1]["update_fields"] == frozenset({"text"})


def test_what_is_gone_by_then_drops_the_job(receiving):
    receiving(post_save, sender=Note)
    Note.objects.create(text="first").delete()
    assert work() == 1
    assert heard == []
    assert not FailedJob.objects.exists()


def test_a_deleted_instance_has_its_values(receiving):
    receiving(post_delete, sender=Book)
    author = Author.objects.create(name="Ada")
    book = Book.objects.create(title="Notes", author=author)
    key = book.pk
    book.delete()
    work()
    given = heard[0][1]["instance"]
    assert (type(given), given.pk, given.title, given.author_id) == (Book, key, "Notes", author.pk)
    assert given.author == author


def test_a_queryset_that_deletes_tells_of_each(receiving):
    receiving(post_delete, sender=Note)
    for text in ("a", "b"):
        Note.objects.create(text=text)
    Note.objects.all().delete()
    work()
    assert sorted(given["instance"].text for _, given in heard) == ["a", "b"]


def test_an_instance_that_is_not_saved_yet_has_its_values(receiving):
    receiving(pre_save, sender=Note)
    Note.objects.create(text="first")
    work()
    given = heard[0][1]["instance"]
    assert (given.pk, given.text, given._state.adding) == (None, "first", True)


def test_many_to_many_changes_are_carried(receiving):
    receiving(m2m_changed, sender=User.groups.through)
    user = User.objects.create(username="ada")
    group = Group.objects.create(name="staff")
    user.groups.add(group)
    work()
    assert [(given["action"], given["pk_set"]) for _, given in heard] == [
        ("pre_add", {group.pk}),
        ("post_add", {group.pk}),
    ]
    assert heard[0][1]["model"] is Group
    assert heard[0][1]["instance"] == user


def test_a_login_leaves_the_request_out(receiving, rf):
    receiving(user_logged_in)
    user = User.objects.create(username="ada")
    user_logged_in.send(User, request=rf.get("/"), user=user)
    work()
    ((sender, given),) = heard
    assert (sender, given) == (User, {"user": user})


def test_a_signal_of_the_project_carries_plain_values(receiving):
    receiving(paid, sender=["web", "shop"])
    paid.send("shop", amount=3, by={"card": "1234"})
    work()
    assert heard == [("shop", {"amount": 3, "by": {"card": "1234"}})]


def test_a_text_is_carried_as_the_sender(receiving):
    receiving(user_login_failed)
    user_login_failed.send(sender="django.contrib.auth", credentials={"username": "ada"})
    work()
    assert heard == [("django.contrib.auth", {"credentials": {"username": "ada"}})]


def test_only_signals_of_models_have_raw_and_origin(receiving):
    def receiver(sender, origin, **given):
        heard.append((origin, given["raw"]))

    receiving(paid, receiver)
    paid.send(None, raw=True, origin="web")
    work()
    assert heard == [("web", True)]
    with pytest.raises(InvalidJob, match="no job can have 'origin'"):
        receiving(post_delete, lambda sender, origin, **given: None)


def test_a_second_decorator_is_refused(receiving):
    receiver = receiving(paid)
    with pytest.raises(InvalidJob, match="list of signals"):
        receiving(post_save, receiver)


def test_receivers_are_known_by_the_names_of_their_jobs():
    def make(word):
        def receiver(sender, **given):
            heard.append(word)

        return receiver

    heard.clear()
    names = ["tests.one", "tests.two"]
    for name in names:
        queued_receiver(paid, name=name)(make(name))
    try:
        paid.send(None)
        work()
        assert sorted(heard) == names
    finally:
        for name in names:
            registry.unregister(name)
            paid.disconnect(dispatch_uid=f"djqueue {name}")


def test_what_cannot_be_carried_is_named(receiving):
    receiving(paid)
    with pytest.raises(NotSerializable, match="lock"):
        paid.send(None, lock=object())
    with pytest.raises(NotSerializable, match="sender"):
        paid.send(object())
    assert not QueuedJob.objects.exists()


def test_several_signals_may_be_received(receiving):
    def receiver(sender, signal, **given):
        heard.append(signal)

    queued_receiver([paid, post_save], sender=Note, name="tests.both", dispatch_uid="both")(
        receiver
    )
    try:
        Note.objects.create(text="first")
        paid.send(Note)
        work()
        assert heard == [post_save, paid]
    finally:
        registry.unregister("tests.both")
        for signal in (paid, post_save):
            assert signal.disconnect(sender=Note, dispatch_uid="both")


def test_it_is_received_once_however_often_it_is_imported():
    heard.clear()
    for _ in range(2):

        @queued_receiver(post_save, sender=Note, name="tests.again", dispatch_uid="again")
        def again(sender, **given):
            heard.append(sender)

    try:
        Note.objects.create(text="first")
        assert QueuedJob.objects.count() == 1
        work()
        assert heard == [Note]
    finally:
        registry.unregister("tests.again")
        post_save.disconnect(sender=Note, dispatch_uid="again")


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_save_dispatches_nothing(receiving):
    receiving(post_save, sender=Note)
    with transaction.atomic():
        Note.objects.create(text="first")
        transaction.set_rollback(True)
    assert not QueuedJob.objects.exists()


def test_fixtures_dispatch_nothing(receiving, tmp_path):
    receiving(post_save, sender=Note)
    path = tmp_path / "notes.json"
    path.write_text('[{"model": "app.note", "pk": 7, "fields": {"text": "first"}}]')
    management.call_command("loaddata", path, stdout=io.StringIO())
    assert Note.objects.filter(pk=7).exists()
    assert not QueuedJob.objects.exists()


def test_models_of_migrations_dispatch_nothing(receiving):
    from django.db.migrations.state import ModelState, ProjectState

    receiving(post_save)
    state = ProjectState()
    state.add_model(ModelState.from_model(Note))
    state.apps.get_model("app", "Note").objects.create(text="historical")
    assert not QueuedJob.objects.exists()


def test_bulk_create_and_update_send_no_signals(receiving):
    receiving(post_save, sender=Note)
    Note.objects.bulk_create([Note(text="first")])
    Note.objects.update(text="second")
    assert not QueuedJob.objects.exists()


def test_a_fake_queue_knows_the_receiver(receiving):
    receiver = receiving(post_save, sender=Note)
    with fake_queue() as queue:
        note = Note.objects.create(text="first")
    queue.assert_dispatched(receiver, where=lambda job: job.values["instance"] == note)


def test_what_cannot_work_is_refused(receiving):
    with pytest.raises(InvalidJob, match=r"take \*\*kwargs"):
        receiving(post_save, lambda sender, instance: None)
    with pytest.raises(InvalidJob, match="no job can have 'request'"):
        receiving(user_logged_in, lambda sender, request, **kwargs: None)
    with pytest.raises(InvalidJob, match="while migrations run"):
        receiving(post_migrate)


TWICE = """
from django.dispatch import Signal

from djqueue import queued_receiver

paid, refused = Signal(), Signal()


@queued_receiver(paid)
def order_paid(sender, **given):
    return 1


@queued_receiver({signal})
def order_paid(sender, **given):
    return 2
"""


@pytest.mark.parametrize("signal", ["paid", "refused"])
def test_two_receivers_of_one_name_are_an_error(signal, tmp_path):
    file = tmp_path / "receivers.py"
    file.write_text(TWICE.replace("{signal}", signal))
    known = {"__name__": "tests.app.receivers", "__file__": str(file)}
    try:
        with pytest.raises(InvalidJob, match=r"a receiver called .* already, in line 9 of"):
            exec(compile(file.read_text(), str(file), "exec"), known)
        assert registry.find("app.order_paid").job_class is known["order_paid"].job_class
    finally:
        registry.unregister("app.order_paid")


def test_receivers_that_a_function_makes_need_names_of_their_own():
    def make(signal, **options):
        @queued_receiver(signal, **options)
        def made(sender, **given): ...

    make(paid, name="app.made_first")
    try:
        with pytest.raises(InvalidJob, match=r"app\.made_first"):
            make(user_logged_in, name="app.made_first")
        make(user_logged_in, name="app.made_second")
    finally:
        paid.disconnect(dispatch_uid="djqueue app.made_first")
        user_logged_in.disconnect(dispatch_uid="djqueue app.made_second")
        registry.unregister("app.made_first")
        registry.unregister("app.made_second")
