"""The tests that every driver passes, for authors of drivers.

    class TestMyDriver(DriverContract):
        def make_driver(self) -> Driver:
            return MyDriver(ConnectionSettings("mine", "my_package.MyDriver", options={...}))

Run them with pytest, or name `unittest.TestCase` as a second base class. Every test uses a queue
of its own; nothing is mocked, so a server has to run. Where `Driver.capabilities` says with a
reason that the store cannot do something, the tests of that are skipped with the reason.

Not here: what only one driver promises.
"""

from __future__ import annotations

from djqueue.testing.contract.changing import Changing
from djqueue.testing.contract.fencing import Fencing
from djqueue.testing.contract.inspecting import Inspecting
from djqueue.testing.contract.processes import Processes
from djqueue.testing.contract.pushing import Pushing
from djqueue.testing.contract.recovering import Recovering
from djqueue.testing.contract.reserving import Reserving
from djqueue.testing.contract.settling import Settling

__all__ = ["DriverContract"]


class DriverContract(
    Pushing, Reserving, Settling, Fencing, Recovering, Inspecting, Changing, Processes
):
    """What a driver promises. See `ContractSetup` for what to override."""
