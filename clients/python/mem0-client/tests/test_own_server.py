"""The calls of mem0's own server, which have no client but HTTP: https://docs.mem0.ai/open-source/features/rest-api."""

import httpx


def test_its_calls(url: str, user: str) -> None:
    with httpx.Client(base_url=url, headers={"X-API-Key": "any"}) as http:
        said = {"messages": [{"role": "user", "content": "I love fresh vegetable pizza."}], "user_id": user}
        [made] = http.post("/memories", json={**said, "infer": False}).raise_for_status().json()["results"]
        one = f"/memories/{made['id']}"
        assert http.get(one).json()["memory"] == "I love fresh vegetable pizza."
        listed = http.get("/memories", params={"user_id": user, "top_k": 5}).json()["results"]
        assert [found["id"] for found in listed] == [made["id"]]
        asked = {"query": "what do they eat?", "filters": {"user_id": user}, "top_k": 3}
        [found] = http.post("/search", json=asked).json()["results"]
        assert found["score"] > 0
        assert "updated" in http.put(one, json={"text": "I love pasta."}).json()["message"]
        assert [change["event"] for change in http.get(f"{one}/history").json()] == ["ADD", "UPDATE"]
        http.delete(one).raise_for_status()
        assert http.get(one).status_code == 404
        http.delete("/memories", params={"user_id": user}).raise_for_status()
        assert http.post("/memories", json={"messages": []}).json()["detail"]
