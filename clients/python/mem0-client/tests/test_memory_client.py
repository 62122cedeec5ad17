"""Every call of docs/clients.md#mem0, by mem0ai's own `MemoryClient` and `AsyncMemoryClient` as they are."""

import asyncio
from typing import Any

import pytest
from mem0 import AsyncMemoryClient, MemoryClient
from mem0.exceptions import MemoryError, MemoryNotFoundError, ValidationError

FOOD = [
    {"role": "user", "content": "I'm Alex. I am vegetarian and allergic to nuts."},
    {"role": "assistant", "content": "Noted: no meat and no nuts."},
]


def said(client: MemoryClient, text: str, user: str, **more: Any) -> str:
    """Keeps a text as it is, and says its id."""
    [made] = client.add(text, user_id=user, infer=False, **more)["results"]
    assert made["event"] == "ADD"
    assert made["memory"] == text
    return str(made["id"])


def texts(answer: dict[str, Any]) -> list[str]:
    """What memories say."""
    return [one["memory"] for one in answer["results"]]


# add


def test_add_infers_memories(client: MemoryClient, user: str) -> None:
    made = client.add(FOOD, user_id=user)["results"]
    assert made
    assert all({"id", "memory", "event"} <= one.keys() for one in made)
    assert "vegetarian" in " ".join(one["memory"] for one in made)
    assert {one["id"] for one in client.get_all(filters={"user_id": user})["results"]} == {one["id"] for one in made}


def test_add_without_infer_keeps_each_message(client: MemoryClient, user: str) -> None:
    made = client.add(FOOD, user_id=user, infer=False)["results"]
    assert [one["memory"] for one in made] == [one["content"] for one in FOOD]


@pytest.mark.parametrize("message", ["The key is under the pot.", {"role": "user", "content": "The key is lost."}])
def test_add_takes_a_text_or_a_message(client: MemoryClient, user: str, message: Any) -> None:
    [made] = client.add(message, user_id=user, infer=False)["results"]
    assert made["memory"] == (message if isinstance(message, str) else message["content"])


def test_add_keeps_metadata_and_owners(client: MemoryClient, user: str) -> None:
    owners = {"agent_id": f"a-{user}", "app_id": f"p-{user}", "run_id": f"r-{user}"}
    one = said(client, "The spare key is under the pot.", user, metadata={"topic": "house", "n": 1}, **owners)
    got = client.get(one)
    assert got["metadata"] == {"topic": "house", "n": 1}
    assert {"user_id": user, **owners}.items() <= got.items()
    for name, value in owners.items():
        assert [found["id"] for found in client.get_all(filters={name: value})["results"]] == [one]


def test_add_takes_times(client: MemoryClient, user: str) -> None:
    one = said(client, "The flat is let.", user, timestamp=1_700_000_000, expiration_date="2999-01-01")
    got = client.get(one)
    assert got["created_at"].startswith("2023-11-14T")
    assert got["expiration_date"].startswith("2999-01-01")


@pytest.mark.parametrize("option", ["custom_instructions", "custom_categories", "structured_data_schema"])
def test_add_refuses_what_wants_a_model_of_mem0s_own(client: MemoryClient, user: str, option: str) -> None:
    value: Any = {"custom_instructions": "Only food.", "custom_categories": [{"food": "what is eaten"}]}
    with pytest.raises(MemoryError, match=option):
        client.add("I eat rice.", user_id=user, **{option: value.get(option, {"type": "object"})})


def test_add_wants_an_owner(client: MemoryClient) -> None:
    with pytest.raises(MemoryError):
        client.add("Nobody's.", infer=False)


# search


@pytest.fixture
def house(client: MemoryClient, user: str) -> dict[str, str]:
    """Three memories of a user, by their topics."""
    return {
        topic: said(client, text, user, metadata={"topic": topic, "n": number, "tags": ["all", topic]})
        for number, (topic, text) in enumerate(
            {
                "keys": "The spare key is under the blue pot.",
                "food": "Alex eats no meat and no nuts.",
                "cat": "The cat Tinka sleeps in the attic.",
            }.items()
        )
    }


def test_search_finds_the_best_first(client: MemoryClient, user: str, house: dict[str, str]) -> None:
    found = client.search("where is the spare key?", filters={"user_id": user})["results"]
    assert found[0]["id"] == house["keys"]
    assert found[0]["metadata"]["topic"] == "keys"
    assert 0 <= found[-1]["score"] <= found[0]["score"] <= 1
    best = found[0]["score"]
    found = client.search("where is the spare key?", filters={"user_id": user}, threshold=best)["results"]
    assert [one["id"] for one in found] == [house["keys"]]
    found = client.search("where is the spare key?", filters={"user_id": user}, threshold=0.0, top_k=2)["results"]
    assert len(found) <= 2


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"metadata": {"topic": "keys"}}, {"keys"}),
    ({"AND": [{"metadata": {"topic": "keys"}}]}, {"keys"}),
    ({"OR": [{"metadata": {"topic": "keys"}}, {"metadata": {"topic": "cat"}}]}, {"keys", "cat"}),
    ({"NOT": [{"metadata": {"topic": "keys"}}]}, {"food", "cat"}),
    ({"AND": [{"NOT": [{"metadata": {"topic": "keys"}}]}, {"metadata": {"n": {"lt": 2}}}]}, {"food"}),
    ({"metadata": {"topic": {"eq": "keys"}}}, {"keys"}),
    ({"metadata": {"topic": {"ne": "keys"}}}, {"food", "cat"}),
    ({"metadata": {"topic": {"in": ["keys", "cat"]}}}, {"keys", "cat"}),
    ({"metadata": {"topic": {"nin": ["keys", "cat"]}}}, {"food"}),
    ({"metadata": {"n": {"gt": 0}}}, {"food", "cat"}),
    ({"metadata": {"n": {"gte": 1, "lte": 1}}}, {"food"}),
    ({"metadata": {"topic": {"contains": "oo"}}}, {"food"}),
    ({"metadata": {"topic": {"icontains": "OO"}}}, {"food"}),
    ({"metadata": {"topic": {"icontains": ""}}}, {"keys", "food", "cat"}),
    ({"created_at": {"gte": "2020-01-01T00:00:00Z"}}, {"keys", "food", "cat"}),
    ({"created_at": {"lt": "2020-01-01T00:00:00Z"}}, set()),
    ({"user_id": "*"}, {"keys", "food", "cat"}),
    ({"agent_id": "nobody"}, set()),
]


@pytest.mark.parametrize(("filters", "wanted"), FILTERS, ids=[str(one) for one, _ in FILTERS])
def test_filters(
    client: MemoryClient, user: str, house: dict[str, str], filters: dict[str, Any], wanted: set[str]
) -> None:
    mine = {"AND": [{"user_id": user}, filters]}
    listed = client.get_all(filters=mine)["results"]
    assert {one["id"] for one in listed} == {house[topic] for topic in wanted}
    found = client.search("key, meat, cat", filters=mine, threshold=0.0, top_k=100)["results"]
    assert {one["id"] for one in found} == {house[topic] for topic in wanted}


LACKING: list[tuple[str, dict[str, Any]]] = [
    ("memories are not filtered by updated_at", {"updated_at": {"gte": "2020-01-01T00:00:00Z"}}),
    ("memories are not filtered by keywords", {"keywords": {"contains": "e"}}),
]
"""Filters of mem0's documents that all memories match, and what a box does with them."""


@pytest.mark.parametrize(
    "filters", [pytest.param(one, marks=pytest.mark.xfail(strict=True, reason=why)) for why, one in LACKING], ids=str
)
def test_filters_that_are_lacking(
    client: MemoryClient, user: str, house: dict[str, str], filters: dict[str, Any]
) -> None:
    assert client.get_all(filters={"AND": [{"user_id": user}, filters]})["count"] == 3


def test_days_and_lists_of_ids_are_filters(client: MemoryClient, user: str, house: dict[str, str]) -> None:
    for filters in ({"created_at": {"gte": "2020-01-01"}}, {"memory_ids": list(house.values())}):
        assert client.get_all(filters={"AND": [{"user_id": user}, filters]})["count"] == 3


def test_an_operator_that_is_none_is_refused(client: MemoryClient, user: str) -> None:
    with pytest.raises(MemoryError):
        client.search("key", filters={"AND": [{"user_id": user}, {"metadata": {"n": {"near": 1}}}]})


# get_all


def test_get_all_has_pages(client: MemoryClient, user: str) -> None:
    for number in range(5):
        said(client, f"This is fact number {number}.", user)
    mine = {"user_id": user}
    everything = client.get_all(filters=mine)
    assert everything["count"] == 5
    assert texts(everything) == [f"This is fact number {number}." for number in (4, 3, 2, 1, 0)]
    pages = [client.get_all(filters=mine, page=page, page_size=2) for page in (1, 2, 3)]
    assert [text for page in pages for text in texts(page)] == texts(everything)
    assert [bool(page["next"]) for page in pages] == [True, True, False]
    assert [bool(page["previous"]) for page in pages] == [False, True, True]


# One memory.


def test_get_update_history_delete(client: MemoryClient, user: str) -> None:
    one = said(client, "Alex is vegetarian.", user, metadata={"topic": "food"})
    before = client.get(one)
    client.update(one, text="Alex is vegan.", metadata={"topic": "diet"})
    after = client.get(one)
    assert (after["memory"], after["metadata"]["topic"]) == ("Alex is vegan.", "diet")
    assert after["created_at"] == before["created_at"]
    assert after["updated_at"].rstrip("Z") > before["updated_at"].rstrip("Z")
    assert client.search("is Alex vegan?", filters={"user_id": user})["results"][0]["memory"] == "Alex is vegan."
    first, second = client.history(one)
    assert (first["event"], first["old_memory"], first["new_memory"]) == ("ADD", None, "Alex is vegetarian.")
    assert (second["event"], second["old_memory"], second["new_memory"]) == (
        "UPDATE",
        "Alex is vegetarian.",
        "Alex is vegan.",
    )
    assert client.delete(one)["message"]
    with pytest.raises(MemoryNotFoundError):
        client.get(one)


@pytest.mark.parametrize("call", ["get", "update", "delete", "history"])
def test_a_memory_that_is_not_there(client: MemoryClient, call: str) -> None:
    more = {"text": "x"} if call == "update" else {}
    with pytest.raises(MemoryNotFoundError):
        getattr(client, call)("not-there", **more)


def test_feedback_changes_importance(client: MemoryClient, user: str) -> None:
    one = said(client, "The pin is 1234.", user)
    for feedback in ("POSITIVE", "NEGATIVE", "VERY_NEGATIVE"):
        assert client.feedback(memory_id=one, feedback=feedback, feedback_reason="why not")["id"] == one


# Several.


def test_batches(client: MemoryClient, user: str) -> None:
    ids = [said(client, text, user) for text in ("One is odd.", "Two is even.")]
    client.batch_update([{"memory_id": ids[0], "text": "Three is odd."}, {"memory_id": ids[1], "metadata": {"n": 2}}])
    assert client.get(ids[0])["memory"] == "Three is odd."
    assert client.get(ids[1])["metadata"] == {"n": 2}
    client.batch_delete([{"memory_id": one} for one in ids])
    assert client.get_all(filters={"user_id": user})["results"] == []


def test_delete_all_is_of_one_owner(client: MemoryClient, user: str) -> None:
    said(client, "Mine.", user)
    kept = said(client, "Its run's.", user, run_id=f"run-{user}")
    client.delete_all(user_id=f"{user}-other")
    client.delete_all(user_id=user, run_id="another")
    assert len(client.get_all(filters={"user_id": user})["results"]) == 2
    client.delete_all(run_id=f"run-{user}")
    assert kept not in {one["id"] for one in client.get_all(filters={"user_id": user})["results"]}
    client.delete_all(user_id=user)
    assert client.get_all(filters={"user_id": user})["count"] == 0


def test_delete_all_wants_an_owner(client: MemoryClient) -> None:
    with pytest.raises(MemoryError):
        client.delete_all()


def test_users_and_their_end(client: MemoryClient, user: str) -> None:
    said(client, "Mine.", user, agent_id=f"agent-{user}")
    entities = {(one["type"], one["name"]) for one in client.users()["results"]}
    assert {("user", user), ("agent", f"agent-{user}")} <= entities
    client.delete_users(user_id=user)
    entities = {(one["type"], one["name"]) for one in client.users()["results"]}
    assert ("user", user) not in entities
    assert ("agent", f"agent-{user}") not in entities


def test_get_profile(client: MemoryClient, user: str, house: dict[str, str]) -> None:
    assert house
    assert client.get_profile(user)["user"] == user


def test_exports(client: MemoryClient, user: str, house: dict[str, str]) -> None:
    filters = {"AND": [{"user_id": user}]}
    made = client.create_memory_export(schema="{}", filters=filters)
    for asked in ({"memory_export_id": made["id"]}, {"filters": filters}):
        got = client.get_memory_export(**asked)
        assert {one["id"] for one in got["results"]} == set(house.values())
    with pytest.raises(MemoryError, match="schema"):
        client.create_memory_export(schema='{"properties": {"name": {"type": "string"}}}', filters=filters)


def test_get_summary(client: MemoryClient, user: str, house: dict[str, str]) -> None:
    assert house
    summary = client.get_summary(filters={"user_id": user})["summary"]
    assert "blue pot" in summary
    assert len(summary.splitlines()) == 3


def test_fields_that_are_not_known_are_passed_over(client: MemoryClient, user: str) -> None:
    said(client, "Mine.", user, output_format="v1.1", version="v2", enable_graph=False, async_mode=False)
    assert client.search("mine", filters={"user_id": user}, rerank=True, keyword_search=True)["results"]


def test_a_body_that_is_wrong_is_refused_by_its_field(client: MemoryClient, user: str) -> None:
    with pytest.raises((ValidationError, MemoryError), match="page_size"):
        client.get_all(filters={"user_id": user}, page=1, page_size=0)


def test_the_owner_may_stand_in_filters(client: MemoryClient, user: str) -> None:
    made = client.add("Mine.", filters={"user_id": user}, infer=False)["results"]
    assert [one["id"] for one in client.get_all(filters={"user_id": user})["results"]] == [made[0]["id"]]


def test_the_client_that_is_awaited(url: str, user: str) -> None:
    async def everything() -> None:
        async with AsyncMemoryClient(api_key="any", host=url) as client:
            [made] = (await client.add("The key is under the pot.", user_id=user, infer=False))["results"]
            found = await client.search("where is the key?", filters={"user_id": user})
            assert [one["id"] for one in found["results"]] == [made["id"]]
            assert (await client.get(made["id"]))["memory"] == "The key is under the pot."
            await client.update(made["id"], text="The key is lost.")
            assert len(await client.history(made["id"])) == 2
            assert (await client.get_all(filters={"user_id": user}))["count"] == 1
            await client.delete(made["id"])
            await client.delete_all(user_id=user)

    asyncio.run(everything())


def test_a_day_that_is_over_is_refused(client: MemoryClient, user: str) -> None:
    with pytest.raises(MemoryError):
        client.update(said(client, "The pin is 1234.", user), expiration_date="2020-01-01")
    assert client.get_all(filters={"user_id": user})["count"] == 1


def test_reset(client: MemoryClient, user: str) -> None:
    said(client, "Mine.", user, agent_id=f"agent-{user}", run_id=f"run-{user}")
    assert client.reset()["message"]
    assert client.users()["results"] == []
    with pytest.raises(ValueError, match="No entities"):  # as it is with mem0: the client finds nobody
        client.reset()
