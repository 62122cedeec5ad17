"""The memory classes of LangChain's chains, by their names, over sessions of a box.

Each has `load_memory_variables`, `save_context` and `clear`, and the same with an `a` before it. Tokens are counted and
summaries are made by the box: no language model is needed. Several of them may look at one session; `CombinedMemory`
saves what was said once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, get_buffer_string
from membox.describe import Plan

from langchain_membox.chat_history import EVERYTHING, read, written
from langchain_membox.vectorstores import MemboxVectorStore
from membox import Clients, NotFound, describe

if TYPE_CHECKING:
    from membox.types import ContextAnswer

    from membox import AsyncClient, Client

Values = dict[str, Any]

ALL_TOKENS = 10_000_000
"""More tokens than a session has: its messages are chosen by other means."""
DEFAULT_TOKENS = 2000
DEFAULT_TURNS = 5
DEFAULT_K = 4
FOUND_PER_ENTITY = 3
KEPT_BY_SUMMARY_BUFFER = 4
"""Messages that a summary leaves as they are."""


class Memory(ABC):
    """What all of them do."""

    memory_key: str

    @property
    def memory_variables(self) -> list[str]:
        """The names of what it loads."""
        return [self.memory_key]

    @abstractmethod
    def load_memory_variables(self, inputs: Values) -> Values:
        """What is remembered, for a prompt."""

    @abstractmethod
    async def aload_memory_variables(self, inputs: Values) -> Values:
        """What is remembered, for a prompt."""

    @abstractmethod
    def save_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""

    @abstractmethod
    async def asave_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""

    @abstractmethod
    def clear(self) -> None:
        """Forgets all of it."""

    @abstractmethod
    async def aclear(self) -> None:
        """Forgets all of it."""


def only(values: Values, key: str | None, besides: Sequence[str] = ()) -> str:
    """The value by a key, or the only one that there is."""
    if key is not None:
        return str(values[key])
    names = [name for name in values if name not in besides]
    if len(names) != 1:
        raise ValueError(f"one of {names} is meant: name it by input_key or output_key")
    return str(values[names[0]])


class SessionMemory(Memory):
    """Remembers in a session, whose messages are recalled like all others."""

    def __init__(
        self,
        session_id: str,
        *,
        memory_key: str = "history",
        input_key: str | None = None,
        output_key: str | None = None,
        return_messages: bool = False,
        human_prefix: str = "Human",
        ai_prefix: str = "AI",
        user: str | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.session_id = session_id
        self.memory_key = memory_key
        self.input_key = input_key
        self.output_key = output_key
        self.return_messages = return_messages
        self.human_prefix = human_prefix
        self.ai_prefix = ai_prefix
        self.user = user
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._calls = describe.session(session_id)

    @abstractmethod
    def _messages(self) -> Plan[list[BaseMessage]]:
        """The messages that are remembered."""

    def _load(self, inputs: Values) -> Plan[Values]:
        try:
            messages = yield from self._messages()
        except NotFound:  # nothing was ever said
            messages = []
        return {self.memory_key: messages if self.return_messages else self._text(messages)}

    def _text(self, messages: Sequence[BaseMessage]) -> str:
        return get_buffer_string(messages, human_prefix=self.human_prefix, ai_prefix=self.ai_prefix)

    def _save(self, inputs: Values, outputs: Values) -> Plan[None]:
        said = HumanMessage(only(inputs, self.input_key, self.memory_variables))
        answered = AIMessage(only(outputs, self.output_key))
        ready = [written(said), written(answered)]
        yield from self._calls.append(ready, user=self.user, max_messages=EVERYTHING)

    def load_memory_variables(self, inputs: Values) -> Values:
        """What is remembered, for a prompt."""
        return self.clients.run(self._load(inputs))

    async def aload_memory_variables(self, inputs: Values) -> Values:
        """What is remembered, for a prompt."""
        return await self.clients.arun(self._load(inputs))

    def save_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""
        self.clients.run(self._save(inputs, outputs))

    async def asave_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""
        await self.clients.arun(self._save(inputs, outputs))

    def clear(self) -> None:
        """Deletes the session."""
        self.clients.run(self._calls.delete())

    async def aclear(self) -> None:
        """Deletes the session."""
        await self.clients.arun(self._calls.delete())


def messages_of(answer: ContextAnswer) -> list[BaseMessage]:
    """The messages of a context."""
    return [read({"metadata": {}, "id": "", **message}) for message in answer["messages"]]  # type: ignore[typeddict-item]


class ConversationBufferMemory(SessionMemory):
    """All that was said."""

    def _messages(self) -> Plan[list[BaseMessage]]:
        return [read(message) for message in (yield from self._calls.messages())]


class ConversationBufferWindowMemory(SessionMemory):
    """The last `k` turns."""

    def __init__(self, session_id: str, *, k: int = DEFAULT_TURNS, **options: Any) -> None:
        super().__init__(session_id, **options)
        self.k = k

    def _messages(self) -> Plan[list[BaseMessage]]:
        return messages_of((yield from self._calls.context(strategy="window", turns=self.k, max_tokens=ALL_TOKENS)))


class ConversationTokenBufferMemory(SessionMemory):
    """The newest messages that fit `max_token_limit`."""

    def __init__(self, session_id: str, *, max_token_limit: int = DEFAULT_TOKENS, **options: Any) -> None:
        super().__init__(session_id, **options)
        self.max_token_limit = max_token_limit

    def _messages(self) -> Plan[list[BaseMessage]]:
        return messages_of((yield from self._calls.context(strategy="recent", max_tokens=self.max_token_limit)))


class ConversationSummaryMemory(SessionMemory):
    """A summary of all that was said, of at most `summary_tokens`, which grows as the conversation does."""

    def __init__(self, session_id: str, *, summary_tokens: int = 500, **options: Any) -> None:
        super().__init__(session_id, **options)
        self.summary_tokens = summary_tokens

    def _messages(self) -> Plan[list[BaseMessage]]:
        answer = yield from self._calls.context(
            strategy="compress", threshold=0, keep_last=0, summary_tokens=self.summary_tokens, max_tokens=ALL_TOKENS
        )
        return [SystemMessage(answer["summary"]["text"])] if "summary" in answer else messages_of(answer)

    def _text(self, messages: Sequence[BaseMessage]) -> str:
        return "\n".join(str(message.text) for message in messages)


class ConversationSummaryBufferMemory(SessionMemory):
    """What was said; past `max_token_limit` a summary of all but the last messages."""

    def __init__(self, session_id: str, *, max_token_limit: int = DEFAULT_TOKENS, **options: Any) -> None:
        super().__init__(session_id, **options)
        self.max_token_limit = max_token_limit

    def _messages(self) -> Plan[list[BaseMessage]]:
        answer = yield from self._calls.context(
            strategy="compress",
            threshold=self.max_token_limit,
            keep_last=KEPT_BY_SUMMARY_BUFFER,
            max_tokens=ALL_TOKENS,
        )
        return messages_of(answer)


class ConversationEntityMemory(SessionMemory):
    """The last `k` turns, and what was said of those whom the question names, found by recall.

    It is of a `user`, whose profile knows the names.
    """

    def __init__(
        self, session_id: str, *, user: str, k: int = DEFAULT_TURNS, entity_key: str = "entities", **options: Any
    ) -> None:
        super().__init__(session_id, user=user, **options)
        self.k = k
        self.entity_key = entity_key

    @property
    def memory_variables(self) -> list[str]:
        """The names of what it loads."""
        return [self.entity_key, self.memory_key]

    def _messages(self) -> Plan[list[BaseMessage]]:
        return messages_of((yield from self._calls.context(strategy="window", turns=self.k, max_tokens=ALL_TOKENS)))

    def _load(self, inputs: Values) -> Plan[Values]:
        loaded = yield from super()._load(inputs)
        return {**loaded, self.entity_key: (yield from self._entities(inputs))}

    def _entities(self, inputs: Values) -> Plan[dict[str, str]]:
        question = only(inputs, self.input_key, self.memory_variables)
        profile = yield from describe.user(str(self.user)).profile()
        named = [one["term"] for one in profile["entities"] if one["term"].lower() in question.lower()]
        if not named:
            return {}
        collection = describe.collection((yield from self._calls.get())["collection"])
        known = {}
        mine = {"field": "user", "eq": self.user}
        for name in named:
            hits = (yield from collection.recall(name, k=FOUND_PER_ENTITY, filter=mine, order="time"))["hits"]
            known[name] = " ".join(hit.get("text", "") for hit in hits)
        return known


class VectorStoreRetrieverMemory(Memory):
    """What was asked and answered before, as far as it answers the question."""

    def __init__(
        self,
        store: MemboxVectorStore,
        *,
        k: int = DEFAULT_K,
        memory_key: str = "history",
        input_key: str | None = None,
        filter: dict[str, Any] | None = None,
    ) -> None:
        self.store = store
        self.k = k
        self.memory_key = memory_key
        self.input_key = input_key
        self.filter = filter

    def load_memory_variables(self, inputs: Values) -> Values:
        """What is remembered, for a prompt."""
        found = self.store.similarity_search(only(inputs, self.input_key, self.memory_variables), self.k, self.filter)
        return {self.memory_key: "\n".join(document.page_content for document in found)}

    async def aload_memory_variables(self, inputs: Values) -> Values:
        """What is remembered, for a prompt."""
        question = only(inputs, self.input_key, self.memory_variables)
        found = await self.store.asimilarity_search(question, self.k, self.filter)
        return {self.memory_key: "\n".join(document.page_content for document in found)}

    def _text(self, inputs: Values, outputs: Values) -> str:
        said = {name: value for name, value in inputs.items() if name != self.memory_key}
        return "\n".join(f"{name}: {value}" for name, value in {**said, **outputs}.items())

    def save_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""
        self.store.add_texts([self._text(inputs, outputs)])

    async def asave_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""
        await self.store.aadd_texts([self._text(inputs, outputs)])

    def clear(self) -> None:
        """Nothing, as with LangChain's: the store may have other documents."""

    async def aclear(self) -> None:
        """Nothing, as with LangChain's: the store may have other documents."""


class CombinedMemory(Memory):
    """Several memories as one. Those of the same session save what was said once."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self.memories = list(memories)
        names = self.memory_variables
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"several memories load {', '.join(sorted(twice))}: give them other keys")

    @property
    def memory_variables(self) -> list[str]:
        """The names of what they load."""
        return [name for memory in self.memories for name in memory.memory_variables]

    @property
    def _distinct(self) -> list[Memory]:
        """One memory of each session, and all others."""
        keyed = {getattr(memory, "session_id", id(memory)): memory for memory in reversed(self.memories)}
        return list(keyed.values())[::-1]

    def _said(self, inputs: Values) -> Values:
        return {name: value for name, value in inputs.items() if name not in self.memory_variables}

    def load_memory_variables(self, inputs: Values) -> Values:
        """What all of them remember."""
        said = self._said(inputs)
        return {name: value for one in self.memories for name, value in one.load_memory_variables(said).items()}

    async def aload_memory_variables(self, inputs: Values) -> Values:
        """What all of them remember."""
        loaded: Values = {}
        for one in self.memories:
            loaded |= await one.aload_memory_variables(self._said(inputs))
        return loaded

    def save_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""
        for one in self._distinct:
            one.save_context(self._said(inputs), outputs)

    async def asave_context(self, inputs: Values, outputs: Values) -> None:
        """Remembers what was asked and answered."""
        for one in self._distinct:
            await one.asave_context(self._said(inputs), outputs)

    def clear(self) -> None:
        """Forgets all of it."""
        for one in self._distinct:
            one.clear()

    async def aclear(self) -> None:
        """Forgets all of it."""
        for one in self._distinct:
            await one.aclear()
