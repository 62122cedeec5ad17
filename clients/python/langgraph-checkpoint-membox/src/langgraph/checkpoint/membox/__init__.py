"""Checkpoints of LangGraph's threads in a box."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
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
from langgraph.store.membox._filters import may_be_asked

from membox import Clients, NotFound, describe
from membox.describe import Plan
from membox.errors import Impossible

if TYPE_CHECKING:
    from membox import AsyncClient, Client
    from membox.describe import DescribedThread
    from membox.types import CheckpointView, NewBlob

PAGE_SIZE = 20
"""Checkpoints of one page: each has a whole state."""
MAX_BYTES_BESIDE = 4 << 20
"""Values that go with their checkpoint, in base64; more go before it, as octets."""
MAX_CHANNEL_BYTES = 255
"""A channel of a longer name stays within the state."""
DELTA_COUNTERS = "counters_since_delta_snapshot"
"""In the metadata of checkpoints whose graph has channels that are kept as changes."""
TIMED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[67][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""Ids that carry their time; the box orders checkpoints by them."""

__all__ = ["MemboxSaver"]


class MemboxSaver(BaseCheckpointSaver[str]):
    """Keeps the states of LangGraph's threads in `/v1/threads` of a box. Blocking and asynchronous calls may be mixed.

    The value of a channel has at most 64 MiB. It is kept once, however many checkpoints have it.
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
        return self.clients.run(self._put(config, checkpoint, metadata, new_versions))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keeps a checkpoint."""
        return await self.clients.arun(self._put(config, checkpoint, metadata, new_versions))

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Plan[RunnableConfig]:
        versions = {name: str(version) for name, version in checkpoint["channel_versions"].items()}
        apart = {
            name: versions[name]
            for name, value in checkpoint["channel_values"].items()
            if name in versions and is_apart(name, value)
        }
        try:
            yield from self._keep(config, checkpoint, metadata, apart, [name for name in apart if name in new_versions])
        except Impossible as error:
            if not (error.pointer or "").startswith("/channels"):
                raise
            # An older value is not there, or went with the last checkpoint that had it.
            yield from self._keep(config, checkpoint, metadata, apart, list(apart))
        thread, namespace = place(config)
        return configured(thread, namespace, checkpoint["id"])

    def _keep(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        apart: dict[str, str],
        fresh: Iterable[str],
    ) -> Plan[None]:
        """Keeps a checkpoint: the values of the channels `apart` as blobs, of which those of `fresh` are sent."""
        thread, namespace = place(config)
        blobs: list[NewBlob] = []
        room = MAX_BYTES_BESIDE
        for name in fresh:
            kind, data = self.serde.dumps_typed(checkpoint["channel_values"][name])
            if len(data) > room:
                yield from describe.thread(thread).put_blob(name, apart[name], data, namespace=namespace, type=kind)
                continue
            room -= len(data)
            blobs.append({"channel": name, "version": apart[name], "type": kind, "data": in_base64(data)})
        within = {name: value for name, value in checkpoint["channel_values"].items() if name not in apart}
        yield from describe.thread(thread).put_checkpoint(
            checkpoint["id"],
            self._encoded({**checkpoint, "channel_values": within}),
            namespace=namespace,
            parent=get_checkpoint_id(config),
            metadata=cast("dict[str, Any]", get_checkpoint_metadata(config, metadata)),
            ttl_s=self.ttl_s,
            channels=apart,
            blobs=blobs,
        )

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
                get_checkpoint_id(config) or "latest", namespace=namespace, blobs=True
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
        """Checkpoints, the latest first: of one thread or one after another of all, and so with namespaces."""
        wanted = Wanted(config, filter, before, limit)
        box = self.clients.blocking
        threads = (one["thread"] for one in box.threads()) if wanted.thread is None else [wanted.thread]
        for thread in threads if not wanted.is_done else ():
            for view in box.thread(thread).checkpoints(**wanted.asked):
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
        """Checkpoints, the latest first: of one thread or one after another of all, and so with namespaces."""
        wanted = Wanted(config, filter, before, limit)
        if wanted.is_done:
            return
        async for thread in self._threads(wanted.thread):
            async for view in self.clients.awaiting.thread(thread).checkpoints(**wanted.asked):
                if wanted.takes(view):
                    yield self._read(view)
                if wanted.is_done:
                    return

    async def _threads(self, only: str | None) -> AsyncIterator[str]:
        if only is not None:
            yield only
            return
        async for one in self.clients.awaiting.threads():
            yield one["thread"]

    def delete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread."""
        self.clients.run(describe.thread(str(thread_id)).delete())

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread."""
        await self.clients.arun(describe.thread(str(thread_id)).delete())

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints of runs. All threads are looked through for them."""
        self.clients.run(delete_for_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints of runs. All threads are looked through for them."""
        await self.clients.arun(delete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all checkpoints of a thread, with their writes, to another."""
        self.clients.run(describe.thread(str(source_thread_id)).copy(str(target_thread_id)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all checkpoints of a thread, with their writes, to another."""
        await self.clients.arun(describe.thread(str(source_thread_id)).copy(str(target_thread_id)))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes all checkpoints of threads but the latest of each namespace, or with `delete` all.

        Those that a `DeltaChannel` is put together from stay.
        """
        self.clients.run(self._prune(thread_ids, strategy))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes all checkpoints of threads but the latest of each namespace, or with `delete` all.

        Those that a `DeltaChannel` is put together from stay.
        """
        await self.clients.arun(self._prune(thread_ids, strategy))

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> Plan[None]:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"{strategy!r} is no strategy; there are keep_latest and delete")
        for thread in (describe.thread(str(one)) for one in thread_ids):
            if strategy == "delete":
                yield from thread.delete()
                continue
            for space in (yield from thread.namespaces()):
                keep = yield from self._to_keep(thread, space["namespace"])
                yield from thread.prune(keep=keep, namespace=space["namespace"])

    def _to_keep(self, thread: DescribedThread, namespace: str) -> Plan[int]:
        """How many of the latest checkpoints of a namespace the latest one needs."""
        try:
            latest = yield from thread.checkpoint(namespace=namespace)
        except NotFound:  # it has ended meanwhile
            return 1
        deltas = set(latest["metadata"].get(DELTA_COUNTERS, ()))
        if not deltas:
            return 1
        keep, on_path = 1, latest["id"]
        for number, view in enumerate((yield from thread.checkpoints(namespace=namespace)), 1):
            if view["id"] != on_path:
                continue
            keep = number
            deltas -= {*view.get("channels", {}), *self._decoded(view["state"])["channel_values"]}
            if not deltas or "parent" not in view:
                break
            on_path = view["parent"]
        return keep

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """The version after this one; two forks of a thread do not make the same."""
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # Values.

    def _encoded(self, value: Any) -> dict[str, str]:
        kind, data = self.serde.dumps_typed(value)
        return {"type": kind, "data": in_base64(data)}

    def _decoded(self, value: Mapping[str, Any]) -> Any:
        return self.serde.loads_typed((value["type"], base64.b64decode(value["data"])))

    def _read(self, view: CheckpointView) -> CheckpointTuple:
        thread, namespace = view["thread"], view["namespace"]
        writes = [(task, channel, value) for task, rows in view.get("writes", {}).items() for channel, value in rows]
        # Functions that read deltas take the writes in this order.
        writes.sort(key=lambda write: writes_sort_key(write[2]["path"], write[0], write[2]["index"]))
        # Checkpoints of older versions have all values within the state.
        checkpoint = cast("Checkpoint", self._decoded(view["state"]))
        checkpoint["channel_values"] |= {blob["channel"]: self._decoded(blob) for blob in view.get("blobs", ())}
        return CheckpointTuple(
            config=configured(thread, namespace, view["id"]),
            checkpoint=checkpoint,
            metadata=cast("CheckpointMetadata", view["metadata"]),
            parent_config=configured(thread, namespace, view["parent"]) if "parent" in view else None,
            pending_writes=[(task, channel, self._decoded(value)) for task, channel, value in writes],
        )


def is_of_langgraph(state: Any) -> bool:
    """Whether a state is one of this package's. Other programs may keep checkpoints of their own in the box."""
    return isinstance(state, Mapping) and all(isinstance(state.get(part), str) for part in ("type", "data"))


class Wanted:
    """Which checkpoints of a list are wanted: what the box is asked, and what is compared here."""

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        named = config["configurable"] if config else {}
        self.thread = str(named["thread_id"]) if "thread_id" in named else None
        self.filter = filter or {}
        self.left = float("inf") if limit is None else limit
        earlier = get_checkpoint_id(before) if before else None
        is_timed = bool(earlier and TIMED.fullmatch(earlier))
        self.before = None if is_timed else earlier
        """The box has to know an id that carries no time, and here it need not be there."""
        only = get_checkpoint_id(config) if config else None
        conditions = [{"field": "id", "eq": only}] if only else []
        conditions += [
            {"field": f"metadata.{name}", "eq": value}
            for name, value in self.filter.items()
            if name.isidentifier() and name.isascii() and may_be_asked(value)
        ]
        self.asked: dict[str, Any] = {
            "namespace": named.get("checkpoint_ns"),
            "before": earlier if is_timed else None,
            "filter": {"and": conditions} if conditions else None,
            "blobs": True,
            "page_size": max(1, min(PAGE_SIZE, limit or PAGE_SIZE)),
        }

    def takes(self, view: CheckpointView) -> bool:
        """Whether a checkpoint is wanted, and counts it."""
        is_wanted = (
            is_of_langgraph(view["state"])
            and (self.before is None or view["id"] < self.before)
            and all(view["metadata"].get(name) == value for name, value in self.filter.items())
        )
        self.left -= is_wanted
        return is_wanted

    @property
    def is_done(self) -> bool:
        """Whether there are enough."""
        return self.left <= 0


def delete_for_runs(run_ids: Sequence[str]) -> Plan[None]:
    """Deletes the checkpoints of runs."""
    where = {"field": "metadata.run_id", "in": [str(one) for one in run_ids]}
    for one in (yield from describe.client.threads()) if run_ids else ():
        thread = describe.thread(one["thread"])
        for view in (yield from thread.checkpoints(namespace=None, filter=where)):
            try:
                yield from thread.delete_checkpoint(view["id"], namespace=view["namespace"])
            except NotFound:  # somebody else has deleted it
                continue


def is_apart(name: str, value: Any) -> bool:
    """Whether the value of a channel is a blob; small ones stay within the state."""
    is_small = value is None or isinstance(value, (bool, int, float))
    return not is_small and 0 < len(name.encode()) <= MAX_CHANNEL_BYTES


def in_base64(data: bytes) -> str:
    """Octets as text."""
    return base64.b64encode(data).decode("ascii")


def place(config: RunnableConfig) -> tuple[str, str]:
    """The thread and the namespace of a config."""
    named = config["configurable"]
    return str(named["thread_id"]), named.get("checkpoint_ns", "")


def configured(thread: str, namespace: str, checkpoint: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    named = {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
    return {"configurable": named}
