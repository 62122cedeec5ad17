"""Checkpoints of LangGraph's threads in a box."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from membox import Clients, NotFound, describe
from membox.describe import Plan

if TYPE_CHECKING:
    from membox import AsyncClient, Client
    from membox.types import CheckpointView

PAGE_SIZE = 20
"""Checkpoints of one page: each has a whole state."""

__all__ = ["MemboxSaver"]


class MemboxSaver(BaseCheckpointSaver[str]):
    """Keeps the states of LangGraph's threads in `/v1/threads` of a box. Blocking and asynchronous calls may be mixed.

    A state has at most some 700 KiB: it goes as base64 into a field of 1 MiB.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        ttl_s: int | None = None,
        serde: SerializerProtocol | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self.ttl_s = ttl_s
        self.clients = Clients(url, key=key, client=client, async_client=async_client)

    # One checkpoint.

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keeps a checkpoint."""
        return self.clients.run(self._put(config, checkpoint, metadata))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keeps a checkpoint."""
        return await self.clients.arun(self._put(config, checkpoint, metadata))

    def _put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> Plan[RunnableConfig]:
        thread, namespace = place(config)
        yield from describe.thread(thread).put_checkpoint(
            checkpoint["id"],
            self._encoded(checkpoint),
            namespace=namespace,
            parent=get_checkpoint_id(config),
            metadata=cast("dict[str, Any]", get_checkpoint_metadata(config, metadata)),
            ttl_s=self.ttl_s,
        )
        return configured(thread, namespace, checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keeps what a task has written; that may come before its checkpoint."""
        self.clients.run(self._put_writes(config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keeps what a task has written; that may come before its checkpoint."""
        await self.clients.arun(self._put_writes(config, writes, task_id, task_path))

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Plan[None]:
        thread, namespace = place(config)
        rows = [
            [channel, {"index": WRITES_IDX_MAP.get(channel, number), "path": task_path, **self._encoded(value)}]
            for number, (channel, value) in enumerate(writes)
        ]
        checkpoint = get_checkpoint_id(config)
        if checkpoint is None:
            raise ValueError("the config of writes names no checkpoint")
        yield from describe.thread(thread).put_writes(checkpoint, task_id, rows, namespace=namespace)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A checkpoint, the latest where the config names none."""
        return self.clients.run(self._get(config))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A checkpoint, the latest where the config names none."""
        return await self.clients.arun(self._get(config))

    def _get(self, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
        thread, namespace = place(config)
        try:
            found = yield from describe.thread(thread).checkpoint(
                get_checkpoint_id(config) or "latest", namespace=namespace
            )
        except NotFound:
            return None
        return self._read(found)

    # Several.

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The checkpoints of a thread, the latest first; of its root where the config names no namespace."""
        thread, namespace = place(listed(config))
        wanted = Wanted(listed(config), filter, before, limit)
        views = self.clients.blocking.thread(thread).checkpoints(namespace=namespace, page_size=PAGE_SIZE)
        for view in views if wanted.left else ():
            if wanted.takes(view):
                yield self._read(view)
            if wanted.is_done:
                return

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of a thread, the latest first; of its root where the config names no namespace."""
        thread, namespace = place(listed(config))
        wanted = Wanted(listed(config), filter, before, limit)
        if not wanted.left:
            return
        views = self.clients.awaiting.thread(thread).checkpoints(namespace=namespace, page_size=PAGE_SIZE)
        async for view in views:
            if wanted.takes(view):
                yield self._read(view)
            if wanted.is_done:
                return

    def delete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread."""
        self.clients.run(describe.thread(str(thread_id)).delete())

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread."""
        await self.clients.arun(describe.thread(str(thread_id)).delete())

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """The version after this one; two forks of a thread do not make the same."""
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # Values.

    def _encoded(self, value: Any) -> dict[str, str]:
        kind, data = self.serde.dumps_typed(value)
        return {"type": kind, "data": base64.b64encode(data).decode("ascii")}

    def _decoded(self, value: dict[str, str]) -> Any:
        return self.serde.loads_typed((value["type"], base64.b64decode(value["data"])))

    def _read(self, view: CheckpointView) -> CheckpointTuple:
        thread, namespace = view["thread"], view["namespace"]
        writes = [(task, channel, value) for task, rows in view.get("writes", {}).items() for channel, value in rows]
        # Functions that read deltas take the writes in this order.
        writes.sort(key=lambda write: writes_sort_key(write[2]["path"], write[0], write[2]["index"]))
        return CheckpointTuple(
            config=configured(thread, namespace, view["id"]),
            checkpoint=self._decoded(view["state"]),
            metadata=cast("CheckpointMetadata", view["metadata"]),
            parent_config=configured(thread, namespace, view["parent"]) if "parent" in view else None,
            pending_writes=[(task, channel, self._decoded(value)) for task, channel, value in writes],
        )


class Wanted:
    """Which checkpoints of a list are wanted. The box filters none, so all are read until there are enough."""

    def __init__(
        self,
        config: RunnableConfig,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        self.only = get_checkpoint_id(config)
        self.filter = filter or {}
        self.before = get_checkpoint_id(before) if before else None
        self.left = float("inf") if limit is None else limit

    def takes(self, view: CheckpointView) -> bool:
        """Whether a checkpoint is wanted, and counts it."""
        is_wanted = (
            (self.only is None or view["id"] == self.only)
            and (self.before is None or view["id"] < self.before)
            and all(view["metadata"].get(name) == value for name, value in self.filter.items())
        )
        self.left -= is_wanted
        return is_wanted

    @property
    def is_done(self) -> bool:
        """Whether there are enough."""
        return self.left <= 0


def place(config: RunnableConfig) -> tuple[str, str]:
    """The thread and the namespace of a config."""
    named = config["configurable"]
    return str(named["thread_id"]), named.get("checkpoint_ns", "")


def listed(config: RunnableConfig | None) -> RunnableConfig:
    """The config of a list."""
    if config is None or "thread_id" not in config.get("configurable", {}):
        raise NotImplementedError("a box lists the checkpoints of one thread: the config has to name it")
    return config


def configured(thread: str, namespace: str, checkpoint: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    named = {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
    return {"configurable": named}
