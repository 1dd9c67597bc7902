"""Coroutines that ask a database, which they do on a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it to its end, and close the connections of that thread."""

    async def whole() -> Any:
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(whole())
