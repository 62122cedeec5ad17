"""Runs the Agents SDK's own tests of sessions with ours in the place of SQLite's:

    python tests/frameworks/upstream_openai_agents.py FOLDER [options of pytest]

FOLDER is what the source package of openai-agents unpacks to. Tests that look into SQLite's database or its threads
are left out, each with the reason.
"""

import os
import sys
import uuid
from typing import Any

import agents
import agents.memory
import pytest
from membox.openai_agents import MemboxSession

OWN = {
    "worker_thread": "connections of SQLite's, one a thread",
    "retired_connections": "connections of SQLite's, one a thread",
    "quarantined_connection": "connections of SQLite's, one a thread",
    "evicts_connection": "connections of SQLite's, one a thread",
    "post_commit_cancellation": "connections of SQLite's, one a thread",
    "file_lock": "locks of SQLite's files",
    "closed_rejects": "a session of a box has nothing to be closed",
    "corrupt": "it writes into SQLite's tables",
    "releases_write_lock": "it drops SQLite's tables",
    "rolls_back": "it drops SQLite's tables",
}
RUN = uuid.uuid4().hex[:8]


class Session(MemboxSession):
    """A session of its own for each database."""

    def __init__(self, session_id: str, db_path: Any = ":memory:", *_: Any, session_settings: Any = None) -> None:
        place = uuid.uuid4().hex if str(db_path) == ":memory:" else str(db_path).replace("/", ":")
        super().__init__(f"{RUN}{place}|{session_id}", session_settings=session_settings)
        self.session_id = session_id

    def close(self) -> None:
        """SQLite's is closed."""


if __name__ == "__main__":
    agents.SQLiteSession = agents.memory.SQLiteSession = Session  # type: ignore[misc,assignment]
    os.chdir(sys.argv[1])
    sys.path.insert(0, os.getcwd())
    tests = ["tests/memory/test_session.py", "tests/memory/test_session_limit.py"]
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "-o",
        "asyncio_mode=auto",
        "-k",
        f"not ({' or '.join(OWN)})",
    ]
    sys.exit(pytest.main([*options, *tests, *sys.argv[2:]]))
