"""SQS, as moto's server speaks it."""

from __future__ import annotations

import sys

from tests.services import programs
from tests.services.server import HOST, Server


class SQS(Server):
    """An SQS server in memory; its queues are gone when it stops.

    It takes any credentials, but clients insist on having some: see `environment`.
    """

    requirement = programs.MOTO
    region = "us-east-1"
    account = "123456789012"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def prefix(self) -> str:
        """What a queue's URL begins with."""
        return f"{self.url}/{self.account}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that a client of this server needs to find credentials and a region."""
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)]

    def is_ready(self) -> bool:
        return b"200 OK" in self.ask(b"GET /moto-api/ HTTP/1.0\r\n\r\n")
