"""OpenAI's Agents SDK: its sessions as sessions of a box. `pip install membox[openai-agents]`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from agents.items import TResponseInputItem
from agents.memory import SessionABC, SessionSettings
from agents.memory.session_settings import coerce_session_settings, resolve_session_limit

from membox import describe
from membox._both import Clients
from membox._wire import Plan
from membox.errors import NotFound

if TYPE_CHECKING:
    from membox._client import AsyncClient, Client
    from membox.types import MessageView, NewMessage, Role

ROLES = ("user", "assistant", "system", "developer")
MAX_MESSAGES = 1000
"""Messages of one request."""
EVERYTHING = 0
"""How many messages a session keeps: all of them."""


class MemboxSession(SessionABC):
    """The items of a conversation, each a message of a session: its text is embedded and recalled.

    Of a session that is not there yet, `user` is whom it is with. An item has at most 1 MiB of text, and 1 MiB of all
    else.
    """

    def __init__(
        self,
        session_id: str,
        *,
        user: str | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.session_id = session_id
        self.user = user
        self.session_settings = coerce_session_settings(session_settings or SessionSettings())
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._calls = describe.session(session_id)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The items, the oldest first; with a limit the newest of them."""
        return await self.clients.arun(self._get(resolve_session_limit(limit, self.session_settings)))

    def _get(self, limit: int | None) -> Plan[list[TResponseInputItem]]:
        if limit is not None and limit <= 0:
            return []
        try:
            views = yield from self._calls.messages(order="oldest" if limit is None else "newest", limit=limit)
        except NotFound:
            return []
        return [read(view) for view in (views if limit is None else reversed(views))]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Appends items: up to 1 000 together, all or none."""
        await self.clients.arun(self._add(items))

    def _add(self, items: list[TResponseInputItem]) -> Plan[None]:
        ready = [written(cast("dict[str, Any]", item)) for item in items]
        for start in range(0, len(ready), MAX_MESSAGES):
            piece = ready[start : start + MAX_MESSAGES]
            yield from self._calls.append(piece, user=self.user, max_messages=EVERYTHING)

    async def pop_item(self) -> TResponseInputItem | None:
        """Takes the newest item away, and gives it. Of several who do so at once each gets another one."""
        return await self.clients.arun(self._pop())

    def _pop(self) -> Plan[TResponseInputItem | None]:
        while True:
            try:
                views = yield from self._calls.messages(order="newest", limit=1)
            except NotFound:
                return None
            if not views:
                return None
            try:
                yield from self._calls.delete_message(views[0]["id"])
            except NotFound:  # somebody else was faster
                continue
            return read(views[0])

    async def clear_session(self) -> None:
        """Deletes the session."""
        await self.clients.arun(self._calls.delete())


def text_of(item: dict[str, Any]) -> tuple[str, list[str | int]]:
    """The text of an item that is said, and where it stands."""
    for field in ("content", "output", "arguments"):
        value = item.get(field)
        if isinstance(value, str):
            return value, [field]
        for place, part in enumerate(value if isinstance(value, list) else []):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                return part["text"], [field, place, "text"]
    return "", []


def written(item: dict[str, Any]) -> NewMessage:
    """An item as a message. What it says is the message's content; all else, and where it stood, is in the payload."""
    text, path = text_of(item)
    rest = copy.deepcopy(item)
    if path:
        *inner, last = path
        found: Any = rest
        for step in inner:
            found = found[step]
        del found[last]
    kind = str(item.get("type", "message"))
    role = item.get("role") if item.get("role") in ROLES else "tool" if kind.endswith("_output") else "assistant"
    message: NewMessage = {
        "role": cast("Role", role),
        "content": text,
        "payload": {"openai_agents": {"item": rest, "text_at": path}},
    }
    if kind == "function_call":
        called = {"name": item.get("name", ""), "arguments": item.get("arguments", "")}
        message["tool_calls"] = [{"id": item.get("call_id", ""), "type": "function", "function": called}]
        message["content"] = ""
        message["payload"] = {"openai_agents": {"item": item, "text_at": []}}
    elif kind == "function_call_output" and item.get("call_id"):
        message["tool_call_id"] = item["call_id"]
    return message


def read(view: MessageView) -> TResponseInputItem:
    """A message as the item that it was; one that others have appended, by its role and text."""
    payload = view.get("payload")
    known = payload.get("openai_agents") if isinstance(payload, dict) else None
    if known is None:
        return cast("TResponseInputItem", {"role": view["role"], "content": view["content"]})
    item = known["item"]
    if known["text_at"]:
        *inner, last = known["text_at"]
        found: Any = item
        for step in inner:
            found = found[step]
        found[last] = view["content"]
    return cast("TResponseInputItem", item)
