"""Calls that are described and not made, to build steps of them that `Client.run` and `AsyncClient.run` take alike.

from membox import describe

def rename(name: str, old: str, new: str):
    collection = describe.collection(name)
    record = yield from collection.get(old)
    yield from collection.upsert([{"id": new, "text": record["text"], "metadata": record["metadata"]}])
    yield from collection.delete(old)

client.run(rename("notes", "a", "b"))
"""

from membox._client import DescribedClient
from membox._thread import DescribedThread
from membox._wire import Plan, Request, Steps

client = DescribedClient()
collection = client.collection
session = client.session
thread = client.thread
user = client.user
memories = client.memories

__all__ = [
    "DescribedThread",
    "Plan",
    "Request",
    "Steps",
    "client",
    "collection",
    "memories",
    "session",
    "thread",
    "user",
]
