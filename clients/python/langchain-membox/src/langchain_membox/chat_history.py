"""The messages of a conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, message_to_dict, messages_from_dict
from membox.describe import Plan

from membox import Clients, NotFound, describe

if TYPE_CHECKING:
    from membox.types import MessageView, NewMessage, Role

    from membox import AsyncClient, Client

ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "function"}
MAX_MESSAGES = 1000
"""Messages of one request."""
EVERYTHING = 0
"""How many messages a session keeps: all of them."""


def written(message: BaseMessage) -> NewMessage:
    """A message as the box keeps it.

    Its text is the content, which is embedded and recalled; calls of tools and their answers are what they are, so
    that contexts keep them together. All else that LangChain knows of it is in the payload.
    """
    whole = message_to_dict(message)
    data: dict[str, Any] = {name: value for name, value in whole["data"].items() if value not in (None, [], {})}
    if isinstance(message.content, str):
        data.pop("content", None)
    role = ROLES.get(message.type, "user")
    kept: NewMessage = {
        "role": cast("Role", role),
        "content": str(message.text),
        "payload": {"langchain": {"type": whole["type"], "data": data}},
    }
    if message.name:
        kept["name"] = message.name
    if isinstance(message, ToolMessage):
        kept["tool_call_id"] = message.tool_call_id
    if isinstance(message, AIMessage) and message.tool_calls:
        kept["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
            }
            for call in message.tool_calls
        ]
    return kept


def read(message: MessageView) -> BaseMessage:
    """A message as it was; one that others have appended, by its role and text."""
    known = known_of(message.get("payload"), "langchain")
    if known is None:
        types = {role: kind for kind, role in ROLES.items()}
        known = {"type": types.get(message["role"], "system"), "data": {"id": message["id"]}}
        for field in ("name", "tool_call_id"):
            if field in message:
                known["data"][field] = message[field]
        if message.get("tool_calls"):
            known["data"]["additional_kwargs"] = {"tool_calls": message["tool_calls"]}
    data = {"content": message["content"], **known["data"]}
    return messages_from_dict([{"type": known["type"], "data": data}])[0]


def known_of(payload: Any, framework: str) -> dict[str, Any] | None:
    """What a framework knows of a message beside its text. Payloads of others may be any JSON."""
    return payload.get(framework) if isinstance(payload, dict) else None


class MemboxChatMessageHistory(BaseChatMessageHistory):
    """The messages of a session, which are recalled like all else that the box remembers.

    Of a session that is not there yet, `user` is whom it is with, and all its messages are kept.
    """

    def __init__(
        self,
        session_id: str,
        *,
        user: str | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.session_id = session_id
        self.user = user
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._calls = describe.session(session_id)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """All messages, the oldest first."""
        return self.clients.run(self._read())

    async def aget_messages(self) -> list[BaseMessage]:
        """All messages, the oldest first."""
        return await self.clients.arun(self._read())

    def _read(self) -> Plan[list[BaseMessage]]:
        try:
            found = yield from self._calls.messages()
        except NotFound:
            return []
        return [read(message) for message in found]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Appends messages: up to 1 000 together, all or none."""
        self.clients.run(self._append(messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Appends messages: up to 1 000 together, all or none."""
        await self.clients.arun(self._append(messages))

    def _append(self, messages: Sequence[BaseMessage]) -> Plan[None]:
        ready = [written(message) for message in messages]
        for start in range(0, len(ready), MAX_MESSAGES):
            piece = ready[start : start + MAX_MESSAGES]
            yield from self._calls.append(piece, user=self.user, max_messages=EVERYTHING)

    def clear(self) -> None:
        """Deletes the session."""
        self.clients.run(self._calls.delete())

    async def aclear(self) -> None:
        """Deletes the session."""
        await self.clients.arun(self._calls.delete())
