"""Runs every suite against one box, as many at once as there are cores: `python suites.py FOLDER`.

FOLDER is what scripts/test-clients.sh has prepared. A table of what passed goes to FOLDER/results.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import membox

HERE = Path(__file__).parent.resolve()
PLACE = Path(sys.argv[1]).resolve()
SOURCES = PLACE / "sources"
MAX_SUITE_S = 1200
URL = "URL"
"""Stands for the address of the box in a command."""
MYPY = ("-m", "mypy", "--explicit-package-bases", "--namespace-packages")
# Some of LangGraph's tests measure time to a tenth of a second, beside the other suites.
LANGGRAPH_TESTS = ("tests", "-k", "(sqlite or sqlite_aio) and not aes", "--reruns", "3")
GENERATED = ("./test.sh", URL, str(PLACE / "generated"), str(PLACE / "generators"))
CREWAI = ("src/membox/crewai.py", "tests/frameworks/test_crewai.py")
NO_POSTGRES = ("--ignore", "tests/test_prune_postgres.py")


@dataclass(frozen=True)
class Suite:
    """Something that passes or fails."""

    name: str
    group: str
    """Whose environment it runs in; none of Python's for a script."""
    folder: str
    command: tuple[str, ...]
    counts: bool = True
    """Whether it is pytest's, and says how many tests there were."""
    has_own_box: bool = False
    """Whether it looks at all that a box has."""


@dataclass(frozen=True)
class Outcome:
    """How a suite has ended."""

    suite: Suite
    is_well: bool
    passed: int
    lacking: int
    """Expected failures: what a box lacks."""
    total: int
    seconds: float
    said: str


def source(name: str) -> str:
    """The folder of a source package."""
    [found] = [one for one in SOURCES.glob(f"{name}-*") if one.is_dir()]
    return str(found)


def typed(package: str, group: str, *modules: str) -> Suite:
    """The types of a package."""
    named = [part for module in modules for part in ("-p", module)]
    command = (*MYPY, *named) if modules else ("-m", "mypy", "src", "tests")
    return Suite(f"{package}: mypy --strict", group, package, command, counts=False)


def typescript(package: str, what: str, has_own_box: bool = False) -> Suite:
    """A package for TypeScript, by its script."""
    command = ("./test.sh", URL, str(PLACE / "typescript"))
    return Suite(f"typescript/{package}: {what}", "", f"../typescript/{package}", command, False, has_own_box)


def suites() -> list[Suite]:
    """All of them, the longest first."""
    tests = ("-m", "pytest", "-q", "tests")
    upstream = ("tests/upstream.py", source("langgraph"), *LANGGRAPH_TESTS, *NO_POSTGRES)
    upstream_store = ("tests/upstream_store.py", source("langgraph_checkpoint_sqlite"))
    upstream_agents = ("tests/frameworks/upstream_openai_agents.py", source("openai_agents"))
    saver, vectors = "langgraph-checkpoint-membox", "llama-index-vector-stores-membox"
    chats = "llama-index-storage-chat-store-membox"
    return [
        Suite("langgraph: its own tests, our checkpointer", "langchain", saver, upstream),
        Suite("packages: wheels, READMEs, examples", "core", ".", tests),
        Suite("langchain-membox, with langchain-tests", "langchain", "langchain-membox", tests),
        Suite("membox", "core", "membox", (*tests, "--ignore", "tests/frameworks")),
        Suite("membox: agent frameworks", "agents", "membox", (*tests[:-1], "tests/frameworks")),
        Suite("membox: CrewAI", "crewai", "membox", (*tests[:-1], CREWAI[1])),
        Suite("langgraph-checkpoint-sqlite: its store tests, our store", "langchain", saver, upstream_store),
        Suite(f"{saver}, with langgraph-checkpoint-conformance", "langchain", saver, tests),
        typescript("membox", "tarball, README, example"),
        typescript("langgraph-checkpoint", "with its validation suite", has_own_box=True),
        Suite("mcp: conformance suites 0.1 and 0.2", "", "../mcp", ("./test.sh", URL, str(PLACE / "mcp")), False),
        Suite("openai-agents: its own session tests", "agents", "membox", upstream_agents),
        Suite(vectors, "llama-index", vectors, tests),
        Suite(chats, "llama-index", chats, tests),
        Suite("mem0ai: its own client", "mem0", "mem0-client", tests),
        Suite("agent-memory-client: as it is", "agent-memory", "agent-memory-client", tests),
        Suite("openai: its own client, conversations", "agents", "openai-client", tests),
        Suite("generated clients: openapi-generator, openapi-typescript", "", "../generated", GENERATED, counts=False),
        Suite("ruff check", "core", ".", ("-m", "ruff", "check", "."), counts=False),
        Suite("ruff format", "core", ".", ("-m", "ruff", "format", "--check", "."), counts=False),
        typed("membox", "agents"),
        Suite("membox, CrewAI: mypy --strict", "crewai", "membox", ("-m", "mypy", *CREWAI), counts=False),
        typed("membox-server", "core", "membox_server"),
        typed("langchain-membox", "langchain"),
        typed(saver, "langchain", "langgraph.checkpoint.membox", "langgraph.store.membox"),
        typed(vectors, "llama-index", "llama_index.vector_stores.membox"),
        typed(chats, "llama-index", "llama_index.storage.chat_store.membox"),
    ]


def run(suite: Suite, url: str) -> Outcome:
    """Runs one suite, against the box that all share unless it has one of its own."""
    if suite.has_own_box:
        with membox.Box() as box:
            return run(replace(suite, has_own_box=False), box.url)
    report = PLACE / "reports" / f"{suite.name.split(',')[0].replace(' ', '-').replace(':', '')}.xml"
    more = [f"--junitxml={report}"] if suite.counts else []
    environment = {**os.environ, "MEMBOX_URL": url, "MYPYPATH": "src", "PYTHONDONTWRITEBYTECODE": "1"}
    program = [str(PLACE / suite.group / "bin/python")] if suite.group else []
    begun = time.monotonic()
    try:
        ended = subprocess.run(
            [*program, *(url if word == URL else word for word in suite.command), *more],
            cwd=HERE / suite.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MAX_SUITE_S,
            check=False,
        )
        code, said = ended.returncode, ended.stdout
    except subprocess.TimeoutExpired as error:
        code, said = 124, f"{error.stdout or b''!r}\nit did not end after {MAX_SUITE_S} s"
    seconds = time.monotonic() - begun
    passed, lacking, total = counted(report) if suite.counts and report.exists() else counted_by_node(said, code)
    print(f"{'ok' if code == 0 else 'FAILED'}  {suite.name}  {passed}/{total}  {seconds:.0f} s", flush=True)
    return Outcome(suite, code == 0, passed, lacking, total, seconds, said)


def counted(report: Path) -> tuple[int, int, int]:
    """How many tests passed, how many are known to fail, and how many there were but for those that were skipped."""
    root = ElementTree.parse(report).getroot()
    suite = root if root.tag == "testsuite" else root[0]
    total, failed, skipped = (
        int(suite.get("tests", 0)),
        int(suite.get("failures", 0)) + int(suite.get("errors", 0)),
        int(suite.get("skipped", 0)),
    )
    lacking = len(root.findall(".//skipped[@type='pytest.xfail']"))
    return total - failed - skipped, lacking, total - skipped + lacking


def counted_by_node(said: str, code: int) -> tuple[int, int, int]:
    """How many of node's tests passed, how many are known to fail, and how many there were; no tests are one."""
    found = [re.findall(rf"^# {word} (\d+)$", said, re.MULTILINE) for word in ("pass", "todo", "tests")]
    if found[0] and found[2]:
        return int(found[0][0]), int(found[1][0]) if found[1] else 0, int(found[2][0])
    return int(code == 0), 0, 1


def main() -> int:
    """Runs them all, and says how they ended."""
    only = os.environ.get("ONLY", "")
    chosen = [suite for suite in suites() if only in suite.name]
    (PLACE / "reports").mkdir(exist_ok=True)
    for report in (PLACE / "reports").iterdir():
        report.unlink()
    with membox.Box() as box, ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        outcomes = list(pool.map(lambda suite: run(suite, box.url), chosen))
    lines = ["| suite | passed | of | known to lack | seconds |", "|---|---|---|---|---|"]
    for one in outcomes:
        lines.append(f"| {one.suite.name} | {one.passed} | {one.total} | {one.lacking} | {one.seconds:.0f} |")
    first_recall = PLACE / "first-recall.txt"
    if first_recall.exists():
        lines += ["", first_recall.read_text(encoding="utf-8").strip()]
    if not only:
        (PLACE / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for one in outcomes:
        if not one.is_well:
            print(f"\n=== {one.suite.name}\n{one.said}")
    print("\n" + "\n".join(lines))
    return 0 if all(one.is_well for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
