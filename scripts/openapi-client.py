"""Uses the client that scripts/openapi-client.sh has generated against a running box.

Fails where an answer is not what the document says.
"""

import sys

from membox_client import AuthenticatedClient, models
from membox_client.api.collections import collections_create, collections_list
from membox_client.api.engines import engines_compress, engines_embeddings, engines_tokenize
from membox_client.api.memories import memories_add
from membox_client.api.operations import operations_ready
from membox_client.api.recall import recall_recall
from membox_client.api.records import records_get, records_page, records_patch, records_upsert
from membox_client.api.sessions import (
    sessions_append,
    sessions_context,
    sessions_get,
    sessions_messages,
    sessions_push,
    sessions_take,
)
from membox_client.api.threads import threads_get, threads_put, threads_put_writes
from membox_client.api.users import users_export

# A box without keys takes any.
client = AuthenticatedClient(base_url=sys.argv[1], token="any")
name = "openapi-client"
assert operations_ready.sync(client=client).status == "ready"

collection = collections_create.sync(name, client=client, body=models.CollectionSettings())
assert isinstance(collection, models.CollectionView) and collection.settings.model, collection
assert name in [view.name for view in collections_list.sync(client=client).collections]

metadata = models.NewRecordMetadata.from_dict({"topic": "house", "pots": [1, {"blue": True}], "none": None})
key = models.NewRecord(id="key", text="The spare key is under the blue pot.", metadata=metadata, importance=0.5)
vector = engines_embeddings.sync(client=client, body=models.EmbeddingsRequest(input_="Lena moved to Bergen."))
numbers = models.NewRecord(id="numbers", text="Lena moved to Bergen.", vector=vector.data[0].embedding)
encoded = models.EmbeddingsRequest(input_=["Owls eat mice."], encoding_format=models.EncodingFormat.BASE64)
base64 = engines_embeddings.sync(client=client, body=encoded).data[0].embedding
assert isinstance(base64, str), base64
texts = [key, numbers, models.NewRecord(id="base64", text="Owls eat mice.", vector=base64)]
written = records_upsert.sync(name, client=client, body=models.UpsertRequest(records=texts))
assert [record.version for record in written.records] == [1, 1, 1], written

record = records_get.sync(name, "key", client=client)
assert record.metadata["pots"] == [1, {"blue": True}] and record.importance == 0.5, record
patch = models.RecordPatch(importance=None, expires_at="9999-12-31T23:59:59Z")
patched = records_patch.sync_detailed(name, "key", client=client, body=patch, if_match='W/"1"')
assert patched.headers["etag"] == '"2"' and patched.parsed.expires_at == "9999-12-31T23:59:59Z", patched
refused = records_patch.sync_detailed(name, "key", client=client, body=patch, if_match='"1"')
assert refused.status_code == 412 and isinstance(refused.parsed, models.Problem), refused
assert len(records_page.sync(name, client=client, limit=2).records) == 2

found = recall_recall.sync(name, client=client, body=models.RecallRequest(query="Where is the key?", k=3))
assert found.hits[0].id == "key" and found.hits[0].scores.vector > 0, found
by_vector = models.RecallRequest(vector=base64, mode=models.RecallMode.VECTOR, k=1)
assert recall_recall.sync(name, client=client, body=by_vector).hits[0].id == "base64"

said = [
    models.NewMessage(role=models.Role.USER, content="Where did I put the spare key?"),
    models.NewMessage(role=models.Role.ASSISTANT, content="Under the blue pot."),
]
appended = sessions_append.sync(name, client=client, body=models.AppendRequest(messages=said, user="lena"))
assert len(appended.messages) == 2, appended
assert sessions_get.sync(name, client=client).messages == 2
assert [message.role for message in sessions_messages.sync(name, client=client).messages] == ["user", "assistant"]
recall = models.Strategy.RECALL
context = sessions_context.sync(name, client=client, max_tokens=100, strategy=recall, scope=models.Scope.SESSION)
assert len(context.messages) == 2 and context.tokens <= 100, context
for payload in ["text", 7, None, [1, "two"], {"input": "And the garage?"}]:
    sessions_push.sync(name, client=client, body=models.PushRequest(items=[payload]))
    taken = sessions_take.sync(name, client=client, body=models.TakeRequest())
    assert taken.items[0].payload == payload, (payload, taken)

for state in [{"step": 3}, [1, 2], "text", None]:
    checkpoint = threads_put.sync(name, "one", client=client, body=models.NewCheckpoint(state=state))
    assert checkpoint.state == state, checkpoint
threads_put_writes.sync_detailed(name, "one", "task", client=client, body=models.TaskWrites(writes=[["messages", "x"]]))
assert threads_get.sync(name, "latest", client=client).writes["task"] == [["messages", "x"]]

tokens = engines_tokenize.sync(client=client, body=models.TokenizeRequest(inputs="Owls"))
assert tokens[0][0].special and tokens[0][0].id == 101, tokens
compression = models.CompressRequest(context="Well, you know, I was saying that Lena moved to Bergen in May.", rate=0.5)
compressed = engines_compress.sync(client=client, body=compression)
assert not isinstance(compressed, models.Problem), compressed
assert compressed.compressed_tokens < compressed.origin_tokens, compressed
message = models.MemoryMessage(content="I moved to Bergen last week.")
memories = models.AddMemories(session="memories", user="lena", messages=[message], force=True)
added = memories_add.sync(client=client, body=memories, explain=True)
assert added.memories and added.llm is not None, added
assert '"type":"end"' in users_export.sync("lena", client=client)

missing = recall_recall.sync_detailed("nowhere", client=client, body=models.RecallRequest(query="x"))
assert missing.status_code == 404 and missing.parsed.title == "Not Found", missing
wrong = sessions_messages.sync_detailed(name, client=client, limit=0)
assert wrong.status_code == 400 and wrong.parsed.errors[0].pointer == "/limit", wrong
print("the generated client works")
