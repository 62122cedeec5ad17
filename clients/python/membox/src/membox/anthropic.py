"""Anthropic's memory tool: its files in a box, where they can be recalled. `pip install membox[anthropic]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool, ToolError
from anthropic.types.beta import (
    BetaCacheControlEphemeralParam,
    BetaMemoryTool20250818CreateCommand,
    BetaMemoryTool20250818DeleteCommand,
    BetaMemoryTool20250818InsertCommand,
    BetaMemoryTool20250818RenameCommand,
    BetaMemoryTool20250818StrReplaceCommand,
    BetaMemoryTool20250818ViewCommand,
)

from membox._both import Clients
from membox._files import FileError, Files
from membox._wire import Plan

if TYPE_CHECKING:
    from membox._client import AsyncClient, Client

T = TypeVar("T")

DEFAULT_COLLECTION = "memories"


class MemboxMemoryTool(BetaAbstractMemoryTool):
    """The memory tool over a collection of a box, one for each whom Claude shall remember."""

    def __init__(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        cache_control: BetaCacheControlEphemeralParam | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self.clients = Clients(url, key=key, client=client)
        self._files = Files(collection)

    def _run(self, steps: Plan[str]) -> str:
        try:
            return self.clients.run(steps)
        except FileError as error:
            raise ToolError(str(error)) from error

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """The lines of a file, or the files of a directory."""
        return self._run(self._files.view(command.path, command.view_range))

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """A new file."""
        return self._run(self._files.create(command.path, command.file_text))

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replaces what stands once in a file."""
        return self._run(self._files.str_replace(command.path, command.old_str, command.new_str or ""))

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Puts a text after a line."""
        return self._run(self._files.insert(command.path, command.insert_line, command.insert_text))

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Deletes a file, or a directory with all that is in it."""
        return self._run(self._files.delete(command.path))

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Moves a file or a directory."""
        return self._run(self._files.rename(command.old_path, command.new_path))

    def clear_all_memory(self) -> str:
        """Deletes all files."""
        return self._run(self._files.clear())


class AsyncMemboxMemoryTool(BetaAsyncAbstractMemoryTool):
    """The memory tool for `AsyncAnthropic`."""

    def __init__(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        cache_control: BetaCacheControlEphemeralParam | None = None,
        url: str | None = None,
        key: str | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self.clients = Clients(url, key=key, async_client=async_client)
        self._files = Files(collection)

    async def _run(self, steps: Plan[str]) -> str:
        try:
            return await self.clients.arun(steps)
        except FileError as error:
            raise ToolError(str(error)) from error

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """The lines of a file, or the files of a directory."""
        return await self._run(self._files.view(command.path, command.view_range))

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """A new file."""
        return await self._run(self._files.create(command.path, command.file_text))

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replaces what stands once in a file."""
        return await self._run(self._files.str_replace(command.path, command.old_str, command.new_str or ""))

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Puts a text after a line."""
        return await self._run(self._files.insert(command.path, command.insert_line, command.insert_text))

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Deletes a file, or a directory with all that is in it."""
        return await self._run(self._files.delete(command.path))

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Moves a file or a directory."""
        return await self._run(self._files.rename(command.old_path, command.new_path))

    async def clear_all_memory(self) -> str:
        """Deletes all files."""
        return await self._run(self._files.clear())
