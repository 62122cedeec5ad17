"""Uses the client that openapi-generator has made for Python: `python use_python.py http://127.0.0.1:8420 NAME`.

Fails where an answer is not what the document says.
"""

import sys

from membox_generated import ApiClient, Configuration
from membox_generated.api import (
    CollectionsApi,
    EnginesApi,
    OperationsApi,
    RecallApi,
    RecordsApi,
    SessionsApi,
    ThreadsApi,
    UsersApi,
)
from membox_generated.exceptions import ApiException, NotFoundException
from membox_generated.models import (
    AppendRequest,
    CollectionSettings,
    EmbeddingsRequest,
    NewCheckpoint,
    NewRecord,
    RecallRequest,
    RecordPatch,
    TaskWrites,
    UpsertRequest,
)

url, name = sys.argv[1:]
KEY = "The spare key is under the blue pot."

with ApiClient(Configuration(host=url)) as client:
    assert OperationsApi(client).operations_ready().status == "ready"
    collections, records, recall = CollectionsApi(client), RecordsApi(client), RecallApi(client)
    made = collections.collections_create(name, CollectionSettings())
    assert made.settings.model, made
    assert name in [one.name for one in collections.collections_list().collections]

    embedded = EnginesApi(client).engines_embeddings(EmbeddingsRequest.from_dict({"input": KEY}))
    key = {"id": "key", "text": KEY, "metadata": {"topic": "house", "pots": [1, {"blue": True}]}, "importance": 0.5}
    own = {"id": "own", "text": "Lena moved to Bergen.", "vector": embedded.data[0].embedding.actual_instance}
    request = UpsertRequest(records=[NewRecord.from_dict(key), NewRecord.from_dict(own)])
    assert [one.version for one in records.records_upsert(name, request).records] == [1, 1]
    got = records.records_get(name, "key")
    assert (got.text, got.metadata, got.importance) == (KEY, key["metadata"], 0.5), got
    patched = records.records_patch(name, "key", RecordPatch(importance=None, metadata={"topic": "garden"}))
    assert patched.metadata["topic"] == "garden", patched
    assert [one.id for one in records.records_page(name, limit=2).records] == ["key", "own"]

    answer = recall.recall_recall(name, RecallRequest.from_dict({"query": "Where is the key?", "k": 1}))
    assert [(one.id, one.text) for one in answer.hits] == [("key", KEY)], answer
    assert 0 < answer.hits[0].relevance <= 1

    threads = ThreadsApi(client)
    threads.threads_put_writes(name, "c1", "task", TaskWrites(writes=[["channel", {"n": 1}]]))
    threads.threads_put(name, "c1", NewCheckpoint(state={"step": 1}, metadata={"n": 1}))
    kept = threads.threads_get(name, "c1")
    assert (kept.state, kept.writes) == ({"step": 1}, {"task": [["channel", {"n": 1}]]}), kept

    sessions = SessionsApi(client)
    said = {"user": name, "messages": [{"role": "user", "content": KEY}]}
    sessions.sessions_append(name, AppendRequest.from_dict(said))
    assert [one.content for one in sessions.sessions_messages(name).messages] == [KEY]
    # It reads no lines of JSON; without a type they come as they are.
    assert KEY in UsersApi(client).users_export_without_preload_content(name).data.decode()

    try:
        records.records_upsert(name, UpsertRequest.from_dict({"records": [{"text": "x", "vector": [1.0]}]}))
    except ApiException as error:
        assert (error.status, "/records/0/vector" in error.body) == (400, True), error
    else:
        raise AssertionError("a vector of one number was taken")
    threads.threads_delete(name)
    collections.collections_remove(name)
    try:
        collections.collections_describe(name)
    except NotFoundException:
        print("openapi-generator, python: well")
    else:
        raise AssertionError("the collection is still there")
