import pytest

from djqueue import queues
from djqueue.conf import settings as current


@pytest.fixture
def redis_connection(settings, redis_server):
    """A connection to a Redis server, beside the database."""
    settings.DJQUEUE = {
        "CONNECTIONS": {
            "database": {"DRIVER": "database"},
            "redis": {"DRIVER": "redis", "URL": redis_server.url, "PREFIX": "test-chains"},
        },
        "DEFAULT": "database",
    }
    assert current().default == "database"
    yield "redis"
    queues["redis"].clear()
    queues["redis"].close()
