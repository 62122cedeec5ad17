"""Users: who they are, and all that is remembered of them; and memories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from membox._faces import Awaiting, Blocking, Describing, call
from membox._send import AsyncSender, Sender
from membox._wire import Request, given, path, read_bytes, read_json, read_key, read_nothing

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from membox.types import (
        AddedMemories,
        JobView,
        Json,
        MemoryMessage,
        ProfileView,
        QuotaSettings,
        UpdateRequest,
        UsageView,
    )


class UserMethods:
    """A user: profile, quota, use, export and erasure."""

    name: str
    """The user's name."""

    def _path(self, *parts: str) -> str:
        return path("/v1/users", self.name, *parts)

    @call
    def profile(self) -> Request[ProfileView]:
        """Who the user is, by what is remembered and what was set."""
        return Request("GET", self._path("profile"), read_json)

    @call
    def patch_profile(self, fields: dict[str, Json]) -> Request[ProfileView]:
        """Changes fields of the profile; None takes one away."""
        return Request("PATCH", self._path("profile"), read_json, fields)

    @call
    def build_profile(self) -> Request[ProfileView]:
        """Makes the profile anew of what is remembered, and keeps it."""
        return Request("POST", self._path("profile"), read_json)

    @call
    def export(self) -> Request[bytes]:
        """All that is remembered of the user, one JSON object a line. The last line says how many there were."""
        return Request("GET", self._path("export"), read_bytes)

    @call
    def erase(self) -> Request[JobView]:
        """Erases all that is remembered of the user, as a job."""
        return Request("POST", self._path("erase"), read_json)

    @call
    def quota(self) -> Request[QuotaSettings]:
        """How many tokens the user may have a day."""
        return Request("GET", path("/v1/quotas", self.name), read_json)

    @call
    def set_quota(
        self, *, tokens_per_day: int | None = None, price_per_1000: float | None = None
    ) -> Request[QuotaSettings]:
        """Sets how many tokens the user may have a day."""
        body = given(tokens_per_day=tokens_per_day, price_per_1000=price_per_1000)
        return Request("PUT", path("/v1/quotas", self.name), read_json, body)

    @call
    def remove_quota(self) -> Request[None]:
        """Removes the user's own quota."""
        return Request("DELETE", path("/v1/quotas", self.name), read_nothing)

    @call
    def report_usage(self, tokens: int) -> Request[UsageView]:
        """Counts tokens that the user has had elsewhere."""
        return Request("POST", "/v1/usage", read_json, {"user": self.name, "tokens": tokens})

    @call
    def usage(self, *, start: str | None = None, end: str | None = None) -> Request[list[UsageView]]:
        """What the user has had, by day in UTC, such as 2026-05-20; today where no day is given."""
        params = {**given(to=end, limit=1000), **({"from": start} if start else {}), "user": self.name}
        return Request("GET", "/v1/usage", read_key("usage"), params=params)


class User(UserMethods, Blocking):
    __doc__ = UserMethods.__doc__

    def __init__(self, name: str, *, sender: Sender) -> None:
        super().__init__(sender=sender)
        self.name = name


class AsyncUser(UserMethods, Awaiting):
    __doc__ = UserMethods.__doc__

    def __init__(self, name: str, *, sender: AsyncSender) -> None:
        super().__init__(sender=sender)
        self.name = name


class DescribedUser(UserMethods, Describing):
    __doc__ = UserMethods.__doc__

    def __init__(self, name: str) -> None:
        self.name = name


class MemoriesMethods:
    """Memories that are made of messages."""

    @call
    def add(
        self,
        session: str,
        messages: list[MemoryMessage],
        *,
        user: str | None = None,
        collection: str | None = None,
        time_stamp: str | None = None,
        force: bool | None = None,
        explain: bool | None = None,
    ) -> Request[AddedMemories]:
        """Appends messages to a session, and makes memories of what was said once there is enough of it."""
        options = given(user=user, collection=collection, time_stamp=time_stamp, force=force)
        body = {"session": session, "messages": messages, **options}
        return Request("POST", "/v1/memories", read_json, body, params=given(explain=explain))

    @call
    def update(self, **options: Unpack[UpdateRequest]) -> Request[JobView]:
        """Brings older memories up to date by newer ones, as a job."""
        return Request("POST", "/v1/memories:update", read_json, options)


class Memories(MemoriesMethods, Blocking):
    __doc__ = MemoriesMethods.__doc__


class AsyncMemories(MemoriesMethods, Awaiting):
    __doc__ = MemoriesMethods.__doc__


class DescribedMemories(MemoriesMethods, Describing):
    __doc__ = MemoriesMethods.__doc__
