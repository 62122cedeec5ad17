"""Microsoft Agent Framework: history and memory of agents in a box. `pip install membox[agent-framework]`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import Content, ContextProvider, HistoryProvider, Message

from membox import describe
from membox._both import Clients
from membox._wire import Plan
from membox.errors import NotFound

if TYPE_CHECKING:
    from agent_framework import AgentSession, SessionContext, SupportsAgentRun

    from membox._client import AsyncClient, Client
    from membox.types import MessageView, NewMessage, Role

DEFAULT_K = 5
DEFAULT_PROMPT = "## Memories\nConsider the following memories when answering user questions:"
ROLES = ("user", "assistant", "system", "developer", "tool")
MAX_MESSAGES = 1000
"""Messages of one request."""
EVERYTHING = 0
"""How many messages a session keeps: all of them."""


class MemboxHistoryProvider(HistoryProvider):
    """The messages of a conversation, each a message of a session: its text is embedded and recalled.

    Of a session that is not there yet, `user` is whom it is with. A message has at most 1 MiB of text, and 1 MiB of
    all else. `options` are those of `HistoryProvider`: what is loaded and what is stored.
    """

    def __init__(
        self,
        source_id: str = "membox",
        *,
        user: str | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
        **options: Any,
    ) -> None:
        super().__init__(source_id, **options)
        self.user = user
        self.clients = Clients(url, key=key, client=client, async_client=async_client)

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Message]:
        """The messages, the oldest first."""
        return await self.clients.arun(self._get(session_id)) if session_id else []

    def _get(self, session_id: str) -> Plan[list[Message]]:
        try:
            views = yield from describe.session(session_id).messages(order="oldest")
        except NotFound:
            return []
        return [read(view) for view in views]

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[Message],
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Appends messages: up to 1 000 together, all or none."""
        if session_id:
            await self.clients.arun(self._save(session_id, [written(one) for one in messages]))

    def _save(self, session_id: str, messages: list[NewMessage]) -> Plan[None]:
        for start in range(0, len(messages), MAX_MESSAGES):
            piece = messages[start : start + MAX_MESSAGES]
            yield from describe.session(session_id).append(piece, user=self.user, max_messages=EVERYTHING)


class MemboxContextProvider(ContextProvider):
    """What was said in other conversations, where it answers what is asked now.

    Before a run the collection is recalled, and what is found goes to the model. After a run what was said is
    remembered, by `POST /v1/memories`, unless `remember` is false. With `user`, only what is remembered of that user is
    found. `recall` are further options of a recall.
    """

    def __init__(
        self,
        source_id: str = "membox-memory",
        *,
        collection: str = "agent-framework",
        user: str | None = None,
        k: int = DEFAULT_K,
        min_relevance: float | None = None,
        remember: bool = True,
        prompt: str = DEFAULT_PROMPT,
        recall: dict[str, Any] | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        super().__init__(source_id)
        self.collection = collection
        self.user = user
        self.remember = remember
        self.prompt = prompt
        self.recall = {"k": k, "min_relevance": min_relevance, **(recall or {})}
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._is_made = False

    async def before_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Gives the model what is remembered."""
        asked = "\n".join(one.text for one in context.input_messages if one.text.strip())
        found = await self.clients.arun(self._found(asked, context.session_id)) if asked else []
        if found:
            context.extend_messages(self, [Message("user", ["\n".join([self.prompt, *found])])])

    def _found(self, asked: str, session_id: str | None) -> Plan[list[str]]:
        options = dict(self.recall)
        if self.user is not None:
            of_user = {"field": "user", "eq": self.user}
            options["filter"] = {"and": [of_user, options["filter"]]} if options.get("filter") else of_user
        if session_id is not None:
            options["exclude"] = {"sessions": [self._session(session_id)]}
        try:
            answer = yield from describe.collection(self.collection).recall(asked, **options)
        except NotFound:  # nothing was ever remembered
            return []
        return [hit["text"] for hit in answer["hits"] if hit.get("text")]

    async def after_run(
        self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Remembers what was said."""
        said = [*context.input_messages, *(context.response.messages if context.response else ())]
        messages: list[Any] = [
            {"role": one.role, "content": one.text}
            for one in said
            if one.role in ("user", "assistant") and one.text.strip()
        ]
        if self.remember and messages and context.session_id is not None:
            await self.clients.arun(self._remember(self._session(context.session_id), messages))

    def _remember(self, session: str, messages: list[Any]) -> Plan[None]:
        if not self._is_made:
            yield from describe.collection(self.collection).create()
            self._is_made = True
        yield from describe.memories.add(session, messages, user=self.user, collection=self.collection)

    def _session(self, session_id: str) -> str:
        """The session of what is remembered: that of the history has the same id in another collection."""
        return f"{self.source_id}:{session_id}"


def written(message: Message) -> NewMessage:
    """A message as one of a session. A text that is alone is its content; all else is in the payload."""
    whole = message.to_dict()
    texts = [place for place, one in enumerate(message.contents) if one.type == "text"]
    text = message.text
    if len(texts) == 1:
        del whole["contents"][texts[0]]["text"]
    ready: NewMessage = {
        "role": cast("Role", message.role if message.role in ROLES else "assistant"),
        "content": text,
        "payload": {"agent_framework": {"message": whole, "text_at": texts[0] if len(texts) == 1 else None}},
    }
    calls = [one for one in message.contents if one.type == "function_call"]
    results = [one for one in message.contents if one.type == "function_result"]
    if calls:
        ready["tool_calls"] = [tool_call(one) for one in calls]
    if len(results) == 1 and results[0].call_id:
        ready["tool_call_id"] = results[0].call_id
        if not text and isinstance(results[0].result, str):
            ready["content"] = results[0].result
    return ready


def tool_call(call: Content) -> dict[str, Any]:
    """A call as OpenAI has it."""
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, default=str)
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def read(view: MessageView) -> Message:
    """A message as it was; one that others have appended, by its role and text."""
    payload = view.get("payload")
    known = payload.get("agent_framework") if isinstance(payload, dict) else None
    if known is None:
        return Message(view["role"], [view["content"]])
    if known["text_at"] is not None:
        known["message"]["contents"][known["text_at"]]["text"] = view["content"]
    return Message.from_dict(known["message"])
