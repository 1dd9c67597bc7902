"""Steps of chains. What they do is in a list, or in the ledger of a worker under test."""

from __future__ import annotations

from decimal import Decimal

from djqueue import Job, current_job, find, job
from djqueue.models import QueuedJob

ran: list[object] = []


@job(name="composition.number")
def number(value: int) -> int:
    """Return `value`, and note what came before."""
    ran.append((value, current_job().previous))
    return value


@job(name="composition.atomic", atomic=True)
def atomic(value: int) -> int:
    """The same, in a transaction with its end."""
    ran.append((value, current_job().previous))
    return value


@job(name="composition.total")
def total() -> int:
    """Add one to the value of the step before."""
    ran.append("total")
    return int(current_job().previous) + 1


@job(name="composition.breaks")
def breaks() -> None:
    """Fail."""
    ran.append("breaks")
    raise ValueError("broken")


@job(name="composition.exits")
def exits() -> None:
    """Raise what is no `Exception`."""
    ran.append("exits")
    raise SystemExit(3)


@job(name="composition.alert")
def alert(text: str) -> None:
    """What runs when a chain breaks."""
    ran.append(text)


@job(name="composition.grows")
def grows() -> None:
    """Add a step directly behind this one, and one at the end."""
    ran.append("grows")
    chain = current_job().chain
    chain.append(number.bind(9))
    chain.prepend(number.bind(5))
    ran.append(chain.length)


@job(name="composition.appends_here")
def appends_here() -> None:
    """Add a step for the connection `here`."""
    current_job().chain.append(number.using(connection="here").bind(1))


@job(name="composition.once_broken")
def once_broken() -> None:
    """Fail the first time."""
    if "broken" not in ran:
        ran.append("broken")
        raise ValueError("broken")
    ran.append("mended")


@job(name="composition.odd")
def odd() -> object:
    """Return what cannot be stored."""
    return object()


@job(name="composition.long")
def long(length: int) -> str:
    """Return a long text."""
    return "x" * length


@job(name="composition.length")
def length(text: str) -> None:
    """Note the length of an argument."""
    ran.append(len(text))


@job(name="composition.adds", store_result=True)
def adds(left: int, right: int) -> int:
    """Say how far it has come, and return the sum."""
    current_job().progress(1, 2, "half of it")
    ran.append(find(current_job().id).progress)
    return left + right


class Kept(Job, name="composition.Kept", store_result=True, tries=2):
    """Do as it is told."""

    how: str

    def handle(self) -> object:
        """Each way to end."""
        ran.append(self.how)
        current_job().progress(len(ran), 10)
        if self.how == "fail" or (self.how == "fail once" and current_job().attempt == 1):
            raise ValueError("broken")
        if self.how == "give up":
            current_job().fail("enough")
        if self.how == "delete":
            current_job().delete()
        if self.how == "release" and current_job().attempt == 1:
            current_job().release()
        if self.how == "object":
            return object()
        if self.how == "large":
            return "x" * ((1 << 20) + 1)
        if self.how == "decimal":
            return {"price": Decimal("1.50")}
        return None


@job(name="composition.akept", store_result=True)
async def akept(value: Decimal) -> Decimal:
    """The same in a coroutine."""
    await current_job().aprogress(3, 3, "all")
    return value * 2


@job(name="composition.notes")
def notes(what: str) -> None:
    """Note what became of a batch."""
    batch = current_job().batch
    ran.append((what, batch.pk, batch.progress))


@job(name="composition.failure")
def failure() -> None:
    """Note which member has failed."""
    ran.append(("failure", current_job().previous))


@job(name="composition.adds_members", tries=2)
def adds_members(count: int) -> None:
    """Add members, and fail the first time."""
    added = current_job().batch.add(number.bind(value) for value in range(count))
    if current_job().attempt == 1:
        raise ValueError(f"once, after {added}")


@job(name="composition.adds_twice", tries=2)
def adds_twice() -> None:
    """Add members in two calls; the first attempt fails between them."""
    added = current_job().batch.add([number.bind(1), number.bind(2)])
    if current_job().attempt == 1:
        raise ValueError(f"once, after {added}")
    ran.append(current_job().batch.add(number.bind(value) for value in (3, 4)))


@job(name="composition.reads")
def reads() -> None:
    """Note an option of the batch."""
    ran.append(current_job().batch.options["week"])


@job(name="composition.only_one", store_result=True, unique=True)
def only_one(value: int) -> int:
    """Return `value`; one at a time."""
    return value


@job(name="composition.once_only", store_result=True, unique=True)
def once_only(number: int) -> None:
    """Fail, one job at a time."""
    raise ValueError(number)


@job(name="composition.atomic_once_broken", store_result=True, atomic=True)
def atomic_once_broken() -> str:
    """Fail the first time, in a transaction with its end."""
    once_broken()
    return "mended"


@job(name="composition.atomic_elsewhere", atomic="other")
def atomic_elsewhere(value: int) -> int:
    """Return `value`, in a transaction of a database that has nothing else."""
    ran.append((value, current_job().previous))
    return value


@job(name="composition.atomic_deleted", atomic=True)
def atomic_deleted() -> None:
    """End while an operator deletes the job."""
    ran.append("deleted")
    QueuedJob.objects.using("queue").all().delete()
