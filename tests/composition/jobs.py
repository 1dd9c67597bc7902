"""Steps of chains. What they do is in a list, or in the ledger of a worker under test."""

from __future__ import annotations

from djqueue import current_job, job

ran: list[object] = []


@job(name="composition.number")
def number(value: int) -> int:
    """Return `value`, and note what came before."""
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
