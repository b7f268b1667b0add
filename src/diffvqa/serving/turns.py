"""One request at a time, or a few; the next one waits a little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import HTTPException

WAIT = 10
"""Seconds that a request waits for those before it."""


class Turns:
    """Requests that come one after the other. at_once: how many at the same time."""

    def __init__(self, at_once: int = 1) -> None:
        self._free = asyncio.Semaphore(at_once)

    @property
    def busy(self) -> bool:
        """Whether the next request would have to wait."""
        return self._free.locked()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        """Wait for one's turn and keep it. Raises HTTPException 429 with Retry-After if it takes too long."""
        try:
            async with asyncio.timeout(WAIT):
                await self._free.acquire()
        except TimeoutError as error:
            detail = f"busy with other requests for {WAIT} seconds; try again"
            raise HTTPException(429, detail, headers={"Retry-After": str(WAIT)}) from error
        try:
            yield
        finally:
            self._free.release()
