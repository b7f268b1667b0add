"""One request at a time, or a few; the next one waits a little."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, fail_after
from fastapi import HTTPException

WAIT = 10
"""Seconds that a request waits for those before it."""


@asynccontextmanager
async def turn(requests: CapacityLimiter) -> AsyncIterator[None]:
    """Wait for one's turn and keep it. Raises HTTPException 429 with Retry-After if it takes too long."""
    try:
        with fail_after(WAIT):
            await requests.acquire()
    except TimeoutError as error:
        detail = f"busy with other requests for {WAIT} seconds; try again"
        raise HTTPException(429, detail, headers={"Retry-After": str(WAIT)}) from error
    try:
        yield
    finally:
        requests.release()
