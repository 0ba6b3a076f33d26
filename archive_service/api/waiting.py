"""``min_seq``: a read that waits until the projections have seen what the caller has just written."""

import asyncio
import time
from typing import Annotated

from fastapi import Depends, Query
from starlette.concurrency import run_in_threadpool

from archive_service.api.errors import BadRequest, Unavailable
from archive_service.api.guard import CallerDep, ServicesDep

_PAUSE = 0.05  # seconds between two looks at the position


async def caught_up(
    caller: CallerDep,
    services: ServicesDep,
    min_seq: Annotated[
        int | None,
        Query(
            ge=0, lt=2**53, description="Answer only once the projections have passed this acts-log `seq`."
        ),
    ] = None,
) -> None:
    """Raises Unavailable (``projection.behind``) when the position is not reached in time, BadRequest
    (``projection.min_seq``) for one that no act has yet; where it waited, as ``Caller.require_still``."""
    if min_seq is None:
        return
    if min_seq > await run_in_threadpool(caller.tenant.acts_position):
        raise BadRequest("min_seq lies beyond everything that was decided", code="projection.min_seq")
    deadline = time.monotonic() + services.projection_wait
    waited = False
    while (await run_in_threadpool(caller.tenant.catalog.position)).acts < min_seq:
        if time.monotonic() >= deadline:
            raise Unavailable("the projections have not reached min_seq yet", code="projection.behind")
        await asyncio.sleep(_PAUSE)
        waited = True
    if waited:
        await run_in_threadpool(caller.require_still)


CaughtUp = Depends(caught_up)
