"""A client of membox, a memory server for applications of language models.

import membox

client = membox.Client("http://127.0.0.1:8420")
notes = client.collection("notes")
notes.create()
notes.upsert([{"text": "The spare key is under the blue pot."}])
notes.recall("where is the key?", k=3)["hits"]
"""

from membox import describe, errors, types, vectors
from membox._both import Clients
from membox._client import AsyncClient, Client
from membox._collection import AsyncCollection, Collection
from membox._session import AsyncSession, Session
from membox._thread import AsyncThread, Thread
from membox._user import AsyncMemories, AsyncUser, Memories, User
from membox.box import Box
from membox.errors import MemboxError, NotFound, Problem

__version__ = "0.2.0"

__all__ = [
    "AsyncClient",
    "AsyncCollection",
    "AsyncMemories",
    "AsyncSession",
    "AsyncThread",
    "AsyncUser",
    "Box",
    "Client",
    "Clients",
    "Collection",
    "MemboxError",
    "Memories",
    "NotFound",
    "Problem",
    "Session",
    "Thread",
    "User",
    "describe",
    "errors",
    "types",
    "vectors",
]
