"""Threads: the states of agents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from membox._faces import Awaiting, Blocking, Describing, call, listing
from membox._send import AsyncSender, Sender
from membox._wire import Pages, Params, Request, given, path, read_json, read_key, read_nothing, read_type_and_bytes

if TYPE_CHECKING:
    from membox.types import CheckpointView, Json, NamespaceView, NewBlob


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
        channels: dict[str, str] | None = None,
        blobs: list[NewBlob] | None = None,
    ) -> Request[CheckpointView]:
        """Keeps a state under an id, new or anew.

        `channels` says which versions of channels it has: each is there already, or among `blobs`.
        """
        more = given(parent=parent, metadata=metadata, ttl_s=ttl_s, channels=channels, blobs=blobs)
        return Request("PUT", self._path(id), read_json, {"state": state, **more}, params={"namespace": namespace})

    @call
    def checkpoint(self, id: str = "latest", *, namespace: str = "", blobs: bool = False) -> Request[CheckpointView]:
        """A checkpoint by its id, or the latest; with `blobs` the values of its channels too."""
        return Request("GET", self._path(id), read_json, params={"namespace": namespace, "blobs": blobs})

    @listing
    def checkpoints(
        self,
        *,
        namespace: str | None = "",
        before: str | None = None,
        filter: dict[str, Any] | None = None,
        blobs: bool = False,
        limit: int | None = None,
        page_size: int = 100,
    ) -> Pages[CheckpointView]:
        """Checkpoints one after another, the latest first; of all namespaces where `namespace` is None."""
        where: Params = {"all_namespaces": True} if namespace is None else {"namespace": namespace}
        as_json = json.dumps(filter, ensure_ascii=False) if filter is not None else None
        more = given(before=before, filter=as_json, limit=min(page_size, limit) if limit else page_size)
        return Pages(self._path(), "checkpoints", {**where, "blobs": blobs, **more}, limit)

    @listing
    def namespaces(self, *, page_size: int = 100) -> Pages[NamespaceView]:
        """The namespaces that have checkpoints, by their names, and how many."""
        return Pages(path("/v1/threads", self.id, "namespaces"), "namespaces", {"limit": page_size})

    @call
    def put_blob(
        self, channel: str, version: str, data: bytes, *, namespace: str = "", type: str | None = None
    ) -> Request[None]:
        """Keeps the value of a channel, for checkpoints that name its version."""
        where = path("/v1/threads", self.id, "blobs", channel, version)
        params = given(namespace=namespace, type=type)
        headers = {"content-type": "application/octet-stream"}
        return Request("PUT", where, read_nothing, params=params, headers=headers, content=data)

    @call
    def blob(self, channel: str, version: str, *, namespace: str = "") -> Request[tuple[str, bytes]]:
        """The value of a channel: its type and its octets."""
        where = path("/v1/threads", self.id, "blobs", channel, version)
        return Request("GET", where, read_type_and_bytes, params={"namespace": namespace})

    @call
    def put_writes(self, id: str, task: str, writes: Json, *, namespace: str = "") -> Request[None]:
        """Keeps what a task has written to a checkpoint; that may come before the checkpoint."""
        params = {"namespace": namespace}
        return Request("PUT", self._path(id, "writes", task), read_nothing, {"writes": writes}, params=params)

    @call
    def delete_checkpoint(self, id: str, *, namespace: str = "") -> Request[None]:
        """Deletes a checkpoint, with what tasks have written to it."""
        return Request("DELETE", self._path(id), read_nothing, params={"namespace": namespace})

    @call
    def delete(self, *, namespace: str | None = None) -> Request[int]:
        """Deletes all checkpoints, of one namespace or of all, and says how many there were."""
        return Request("DELETE", self._path(), read_key("deleted"), params=given(namespace=namespace))

    @call
    def prune(self, *, keep: int = 1, namespace: str | None = None) -> Request[int]:
        """Deletes all but the latest of each namespace, or of one, and says how many there were."""
        body = {"keep": keep, **given(namespace=namespace)}
        return Request("POST", self._path() + ":prune", read_key("deleted"), body, repeatable=True)

    @call
    def copy(self, to: str) -> Request[int]:
        """Copies all checkpoints to another thread, and says how many there were."""
        return Request("POST", self._path() + ":copy", read_key("copied"), {"to": to}, repeatable=True)


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
