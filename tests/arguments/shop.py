"""Classes that arguments name, in a module whose annotations are text."""

from __future__ import annotations

import enum
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar

from django.db.models import TextChoices

if TYPE_CHECKING:
    import tests.arguments.typing_only
    import tests.arguments.typing_only as only
    from tests.arguments.missing import Nowhere
    from tests.arguments.typing_only import Cat
    from tests.arguments.typing_only import Dog as Hound

T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1
    GREEN = (2, "any value")
    CRIMSON = 1  # noqa: PIE796 - an alias


class Status(TextChoices):
    PAID = "paid", "Paid"
    OPEN = "open", "Open"


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    ALL = READ | WRITE


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Address:
    street: str
    colour: Colour = Colour.RED
    lines: list[Colour] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    x: float
    y: float


class Row(NamedTuple):
    number: int
    when: Any = None
    colour: Colour = Colour.RED


@dataclass
class Tree:
    value: Status
    children: list[Tree] = field(default_factory=list)
    parent: Optional[Tree] = None  # noqa: UP045 - spelled as older code does


@dataclass
class Doubled:
    """Calculates when it is made; what came out must not be calculated again."""

    number: int
    total: int = field(init=False, default=0)
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.number *= 2
        self.total = self.number + 1
        self.cache: dict[str, int] = {}


@dataclass
class Needy:
    number: int
    secret: InitVar[str]


@dataclass
class Picky:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


class Options(TypedDict, total=False):
    colour: Colour
    count: int


class MoreOptions(Options):
    status: Status


class Dog:
    """Not the `Dog` of `typing_only`."""


def annotated(
    cat: Cat,
    dogs: list[Hound] | None,
    nowhere: list[Nowhere] | None,
    nonsense: Colour[1 / 0],
    unknown: NotDefined.Inner,  # noqa: F821
    literal: Literal[Status.PAID, "x"],
    by_module: only.Cat,
    by_path: tests.arguments.typing_only.Cat,
    plain: int = 0,
) -> Colour:
    """A function whose every annotation is of another kind."""
    raise NotImplementedError
