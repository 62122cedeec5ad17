"""Sessions: the messages of one conversation, in order."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from membox._collection import MAX_PAGE
from membox._faces import Awaiting, Blocking, Describing, call, listing
from membox._send import AsyncSender, Sender
from membox._wire import Pages, Plan, Request, given, if_match, path, read_bytes, read_json, read_key, read_nothing
from membox.errors import NotFound

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from membox.types import (
        AppendAnswer,
        ContextAnswer,
        Json,
        MessageView,
        Modality,
        NewMessage,
        OnConflict,
        QueueItemView,
        Scope,
        SessionSettings,
        SessionView,
        Strategy,
    )


class ContextOptions(TypedDict, total=False):
    """How the messages of the next prompt are chosen."""

    strategy: Strategy
    """smart unless said otherwise."""
    max_tokens: int
    """Tokens of the whole (4000)."""
    turns: int
    """Turns that are always kept."""
    encoding: str
    """tiktoken's encoding, or a model's name (o200k_base)."""
    threshold: int
    """With compress: tokens over which a summary is made (3000)."""
    keep_last: int
    """With compress: messages that stay as they are (4)."""
    summary_tokens: int
    """With compress: tokens of the summary (500)."""
    query: str
    """With recall: the question, instead of the newest user message."""
    scope: Scope
    """With recall: where to look."""
    text: bool
    """True for a text beside the messages: a line each, with who says it."""
    human_prefix: str
    """Who a user is in that text (Human)."""
    ai_prefix: str
    """Who the model is in that text (AI)."""


class SessionMethods:
    """A conversation: messages, contexts for the next prompt, and inputs that wait."""

    id: str
    """Its id."""

    def _path(self, *parts: str) -> str:
        return path("/v1/sessions", self.id, *parts)

    @call
    def put(self, *, if_version: int | str | None = None, **settings: Unpack[SessionSettings]) -> Request[SessionView]:
        """Creates the session, or changes its settings; those that are left out stay as they are."""
        return Request("PUT", self._path(), read_json, settings, headers=if_match(if_version))

    @call
    def get(self) -> Request[SessionView]:
        """Its settings, and how many messages it has."""
        return Request("GET", self._path(), read_json)

    @call
    def delete(self) -> Plan[int]:
        """Deletes it with its messages, and says how many there were; 0 where there is no such session."""
        try:
            return (yield from Request[int]("DELETE", self._path(), read_key("deleted")))
        except NotFound:
            return 0

    @call
    def append(
        self,
        messages: Iterable[NewMessage],
        *,
        user: str | None = None,
        collection: str | None = None,
        max_messages: int | None = None,
        on_conflict: OnConflict | None = None,
        if_version: int | str | None = None,
    ) -> Request[AppendAnswer]:
        """Appends 1 to 1 000 messages: all or none, with nothing between them.

        Messages without an id get one here, so that the request can be repeated after a broken connection.
        `user`, `collection` and `max_messages` are for a session that is not there yet.
        """
        ready = [{**message, "id": message.get("id") or str(uuid.uuid4())} for message in messages]
        options = given(user=user, collection=collection, max_messages=max_messages, on_conflict=on_conflict)
        return Request(
            "POST",
            self._path("messages"),
            read_json,
            {"messages": ready, **options},
            headers=if_match(if_version),
            repeatable=if_version is None,
        )

    @listing
    def messages(
        self,
        *,
        order: Literal["oldest", "newest"] = "oldest",
        words: str | None = None,
        modality: Modality | None = None,
        limit: int | None = None,
        page_size: int = MAX_PAGE,
    ) -> Pages[MessageView]:
        """Messages one after another; with `words` those that have all of them."""
        params = given(order=order, q=words, modality=modality, limit=min(page_size, limit) if limit else page_size)
        return Pages(self._path("messages"), "messages", params, limit)

    @call
    def message(self, id: str) -> Request[MessageView]:
        """A message."""
        return Request("GET", self._path("messages", id), read_json)

    @call
    def patch_message(
        self,
        id: str,
        *,
        metadata: dict[str, Json] | None = None,
        content: str | None = None,
        version: int | str | None = None,
    ) -> Request[MessageView]:
        """Merges metadata into a message's; `content` is for captions and transcripts that come later."""
        body = given(metadata=metadata, content=content)
        return Request("PATCH", self._path("messages", id), read_json, body, headers=if_match(version))

    @call
    def delete_message(self, id: str, *, version: int | str | None = None) -> Request[None]:
        """Deletes a message."""
        return Request("DELETE", self._path("messages", id), read_nothing, headers=if_match(version))

    @call
    def media(self, id: str, *, thumbnail: bool = False) -> Request[bytes]:
        """The image or recording of a message."""
        return Request("GET", self._path("messages", id, "media"), read_bytes, params={"thumbnail": thumbnail})

    @call
    def context(self, **options: Unpack[ContextOptions]) -> Request[ContextAnswer]:
        """The messages for the next prompt, within a budget of tokens."""
        return Request("GET", self._path("context"), read_json, params={**options})  # type: ignore[dict-item]

    @call
    def push(self, items: Sequence[Json]) -> Request[list[str]]:
        """Adds inputs that wait, and gives their ids."""
        return Request("POST", self._path("queue"), read_key("ids"), {"items": list(items)})

    @call
    def take(self, *, count: int | None = None, lease_s: int | None = None) -> Request[list[QueueItemView]]:
        """Takes inputs that wait: whoever does has them for `lease_s` (60 s)."""
        body = given(count=count, lease_s=lease_s)
        return Request("POST", self._path("queue") + ":take", read_key("items"), body)

    @call
    def acknowledge(self, id: str) -> Request[None]:
        """Deletes an input that is done."""
        return Request("DELETE", self._path("queue", id), read_nothing)

    @listing
    def queue(self, *, limit: int | None = None) -> Pages[QueueItemView]:
        """Inputs that wait, those that were taken among them."""
        return Pages(self._path("queue"), "items", {"limit": MAX_PAGE}, limit)


class Session(SessionMethods, Blocking):
    __doc__ = SessionMethods.__doc__

    def __init__(self, id: str, *, sender: Sender) -> None:
        super().__init__(sender=sender)
        self.id = id


class AsyncSession(SessionMethods, Awaiting):
    __doc__ = SessionMethods.__doc__

    def __init__(self, id: str, *, sender: AsyncSender) -> None:
        super().__init__(sender=sender)
        self.id = id


class DescribedSession(SessionMethods, Describing):
    __doc__ = SessionMethods.__doc__

    def __init__(self, id: str) -> None:
        self.id = id
