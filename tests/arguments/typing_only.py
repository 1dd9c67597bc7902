"""What `shop` imports for type checkers only."""

import enum
from dataclasses import dataclass


class Cat(enum.Enum):
    TOM = "tom"


@dataclass
class Dog:
    name: str
