import pytest

from tests.events.happenings import own_listeners


@pytest.fixture(autouse=True)
def _own_listeners():
    with own_listeners():
        yield


@pytest.fixture
def heard():
    """What listeners of a test have heard."""
    return []
