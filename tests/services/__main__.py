"""``python -m tests.services install`` | ``python -m tests.services run NAME``.

``install`` gets missing servers with apt-get where that is possible, and says in one line each
what is still missing. ``run`` starts one server, prints its address and stops it at Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal

from tests import services
from tests.services.programs import install

_RUNNABLE = {
    "postgresql": services.PostgreSQL,
    "mariadb": services.MariaDB,
    "redis": services.Redis,
    "cluster": services.RedisCluster,
    "beanstalkd": services.Beanstalkd,
    "sqs": services.SQS,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install")
    commands.add_parser("run").add_argument("name", choices=sorted(_RUNNABLE))
    arguments = parser.parse_args()
    return _install() if arguments.command == "install" else _run(arguments.name)


def _install() -> int:
    missing = install()
    for line in dict.fromkeys(requirement.explain() for requirement in missing):
        print(line)
    needed = [requirement for requirement in missing if not requirement.is_optional]
    return 1 if needed and os.environ.get("CI") == "true" else 0


def _run(name: str) -> int:
    with _RUNNABLE[name]() as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
