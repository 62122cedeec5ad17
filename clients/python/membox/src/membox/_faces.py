"""Two faces of one description: methods that block, and methods that are awaited.

A method is written once, as what it asks (`Steps`). `call` and `listing` make of it what the object's face wants:

| face | `call` | `listing` |
|---|---|---|
| `Blocking` | the result | an iterator |
| `Awaiting` | a coroutine | an asynchronous iterator |
| `Describing` | the steps themselves, for steps of others | steps of a list |
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from typing import Concatenate

    from typing_extensions import ParamSpec, Self

    from membox._send import AsyncSender, Sender

    P = ParamSpec("P")
else:
    P = TypeVar("P")  # Python 3.10 has ParamSpec, but not all that is done with it below

from membox._wire import Pages, Steps, all_of

T = TypeVar("T")


class Blocking:
    """An object whose methods block."""

    def __init__(self, *, sender: Sender) -> None:
        self._sender = sender


class Awaiting:
    """An object whose methods are awaited."""

    def __init__(self, *, sender: AsyncSender) -> None:
        self._sender = sender


class Describing:
    """An object whose methods only say what they would ask."""


class _Method(Generic[P, T]):
    """A method that says what it asks."""

    def __init__(self, describe: Callable[..., Any]) -> None:
        self.describe = describe
        functools.update_wrapper(self, describe)  # type: ignore[arg-type]
        self.__signature__ = inspect.signature(describe)

    def _bound(self, run: Callable[[Any], Any], instance: Any) -> Callable[..., Any]:
        @functools.wraps(self.describe)
        def method(*args: Any, **options: Any) -> Any:
            return run(self.describe(instance, *args, **options))

        signature = self.__signature__
        method.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=list(signature.parameters.values())[1:]
        )
        return method


class call(_Method[P, T]):
    """A method with one result."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        super().__init__(describe)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, instance: Describing, owner: type) -> Callable[P, Steps[T]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        if isinstance(instance, (Blocking, Awaiting)):
            return self._bound(instance._sender.run, instance)
        return self._bound(lambda steps: steps, instance)


class listing(_Method[P, T]):
    """A method that gives items, page by page as they are wanted."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Pages[T]]) -> None:
        super().__init__(describe)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, instance: Describing, owner: type) -> Callable[P, Steps[list[T]]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        if isinstance(instance, (Blocking, Awaiting)):
            return self._bound(instance._sender.items, instance)
        return self._bound(all_of, instance)
