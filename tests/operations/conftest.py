import pytest

from djqueue import queues


@pytest.fixture
def redis(settings, redis_server):
    """A connection to a Redis server, beside the database."""
    settings.DJQUEUE = {
        "CONNECTIONS": {
            "database": {"DRIVER": "database"},
            "redis": {"DRIVER": "redis", "URL": redis_server.url, "PREFIX": "test-verbs"},
            "sync": {"DRIVER": "sync"},
        },
        "DEFAULT": "database",
    }
    yield "redis"
    for name in queues["redis"].inspector.queues():
        queues["redis"].clear(name)
    queues["redis"].close()
