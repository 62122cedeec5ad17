"""Files of text by their paths, as Anthropic's memory tool knows them, in a collection of a box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from membox import describe
from membox._wire import Plan
from membox.errors import NotFound, PreconditionFailed

if TYPE_CHECKING:
    from membox.types import NewRecord, RecordView

ROOT = "/memories"
NOT_THERE = 0
"""The version of a record that must not be there yet."""
EMPTY = "empty"
"""In the metadata of a file without text: a box embeds no empty text."""
NUMBER_WIDTH = 6
SHOWN_DEPTH = 2
AROUND = 2
"""Lines that are shown before and after a change."""


class FileError(Exception):
    """What the model is told when a command cannot be done."""


class Files:
    """What each command of the tool asks of a box, and what it answers. The texts of files can be recalled."""

    def __init__(self, collection: str) -> None:
        self.calls = describe.collection(collection)
        self._is_made = False

    def view(self, path: str, lines: Sequence[int] | None = None) -> Plan[str]:
        """The lines of a file, or the files of a directory."""
        whole = checked(path)
        file = yield from self._read(whole)
        if file is None:
            files = yield from self._under(whole)
            if not files and whole != ROOT:
                raise FileError(f"The path {path} does not exist. Please provide a valid path.")
            return listed(path, whole, files)
        all_lines = text_of(file).split("\n")
        first, last = (lines[0], lines[1]) if lines and len(lines) == 2 else (1, -1)
        start = max(1, first)
        shown = all_lines[start - 1 : None if last == -1 else last]
        return f"Here's the content of {path} with line numbers:\n" + numbered(shown, start)

    def create(self, path: str, text: str) -> Plan[str]:
        """A new file."""
        whole = checked(path)
        if whole == ROOT or (yield from self._under(whole)):
            raise FileError(f"{path} is a directory")
        try:
            yield from self._write(whole, text, NOT_THERE)
        except PreconditionFailed:
            raise FileError(f"File {path} already exists") from None
        return f"File created successfully at: {path}"

    def str_replace(self, path: str, old: str, new: str) -> Plan[str]:
        """Replaces what stands once in a file."""

        def replaced(text: str) -> str:
            lines = [text[:place].count("\n") + 1 for place in places(text, old)]
            if not lines:
                raise FileError(f"No replacement was performed, old_str `{old}` did not appear verbatim in {path}.")
            if len(lines) > 1:
                raise FileError(
                    f"No replacement was performed. Multiple occurrences of old_str `{old}` in lines: "
                    f"{', '.join(map(str, lines))}. Please ensure it is unique"
                )
            return text.replace(old, new)

        before, after = yield from self._edit(path, replaced)
        all_lines = after.split("\n")
        changed = before[: before.find(old)].count("\n")
        start = max(0, changed - AROUND)
        snippet = numbered(all_lines[start : changed + AROUND + 1], start + 1)
        return (
            f"The memory file has been edited. Here is the snippet showing the change (with line numbers):\n{snippet}"
        )

    def insert(self, path: str, line: int, text: str) -> Plan[str]:
        """Puts a text after a line."""

        def inserted(before: str) -> str:
            lines = before.split("\n")
            if lines[-1] == "":
                lines.pop()
            if not 0 <= line <= len(lines):
                raise FileError(
                    f"Invalid `insert_line` parameter: {line}. It should be within the range [0, {len(lines)}]."
                )
            lines.insert(line, text.rstrip("\n"))
            return "\n".join(lines) + "\n"

        yield from self._edit(path, inserted)
        return f"The file {path} has been edited."

    def delete(self, path: str) -> Plan[str]:
        """Deletes a file, or a directory with all that is in it."""
        whole = checked(path)
        if whole == ROOT:
            raise FileError(f"Cannot delete the {ROOT} directory itself")
        files = yield from self._at_and_under(whole)
        if not files:
            raise FileError(f"The path {path} does not exist")
        yield from self.calls.delete_many([file["id"] for file in files])
        return f"Successfully deleted {path}"

    def rename(self, old: str, new: str) -> Plan[str]:
        """Moves a file or a directory. Whoever reads meanwhile may see it at both places, but never at none."""
        source, target = checked(old), checked(new)
        if source == ROOT:
            raise FileError(f"Cannot rename the {ROOT} directory itself")
        if target == ROOT or (yield from self._at_and_under(target)):
            raise FileError(f"The destination {new} already exists")
        files = yield from self._at_and_under(source)
        if not files:
            raise FileError(f"The path {old} does not exist")
        moved = [written(target + file["id"][len(source) :], text_of(file), NOT_THERE) for file in files]
        try:
            yield from self.calls.upsert(moved)
        except PreconditionFailed:
            raise FileError(f"The destination {new} already exists") from None
        yield from self.calls.delete_many([file["id"] for file in files])
        return f"Successfully renamed {old} to {new}"

    def clear(self) -> Plan[str]:
        """Deletes all files."""
        self._is_made = False
        with suppress(NotFound):
            yield from self.calls.drop()
        return "All memory cleared"

    def _read(self, path: str) -> Plan[RecordView | None]:
        try:
            return (yield from self.calls.get(path))
        except NotFound:
            return None

    def _under(self, directory: str) -> Plan[list[RecordView]]:
        try:
            return (yield from self.calls.records(filter={"field": "id", "prefix": f"{directory}/"}))
        except NotFound:  # nothing was ever written
            return []

    def _at_and_under(self, path: str) -> Plan[list[RecordView]]:
        file = yield from self._read(path)
        files = yield from self._under(path)
        return ([file] if file else []) + files

    def _write(self, path: str, text: str, version: int) -> Plan[None]:
        if not self._is_made:
            yield from self.calls.create()
            self._is_made = True
        yield from self.calls.upsert([written(path, text, version)])

    def _edit(self, path: str, change: Callable[[str], str]) -> Plan[tuple[str, str]]:
        whole = checked(path)
        while True:
            file = yield from self._read(whole)
            if file is None:
                if whole == ROOT or (yield from self._under(whole)):
                    raise FileError(f"The path {path} is not a file.")
                raise FileError(f"The path {path} does not exist. Please provide a valid path.")
            before = text_of(file)
            after = change(before)
            try:
                yield from self._write(whole, after, file["version"])
            except PreconditionFailed:  # somebody else has edited it meanwhile
                continue
            return before, after


def checked(path: str) -> str:
    """A path below the root, without what leads nowhere."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or not parts or f"/{parts[0]}" != ROOT:
        raise FileError(f"Path must start with {ROOT}, got: {path}")
    if ".." in parts:
        raise FileError(f"Path {path} would escape {ROOT} directory")
    return "/" + "/".join(parts)


def written(path: str, text: str, version: int) -> NewRecord:
    """A file as a record."""
    return {"id": path, "text": text or path, "metadata": {} if text else {EMPTY: True}, "version": version}


def text_of(file: RecordView) -> str:
    """The text of a file."""
    return "" if file["metadata"].get(EMPTY) else file["text"]


def places(text: str, part: str) -> list[int]:
    """Where a part stands in a text."""
    found, start = [], text.find(part)
    while start != -1:
        found.append(start)
        start = text.find(part, start + 1)
    return found


def numbered(lines: Sequence[str], first: int) -> str:
    """Lines with their numbers."""
    return "\n".join(f"{number:>{NUMBER_WIDTH}}\t{line}" for number, line in enumerate(lines, first))


def sized(size: int) -> str:
    """A size for people."""
    amount = float(size)
    for unit in ("B", "K", "M"):
        if amount < 1024 or unit == "M":
            break
        amount /= 1024
    return f"{amount:.0f}{unit}" if unit == "B" or amount == int(amount) else f"{amount:.1f}{unit}"


def listed(path: str, whole: str, files: list[RecordView]) -> str:
    """The files of a directory and of those in it, with their sizes."""
    sizes: dict[str, int] = {}
    for file in files:
        *folders, name = file["id"][len(whole) + 1 :].split("/")
        if any(part.startswith(".") for part in [*folders, name]):
            continue
        size = len(text_of(file).encode())
        for depth in range(1, len(folders) + 1):
            folder = "/".join(folders[:depth]) + "/"
            sizes[folder] = sizes.get(folder, 0) + size
        sizes["/".join([*folders, name])] = size
    shown = sorted(one for one in sizes if one.rstrip("/").count("/") < SHOWN_DEPTH)
    total = sum(size for one, size in sizes.items() if not one.endswith("/"))
    lines = [f"{sized(total)}\t{path}", *(f"{sized(sizes[one])}\t{path.rstrip('/')}/{one}" for one in shown)]
    header = f"Here're the files and directories up to {SHOWN_DEPTH} levels deep in {path}, excluding hidden items:"
    return "\n".join([header, *lines])
