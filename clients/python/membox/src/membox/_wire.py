"""What is asked, without asking it: requests, pages of them, and steps of several.

Nothing here does any input or output, so one description serves blocking and asynchronous callers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from urllib.parse import quote

if TYPE_CHECKING:
    from typing import TypeAlias

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Params: TypeAlias = "Mapping[str, str | int | float | bool | None]"


@dataclass(frozen=True)
class Answer:
    """What a box has answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.content) if self.content else None


def read_json(answer: Answer) -> Any:
    """Reads an answer whose body is what is wanted."""
    return answer.json()


def read_nothing(answer: Answer) -> None:
    """Reads an answer that has no body."""


def read_bytes(answer: Answer) -> bytes:
    """Reads an answer whose body is a file."""
    return answer.content


def read_type_and_bytes(answer: Answer) -> tuple[str, bytes]:
    """Reads an answer whose body is a value, and whose header says what it is."""
    return answer.headers.get("x-membox-type", ""), answer.content


def read_key(name: str) -> Callable[[Answer], Any]:
    """Reads one field of an answer."""
    return lambda answer: answer.json()[name]


@dataclass(frozen=True)
class Request(Generic[T_co]):
    """One HTTP request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Answer], T_co]
    json: Any = None
    params: Params = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    """A body that is no JSON."""
    repeatable: bool | None = None
    """Whether it may be sent twice without harm. GET, PUT and DELETE may, unless they are conditional."""

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent again when nobody knows whether it arrived."""
        if self.repeatable is not None:
            return self.repeatable
        # A conditional request that arrived would be refused the second time.
        return self.method in ("GET", "PUT", "DELETE") and "if-match" not in self.headers

    def __iter__(self) -> Generator[Request[Any], Any, T_co]:
        return cast("T_co", (yield self))


class Steps(Protocol[T_co]):
    """Requests that follow from each other's answers. A single request is one, a `Plan` is one."""

    def __iter__(self) -> Generator[Request[Any], Any, T_co]:
        """Yields requests, is sent what they have answered, and returns the result."""
        ...


Plan = Generator[Request[Any], Any, T]
"""What a generator function of steps returns."""


@dataclass(frozen=True)
class Pages(Generic[T_co]):
    """A list that is asked for page by page."""

    path: str
    items: str
    """The field of an answer that has the items."""
    params: Params = field(default_factory=dict)
    max_items: int | None = None
    """No more than so many items are given."""

    def page(self, cursor: str | int | None) -> Request[tuple[list[T_co], str | int | None]]:
        """The request of one page: its items, and the cursor of the next one."""

        def read(answer: Answer) -> tuple[list[T_co], str | int | None]:
            body = answer.json()
            return body[self.items], body.get("next")

        return Request("GET", self.path, read, params={**self.params, "cursor": cursor})


def all_of(pages: Pages[T]) -> Plan[list[T]]:
    """All items of a list, as steps."""
    items: list[T] = []
    cursor: str | int | None = None
    while pages.max_items is None or len(items) < pages.max_items:
        found, cursor = yield from pages.page(cursor)
        items += found
        if cursor is None:
            break
    return items[: pages.max_items]


def path(*parts: str) -> str:
    """A path: the first part as it is, each other one escaped."""
    # URLs would take them for steps, and lead elsewhere.
    if "." in parts or ".." in parts:
        raise ValueError("neither '.' nor '..' can be in a path")
    return "/".join([parts[0], *(quote(part, safe="") for part in parts[1:])])


def given(**values: Any) -> dict[str, Any]:
    """Those of the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def if_match(version: int | str | None) -> dict[str, str]:
    """The header of a request that holds for one version."""
    if version is None:
        return {}
    return {"if-match": f'"{version}"' if isinstance(version, int) and version else str(version)}
