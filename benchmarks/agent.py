"""The program that a contestant runs in: ``python -m benchmarks.agent MODULE [METHOD JSON]``.

With a method it calls that one and ends (a worker). Without, it answers calls, one JSON object a
line. Only the standard library: this runs in every contestant's environment.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

STORE = "BENCH_STORE"


def main(arguments: list[str]) -> None:
    module = importlib.import_module(f"benchmarks.contestants.{arguments[0]}")
    contestant = module.Contestant(json.loads(os.environ[STORE]))
    if len(arguments) > 1:
        getattr(contestant, arguments[1])(**json.loads(arguments[2]))
    else:
        serve(contestant)


def serve(contestant: Any) -> None:
    """Answer calls until the other end closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    for line in sys.stdin:
        call = json.loads(line)
        try:
            value = getattr(contestant, call["method"])(**call["arguments"])
            answer = {"value": value}
        except Exception:  # noqa: BLE001 - told to the caller, who raises it
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
