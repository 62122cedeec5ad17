"""The chat store."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import ChatMessage, MessageRole, TextBlock
from llama_index.core.storage.chat_store.base import BaseChatStore

from membox import AsyncClient, Client, Clients, NotFound, describe
from membox.describe import Plan

if TYPE_CHECKING:
    from membox.types import MessageView, NewMessage, Role

ROLES = {MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant"}
"""Roles that a box calls otherwise."""
MAX_MESSAGES = 1000
"""Messages of one request."""
EVERYTHING = 0
"""How many messages a session keeps: all of them."""

Messages = list[ChatMessage]


class MemboxChatStore(BaseChatStore):
    """Conversations by key, each a session of a box. With `prefix` their ids begin so, and no others are listed.

    What a message has beside its text (images, arguments) may have 1 MiB as JSON.
    """

    prefix: str = ""
    url: str | None = None

    _clients: Clients = PrivateAttr()

    def __init__(
        self,
        prefix: str = "",
        *,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        super().__init__(prefix=prefix, url=url)  # type: ignore[call-arg]
        self._clients = Clients(url, key=key, client=client, async_client=async_client)

    @classmethod
    def class_name(cls) -> str:
        """The class's name."""
        return "MemboxChatStore"

    def set_messages(self, key: str, messages: Messages) -> None:
        """Puts messages in the place of those of a key. Who reads meanwhile may see none, or the first thousands."""
        self._clients.run(self._set(key, messages))

    async def aset_messages(self, key: str, messages: Messages) -> None:
        """Puts messages in the place of those of a key. Who reads meanwhile may see none, or the first thousands."""
        await self._clients.arun(self._set(key, messages))

    def get_messages(self, key: str) -> Messages:
        """The messages of a key."""
        return self._clients.run(self._get(key))

    async def aget_messages(self, key: str) -> Messages:
        """The messages of a key."""
        return await self._clients.arun(self._get(key))

    def add_message(self, key: str, message: ChatMessage, idx: int | None = None) -> None:
        """Appends a message, or puts it at a place; that writes all of them anew."""
        self._clients.run(self._add(key, message, idx))

    async def async_add_message(self, key: str, message: ChatMessage, idx: int | None = None) -> None:
        """Appends a message, or puts it at a place; that writes all of them anew."""
        await self._clients.arun(self._add(key, message, idx))

    def delete_messages(self, key: str) -> Messages | None:
        """Deletes the messages of a key, and gives them."""
        return self._clients.run(self._delete(key))

    async def adelete_messages(self, key: str) -> Messages | None:
        """Deletes the messages of a key, and gives them."""
        return await self._clients.arun(self._delete(key))

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Deletes the message at a place, and gives it."""
        return self._clients.run(self._delete_at(key, idx))

    async def adelete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Deletes the message at a place, and gives it."""
        return await self._clients.arun(self._delete_at(key, idx))

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Deletes the last message, and gives it."""
        return self._clients.run(self._delete_at(key, -1))

    async def adelete_last_message(self, key: str) -> ChatMessage | None:
        """Deletes the last message, and gives it."""
        return await self._clients.arun(self._delete_at(key, -1))

    def get_keys(self) -> list[str]:
        """All keys."""
        return self._clients.run(self._keys())

    async def aget_keys(self) -> list[str]:
        """All keys."""
        return await self._clients.arun(self._keys())

    # The steps of each.

    def _set(self, key: str, messages: Messages) -> Plan[None]:
        session = describe.session(self.prefix + key)
        yield from session.delete()
        ready = [written(message) for message in messages]
        if not ready:
            yield from session.put(max_messages=EVERYTHING)
        for start in range(0, len(ready), MAX_MESSAGES):
            yield from session.append(ready[start : start + MAX_MESSAGES], max_messages=EVERYTHING)

    def _views(self, key: str) -> Plan[list[MessageView]]:
        try:
            return (yield from describe.session(self.prefix + key).messages())
        except NotFound:
            return []

    def _get(self, key: str) -> Plan[Messages]:
        return [read(view) for view in (yield from self._views(key))]

    def _add(self, key: str, message: ChatMessage, idx: int | None) -> Plan[None]:
        if idx is None:
            session = describe.session(self.prefix + key)
            yield from session.append([written(message)], max_messages=EVERYTHING)
            return
        messages = yield from self._get(key)
        messages.insert(idx, message)
        yield from self._set(key, messages)

    def _delete(self, key: str) -> Plan[Messages | None]:
        session = describe.session(self.prefix + key)
        try:
            messages = [read(view) for view in (yield from session.messages())]
        except NotFound:
            return None
        yield from session.delete()
        return messages

    def _delete_at(self, key: str, idx: int) -> Plan[ChatMessage | None]:
        views = yield from self._views(key)
        if not -len(views) <= idx < len(views):
            return None
        yield from describe.session(self.prefix + key).delete_message(views[idx]["id"])
        return read(views[idx])

    def _keys(self) -> Plan[list[str]]:
        sessions = yield from describe.client.sessions()
        return [one["id"].removeprefix(self.prefix) for one in sessions if one["id"].startswith(self.prefix)]


def written(message: ChatMessage) -> NewMessage:
    """A message as the box keeps it: its text is embedded and recalled, all else is in the payload."""
    rest = message.model_dump(mode="json", exclude_none=True)
    text = message.content or ""
    if len(message.blocks) == 1 and isinstance(message.blocks[0], TextBlock):
        rest.pop("blocks", None)
    rest["role"] = message.role.value
    role = ROLES.get(message.role, message.role.value)
    return {"role": cast("Role", role), "content": text, "payload": {"llama_index": rest}}


def read(view: MessageView) -> ChatMessage:
    """A message as it was; one that others have appended, by its role and text."""
    payload = view.get("payload")
    known = (payload.get("llama_index") if isinstance(payload, dict) else None) or {"role": view["role"]}
    if "blocks" in known:
        return ChatMessage.model_validate(known)
    blocks = [TextBlock(text=view["content"])]
    return ChatMessage(role=known["role"], blocks=blocks, additional_kwargs=known.get("additional_kwargs", {}))
