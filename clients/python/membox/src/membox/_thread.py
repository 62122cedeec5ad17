"""Threads: the states of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from membox._faces import Awaiting, Blocking, Describing, call, listing
from membox._send import AsyncSender, Sender
from membox._wire import Pages, Params, Request, given, path, read_json, read_key, read_nothing

if TYPE_CHECKING:
    from membox.types import CheckpointView, Json


class ThreadMethods:
    """The states of an agent's thread: checkpoints, and what tasks have written to them."""

    id: str
    """Its id."""

    def _path(self, *parts: str) -> str:
        return path("/v1/threads", self.id, "checkpoints", *parts)

    @call
    def put_checkpoint(
        self,
        id: str,
        state: Json,
        *,
        namespace: str = "",
        parent: str | None = None,
        metadata: dict[str, Json] | None = None,
        ttl_s: int | None = None,
    ) -> Request[CheckpointView]:
        """Keeps a state under an id, new or anew."""
        body = {"state": state, **given(parent=parent, metadata=metadata, ttl_s=ttl_s)}
        return Request("PUT", self._path(id), read_json, body, params={"namespace": namespace})

    @call
    def checkpoint(self, id: str = "latest", *, namespace: str = "") -> Request[CheckpointView]:
        """A checkpoint by its id, or the latest."""
        return Request("GET", self._path(id), read_json, params={"namespace": namespace})

    @listing
    def checkpoints(
        self, *, namespace: str = "", limit: int | None = None, page_size: int = 100
    ) -> Pages[CheckpointView]:
        """Checkpoints one after another, the latest first."""
        params: Params = {"namespace": namespace, "limit": min(page_size, limit) if limit else page_size}
        return Pages(self._path(), "checkpoints", params, limit)

    @call
    def put_writes(self, id: str, task: str, writes: Json, *, namespace: str = "") -> Request[None]:
        """Keeps what a task has written to a checkpoint; that may come before the checkpoint."""
        params = {"namespace": namespace}
        return Request("PUT", self._path(id, "writes", task), read_nothing, {"writes": writes}, params=params)

    @call
    def delete(self) -> Request[int]:
        """Deletes all checkpoints, of each namespace, and says how many there were."""
        return Request("DELETE", self._path(), read_key("deleted"))


class Thread(ThreadMethods, Blocking):
    __doc__ = ThreadMethods.__doc__

    def __init__(self, id: str, *, sender: Sender) -> None:
        super().__init__(sender=sender)
        self.id = id


class AsyncThread(ThreadMethods, Awaiting):
    __doc__ = ThreadMethods.__doc__

    def __init__(self, id: str, *, sender: AsyncSender) -> None:
        super().__init__(sender=sender)
        self.id = id


class DescribedThread(ThreadMethods, Describing):
    __doc__ = ThreadMethods.__doc__

    def __init__(self, id: str) -> None:
        self.id = id
