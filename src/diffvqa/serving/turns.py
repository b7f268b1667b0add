"""One request at a time; the next one waits a little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import HTTPException

WAIT = 10
"""Seconds that a request waits for the one before it."""


class Turns:
    """Requests that are answered one after the other."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._lock.locked()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        """Wait for one's turn and keep it. Raises HTTPException 429 with Retry-After if it takes too long."""
        try:
            async with asyncio.timeout(WAIT):
                await self._lock.acquire()
        except TimeoutError as error:
            detail = f"busy with another request for {WAIT} seconds; try again"
            raise HTTPException(429, detail, headers={"Retry-After": str(WAIT)}) from error
        try:
            yield
        finally:
            self._lock.release()
