"""Real servers for tests, benchmarks and torture scripts.

Each class starts a program on a free port, with its data in a temporary folder, and stops exactly
what it started, also when this process is interrupted or killed:

    with PostgreSQL(fsync=False) as server:
        connect(server.host, server.port, server.user)

Nothing here knows pytest, Django or djqueue, and only the standard library is imported, so that
``python -m tests.services install`` works before anything is installed.
"""

from tests.services.aws import Aws
from tests.services.beanstalkd import Beanstalkd
from tests.services.mariadb import MariaDB
from tests.services.pgbouncer import PgBouncer
from tests.services.postgresql import PostgreSQL
from tests.services.programs import MissingProgram
from tests.services.proxy import Proxy
from tests.services.redis import Redis, RedisCluster
from tests.services.server import Server, ServerFailed
from tests.services.sqs import SQS

__all__ = [
    "SQS",
    "Aws",
    "Beanstalkd",
    "MariaDB",
    "MissingProgram",
    "PgBouncer",
    "PostgreSQL",
    "Proxy",
    "Redis",
    "RedisCluster",
    "Server",
    "ServerFailed",
]
