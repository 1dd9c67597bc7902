"""What AWS does and moto does not, in front of moto's SQS, in threads of this process.

AWS keeps the deduplication ids of a FIFO queue for five minutes, whatever became of the messages:
what is sent under a known one is accepted, and never delivered. Requests can be made to fail, too.
"""

from __future__ import annotations

import enum
import http.client
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.services.server import HOST

if TYPE_CHECKING:
    from typing_extensions import Self

    from tests.services.sqs import SQS

KEPT = 300.0
"""Seconds for which a deduplication id is known."""


class Fault(enum.Enum):
    """What becomes of a request that is not simply answered."""

    LOSE = "carried out, and the connection ends in place of the answer"
    SILENT = "nothing happens until the end of this fake"


class Refusal(NamedTuple):
    """An error in place of an answer; nothing is carried out."""

    code: str
    status: int = 400


Act = Callable[[str, dict[str, Any]], "Fault | Refusal | None"]
"""Is asked about each request: the operation, and its body."""


class Aws:
    """Stands before `server`; clients use its `url` and `prefix`."""

    def __init__(self, server: SQS) -> None:
        self._server = server
        self.act: Act = lambda operation, body: None
        self.dropped: list[str] = []
        """Deduplication ids of entries that were accepted and not delivered."""
        self._known: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._http = ThreadingHTTPServer((HOST, 0), type("Handler", (_Handler,), {"aws": self}))
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._http.server_port}"

    @property
    def prefix(self) -> str:
        return f"{self.url}/{self._server.account}"

    @property
    def region(self) -> str:
        return self._server.region

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, headers: dict[str, str], data: bytes) -> tuple[int, bytes] | None:
        """Status and body; None: the connection ends."""
        operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
        body = json.loads(data or b"{}")
        fault = self.act(operation, body)
        if isinstance(fault, Refusal):
            return fault.status, json.dumps({"__type": fault.code, "message": "no"}).encode()
        if fault is Fault.SILENT:
            self._ended.wait(60)
            return None
        if operation == "SendMessageBatch" and body["QueueUrl"].endswith(".fifo"):
            answer = self._deduplicated(headers, body)
        else:
            answer = self._passed(headers, data)
        return None if fault is Fault.LOSE else answer

    def _deduplicated(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, bytes]:
        queue, now = body["QueueUrl"].rpartition("/")[2], time.monotonic()
        with self._lock:
            new, successful = [], []
            for entry in body["Entries"]:
                since, answer = self._known.get((queue, entry["MessageDeduplicationId"]), (0.0, {}))
                if answer and now - since < KEPT:
                    self.dropped.append(entry["MessageDeduplicationId"])
                    successful.append({**answer, "Id": entry["Id"]})
                else:
                    new.append(entry)
            told: dict[str, Any] = {}
            if new:
                data = json.dumps({**body, "Entries": new}).encode()
                status, answered = self._passed(headers, data)
                if status != 200:
                    return status, answered
                told = json.loads(answered)
            ids = {entry["Id"]: entry["MessageDeduplicationId"] for entry in new}
            for each in told.get("Successful", ()):
                self._known[queue, ids[each["Id"]]] = now, each
            every = [*successful, *told.get("Successful", ())]
            return 200, json.dumps({**told, "Successful": every}).encode()

    def _passed(self, headers: dict[str, str], data: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self._server.port, timeout=60)
        try:
            own = {k: v for k, v in headers.items() if k.lower() not in ("host", "content-length")}
            connection.request("POST", "/", data, own)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    aws: Aws

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.aws.answer(dict(self.headers.items()), data)
        if answer is None:
            self.close_connection = True
            return
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""
