"""Operations of many tasks of one event loop, done together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakKeyDictionary

from langgraph.store.base import Op, Result

Batch = Callable[[list[Op]], Awaitable[list[Result]]]
Waiting = list[tuple[Sequence[Op], "asyncio.Future[list[Result]]"]]


class Together:
    """Puts operations that are asked for at the same time into one batch. Those of one task stay in their order."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, Waiting] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, ops: Sequence[Op]) -> list[Result]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Result]] = loop.create_future()
        waiting = self._waiting.setdefault(loop, [])
        waiting.append((ops, future))
        if len(waiting) == 1:
            task = loop.create_task(self._drain(loop))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        await asyncio.sleep(0)  # whoever is ready now comes along
        waiting = self._waiting.pop(loop)
        try:
            results = await self._batch([op for ops, _ in waiting for op in ops])
        except Exception as error:
            if len(waiting) == 1:
                answer(waiting[0][1], error)
                return
            # One of them is at fault, and the others shall not hear of it.
            for ops, future in waiting:
                try:
                    answer(future, await self._batch(list(ops)))
                except Exception as own:
                    answer(future, own)
            return
        done = iter(results)
        for ops, future in waiting:
            answer(future, [next(done) for _ in ops])


def answer(future: asyncio.Future[list[Result]], result: list[Result] | Exception) -> None:
    """Gives somebody who waits what came of it; whoever was cancelled waits no more."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
