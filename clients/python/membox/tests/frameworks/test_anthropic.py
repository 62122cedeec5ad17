"""Anthropic's memory tool, beside the one that Anthropic's SDK has for files."""

from pathlib import Path
from typing import Any

import pytest

import membox

pytest.importorskip("anthropic")
from anthropic.lib.tools import ToolError
from anthropic.lib.tools._beta_builtin_memory_tool import BetaLocalFilesystemMemoryTool
from membox.anthropic import AsyncMemboxMemoryTool, MemboxMemoryTool


def do(command: str, path: str = "/memories/a.md", **more: Any) -> dict[str, Any]:
    return {"command": command, "path": path, **more}


def made(path: str = "/memories/a.md", text: str = "one\ntwo\nthree\nfour\nfive\nsix\n") -> dict[str, Any]:
    return do("create", path, file_text=text)


def moved(old: str, new: str) -> dict[str, Any]:
    return {"command": "rename", "old_path": old, "new_path": new}


SCRIPTS: list[list[dict[str, Any]]] = [
    [made(), do("view"), do("view", view_range=[2, 3]), do("view", view_range=[3, -1])],
    [made(), made(text="again")],
    [made(), do("str_replace", old_str="four", new_str="4\n4"), do("view")],
    [made(), do("str_replace", old_str="e", new_str=""), do("str_replace", old_str="zzz", new_str="")],
    [made(), do("insert", insert_line=0, insert_text="0\n"), do("insert", insert_line=7, insert_text="7"), do("view")],
    [made(), do("insert", insert_line=99, insert_text="x"), do("insert", insert_line=-1, insert_text="x")],
    [made(text=""), do("view"), do("insert", insert_line=0, insert_text="first"), do("view")],
    [made(), do("delete"), do("delete"), do("view")],
    [made("/memories/d/a"), made("/memories/d/e/b"), do("delete", "/memories/d"), do("view", "/memories/d/e/b")],
    [
        made("/memories/a"),
        moved("/memories/a", "/memories/b/c"),
        do("view", "/memories/b/c"),
        do("view", "/memories/a"),
    ],
    [made("/memories/d/a"), moved("/memories/d", "/memories/e"), do("view", "/memories/e/a")],
    [
        made("/memories/a"),
        made("/memories/b"),
        moved("/memories/a", "/memories/b"),
        moved("/memories/z", "/memories/y"),
    ],
    [do("view", "/memories/../etc"), do("view", "/etc"), made("/memories/../x"), do("delete", "/memories")],
    [moved("/memories", "/memories/a"), do("str_replace", old_str="a", new_str="b"), do("view", "/memories/none")],
    [made("/memories/d/a"), do("str_replace", "/memories/d", old_str="a", new_str="b")],
]


def told(tool: Any, script: list[dict[str, Any]]) -> list[str]:
    answers = []
    for command in script:
        try:
            answers.append(str(tool.call(command)))
        except ToolError as error:
            answers.append(f"error: {error}")
    return answers


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_answers_as_the_tool_for_files(url: str, name: str, tmp_path: Path, script: list[dict[str, Any]]) -> None:
    tool = MemboxMemoryTool(name, url=url)
    assert told(tool, script) == told(BetaLocalFilesystemMemoryTool(str(tmp_path)), script)
    tool.clear_all_memory()


def test_a_directory_is_listed_two_levels_deep(url: str, name: str) -> None:
    tool = MemboxMemoryTool(name, url=url)
    script = [made("/memories/a", "x" * 2048), made("/memories/d/b", "1"), made("/memories/d/e/c", "2")]
    told(tool, [*script, made("/memories/.hidden", "3")])
    listed = str(tool.call(do("view", "/memories"))).splitlines()[1:]
    names = ["/memories", "/memories/a", "/memories/d/", "/memories/d/b", "/memories/d/e/"]
    assert [line.split("\t")[1] for line in listed] == names
    assert listed[1] == "2K\t/memories/a"
    tool.clear_all_memory()


def test_files_can_be_recalled(url: str, name: str, client: membox.Client) -> None:
    tool = MemboxMemoryTool(name, url=url)
    tool.call(made("/memories/house.md", "The spare key is under the blue pot."))
    assert client.collection(name).recall("where is the key?")["hits"][0]["id"] == "/memories/house.md"
    tool.clear_all_memory()


async def test_the_asynchronous_tool_does_the_same(url: str, name: str) -> None:
    tool = AsyncMemboxMemoryTool(name, url=url)
    await tool.call(made())
    assert "two" in str(await tool.call(do("view")))
    await tool.call(do("str_replace", old_str="two", new_str="2"))
    await tool.call(do("insert", insert_line=0, insert_text="0"))
    await tool.call(moved("/memories/a.md", "/memories/b.md"))
    await tool.call(do("delete", "/memories/b.md"))
    with pytest.raises(ToolError):
        await tool.call(do("view"))
    await tool.clear_all_memory()
    await tool.clients.aclose()
