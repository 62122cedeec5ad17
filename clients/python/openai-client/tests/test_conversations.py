"""Conversations by OpenAI's own client as it is."""

import pytest
from openai import BadRequestError, NotFoundError, OpenAI


def test_a_conversation_is_made_changed_and_deleted(client: OpenAI) -> None:
    made = client.conversations.create(metadata={"topic": "demo"}, items=[{"role": "user", "content": "Hi."}])
    assert made.object == "conversation"
    assert client.conversations.retrieve(made.id) == made
    changed = client.conversations.update(made.id, metadata={"topic": "other"})
    assert (changed.metadata, changed.created_at) == ({"topic": "other"}, made.created_at)
    deleted = client.conversations.delete(made.id)
    assert (deleted.id, deleted.deleted) == (made.id, True)
    with pytest.raises(NotFoundError):
        client.conversations.retrieve(made.id)


def test_items_are_added_listed_by_pages_and_deleted(client: OpenAI) -> None:
    conversation = client.conversations.create()
    texts = [f"message {number}" for number in range(7)]
    added = client.conversations.items.create(
        conversation.id,
        items=[
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]} for text in texts
        ],
    )
    assert [item.type for item in added.data] == ["message"] * 7
    assert (added.first_id, added.last_id, added.has_more) == (added.data[0].id, added.data[-1].id, False)
    oldest = client.conversations.items.list(conversation.id, order="asc", limit=3)
    assert [item.content[0].text for item in oldest] == texts  # type: ignore[union-attr]
    newest = client.conversations.items.list(conversation.id, limit=2)
    assert [item.id for item in newest.data] == [item.id for item in added.data[:-3:-1]]
    one = client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)
    assert one == added.data[0]
    left = client.conversations.items.delete(one.id or "", conversation_id=conversation.id)
    assert left.id == conversation.id
    with pytest.raises(NotFoundError):
        client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)


def test_calls_and_their_answers_come_back_as_they_were(client: OpenAI) -> None:
    conversation = client.conversations.create()
    call = {"type": "function_call", "call_id": "c", "name": "find", "arguments": '{"n": 1}'}
    answer = {"type": "function_call_output", "call_id": "c", "output": "At the harbour."}
    client.conversations.items.create(conversation.id, items=[call, answer])  # type: ignore[list-item]
    listed = client.conversations.items.list(conversation.id, order="asc").data
    kept = [{name: getattr(item, name) for name in given} for item, given in zip(listed, [call, answer], strict=True)]
    assert kept == [call, answer]


def test_what_is_wrong_is_named(client: OpenAI) -> None:
    conversation = client.conversations.create()
    with pytest.raises(BadRequestError) as refused:
        client.conversations.items.create(conversation.id, items=[{"role": "critic", "content": "x"}])  # type: ignore
    assert refused.value.param == "items[0].role"
