"""What a coroutine that runs as a job asks of its chain and its batch."""

import pytest
from django.contrib.auth.models import User

from djqueue import batch, chain, current_job, job
from djqueue.testing import work

pytestmark = pytest.mark.django_db(transaction=True)
found = []


@job(name="composition.gives_a_user")
def gives_a_user(user: User) -> User:
    return user


@job(name="composition.looks")
async def looks() -> None:
    here = current_job()
    of = await here.abatch()
    length = None if here.chain is None else await here.chain.alength()
    found.append((await here.aprevious(), of and of.name, length))


@pytest.fixture(autouse=True)
def empty():
    found.clear()


def test_the_value_of_the_step_before_and_the_length():
    user = User.objects.create(username="ada")
    chain([gives_a_user.bind(user), looks.bind()]).dispatch()
    assert work(raise_errors=True) == 2
    assert found == [(user, None, 2)]


def test_the_batch():
    batch([looks.bind()], name="import").dispatch()
    assert work(raise_errors=True) == 1
    assert found == [(None, "import", None)]
