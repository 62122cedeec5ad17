"""Writes a small history to an empty box (`fixture.py write URL`), or asks about it (`fixture.py ask URL`) and prints
the requests with their answers. See scripts/fixture.sh.
"""

import base64
import json
import struct
import sys
import time
import urllib.error
import urllib.request
import zlib
from urllib.parse import quote

DIMENSION = 8
FAR = "2999-12-31T23:59:59Z"
# Longer than anybody runs the test: 100 years.
LONG_S = 100 * 365 * 24 * 3600
# UUIDs of version 6, which carry their time.
FIRST, SECOND = "1f0a1b2c-0001-6000-8000-000000000001", "1f0a1b2c-0002-6000-8000-000000000002"
AWAITED = "1f0a1b2c-0003-6000-8000-000000000003"

METADATA = {
    "above_53_bits": 9007199254740993,
    "largest": 18446744073709551615,
    "smallest": -9223372036854775808,
    "decimal": 1.1,
    "small": 2.5e-7,
    "text": "Straße, 東京, 👍",
    "yes": True,
    "nothing": None,
    "numbers": [1, 9007199254740993, 2.5],
    "mixed": ["red", 7, False, None],
    "empty": [],
    "nested": {"deep": {"deeper": [{"name": "a", "n": 1}, {"name": "b", "n": 9007199254740993}]}, "none": None},
}
TEXTS = [
    "The spare key is under the blue pot by the shed.",
    "Lena moved from Hamburg to Bergen in spring.",
    "The car needs new winter tyres before November.",
    "Grandmother's recipe wants two eggs and 250 g of flour.",
    "The dentist is on Tuesday at half past nine.",
    "Owls nest in the old barn, and the children watch them.",
    "我们周五下午去博物馆。",
    "The train to Oslo leaves from platform four.",
]


class Box:
    """A running box."""

    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None):
        """Status, entity tag, content type and bytes of the answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if data else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers["etag"], answer.headers["content-type"], answer.read()

    def do(self, method, path, body=None):
        """The answer to a request that must be done."""
        status, _, _, answer = self.ask(method, path, body)
        assert 200 <= status < 300, (method, path, status, answer)
        return json.loads(answer) if answer else None

    def job(self, path, body=None):
        job = self.do("POST", path, body)
        while job["state"] == "running":
            time.sleep(0.05)
            job = self.do("GET", f"/v1/jobs/{job['id']}")
        assert job["state"] == "done", job


def vector(i):
    """Another one for each number below 257."""
    return [((i * 37 + d * d * 53 + 11) % 257) / 128 - 1 for d in range(DIMENSION)]


def stamp(i):
    return f"2026-03-{1 + i // 24:02}T{i % 24:02}:30:00Z"


def image():
    """A PNG of 3 × 2 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(range(9 * row, 9 * row + 9)) for row in range(2))
    head = struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def recording():
    """A WAV of 8 samples."""
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 8) + bytes(range(8))
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def write_records(box):
    settings = {
        "dimension": DIMENSION,
        "vector_type": "f32",
        "index": {"kind": "hnsw"},
        "kinds": {"semantic": {"importance": 0.7}, "working": {"ttl_s": LONG_S}},
        "synonyms": [["car", "automobile"], ["kids", "children"]],
    }
    box.do("PUT", "/v1/collections/places", settings)
    kinds = [None, "semantic", "working", "episodic"]
    records = [
        {
            "id": f"p{i}",
            "text": f"{TEXTS[i % len(TEXTS)]} Note {i}.",
            "vector": vector(i),
            "metadata": {"n": i, "even": i % 2 == 0, "share": i / 8, "tags": [f"t{i % 3}", f"t{i % 5}"]},
            "created_at": stamp(i),
            "user": ["lena", "otto", "mia"][i % 3],
            "session": f"s{i % 4}",
            **({"kind": kinds[i % 4]} if kinds[i % 4] else {}),
            **({"importance": i / 100} if i % 6 == 0 else {}),
            **({"expires_at": FAR} if i % 7 == 0 else {}),
        }
        for i in range(48)
    ]
    records.append({"id": "every type/of value", "text": "Every type.", "vector": vector(60), "metadata": METADATA})
    neighbour = {"above_53_bits": 9007199254740992, "decimal": 1.2}
    records.append({"id": "neighbour", "text": "Its neighbour.", "vector": vector(61), "metadata": neighbour})
    records.append({"id": "no words", "vector": vector(62), "user": "lena"})
    for i, text in enumerate(["The boat is red.", "the boat is red"]):
        double = {"id": f"double{i}", "text": text, "vector": vector(70), "created_at": stamp(50 + i)}
        records.append(double)
    box.do("POST", "/v1/collections/places/records", {"records": records})

    redaction = {"mode": "full", "kinds": ["email", "phone", "payment_card", "ip_address", "resident_id"]}
    settings = {"dimension": DIMENSION, "metric": "inner_product", "keywords": True, "redaction": redaction}
    box.do("PUT", "/v1/collections/letters", settings)
    said = ["Write to alice@example.com.", "Call +4915112345678 at noon.", "The server is at 192.168.7.7.", "Bergen!"]
    of = {"user": "lena", "metadata": {"from": "bob@example.com"}}
    records = [{"id": f"l{i}", "text": text, "vector": vector(i + 3), **of} for i, text in enumerate(said)]
    box.do("POST", "/v1/collections/letters/records", {"records": records})

    box.do("PUT", "/v1/collections/texts", {})
    records = [{"id": f"t{i}", "text": text, "created_at": stamp(i), "user": "mia"} for i, text in enumerate(TEXTS)]
    box.do("POST", "/v1/collections/texts/records", {"records": records})

    box.do("PUT", "/v1/collections/gone", {"dimension": DIMENSION})
    box.do("POST", "/v1/collections/gone/records", {"records": [{"id": "g", "vector": vector(1)}]})


def say(box, session, messages, **more):
    numbered = [{"id": f"m{i}", "created_at": stamp(i), **message} for i, message in enumerate(messages)]
    box.do("POST", f"/v1/sessions/{session}/messages", {"messages": numbered, **more})


def write_sessions(box):
    about = {"about": "the kitchen", "big": 9007199254740993}
    box.do("PUT", "/v1/sessions/kitchen", {"user": "lena", "max_messages": 10, "metadata": about})
    call = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"in": "shed", "n": 1.0}'}}
    say(box, "kitchen", [
        {"role": "system", "content": "Answer briefly."},
        {"role": "developer", "content": "Use metric units."},
        {"role": "user", "name": "Lena", "content": "Where did I leave the spare key?", "metadata": METADATA},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call-1", "name": "look", "content": "a key under the blue pot"},
        {"role": "assistant", "content": "Under the blue pot by the shed."},
        {"role": "user", "content": [{"type": "text", "text": "Thanks."}, {"type": "text", "text": "And the eggs?"}]},
        {"role": "assistant", "content": "In the cupboard next to the flour."},
        {"role": "user", "type": "image", "content": "The kitchen with its green door.",
         "media": {"data": base64.b64encode(image()).decode()}},
        {"role": "user", "type": "audio", "content": "Remember the tyres of the car.",
         "media": {"data": base64.b64encode(recording()).decode(), "seconds": 1.5, "language": "en"}},
        {"id": "an id / of its own", "role": "user", "content": "When is the dentist?"},
        {"role": "assistant", "content": "On Tuesday at half past nine."},
        {"role": "user", "content": "This one is deleted."},
    ])
    box.do("PATCH", "/v1/sessions/kitchen/messages/m7", {"metadata": {"checked": True, "n": 9007199254740993}})
    box.do("DELETE", "/v1/sessions/kitchen/messages/m12")

    box.do("PUT", "/v1/sessions/garden", {"user": "lena", "max_messages": 3, "evict": "delete", "ttl_s": LONG_S})
    said = ["The roses want water.", "The fence is broken.", "Owls in the barn.", "Rain tomorrow.", "Buy seeds."]
    say(box, "garden", [{"role": "user", "content": text} for text in said])

    say(box, "nobody", [{"role": "user", "content": text} for text in TEXTS[:3]])

    redaction = {"mode": "full"}
    box.do("PUT", "/v1/collections/private", {"redaction": redaction})
    call = {"id": "c", "type": "function", "function": {"name": "mail", "arguments": '{"to": "carl@example.com"}'}}
    say(box, "mail", [
        {"role": "user", "name": "dora@example.com", "content": "My card is 4111 1111 1111 1111.",
         "metadata": {"ip": "10.1.2.3"}},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "sent to carl@example.com"},
    ], user="mia", collection="private")

    roles = ["user", "assistant"]
    long = [{"role": roles[i % 2], "content": f"{TEXTS[i % 6]} That was number {i}."} for i in range(10)]
    say(box, "long", long, user="noor")
    box.do("GET", "/v1/sessions/long/context?strategy=compress&threshold=80&keep_last=3&summary_tokens=60")

    told = [{"id": f"t{i}", "content": text} for i, text in enumerate(TEXTS[:6])]
    body = {"session": "told", "user": "noor", "time_stamp": "2026/05/20 (Wed) 00:44", "messages": told, "force": True}
    assert box.do("POST", "/v1/memories", body)["memories"]

    say(box, "otto-one", [{"role": "user", "content": "Otto likes opals."}], user="otto")
    items = [{"say": "first", "n": 9007199254740993}, ["second", 1.5, None]]
    box.do("POST", "/v1/sessions/kitchen/queue", {"items": items})
    box.do("POST", "/v1/sessions/kitchen/queue:take", {"count": 1, "lease_s": LONG_S})


def write_the_rest(box):
    thread = "/v1/threads/kitchen/checkpoints"
    state = {"step": 1, "big": 9007199254740993, "decimal": 1.1, "list": [None, {"a": []}]}
    box.do("PUT", f"{thread}/{FIRST}", {"state": state, "metadata": {"source": "input"}})
    box.do("PUT", f"{thread}/{SECOND}", {"state": {"step": 2}, "parent": FIRST, "ttl_s": LONG_S})
    for writes in [[["messages", {"say": "hello"}], ["__interrupt__", "wait"]], [["messages", {"say": "again"}]]]:
        box.do("PUT", f"{thread}/{SECOND}/writes/task-1", {"writes": writes})
    box.do("PUT", f"{thread}/{AWAITED}/writes/task-2", {"writes": [["messages", "before its checkpoint"]]})
    box.do("PUT", f"{thread}/by-name?namespace=inner", {"state": ["inner"]})

    box.do("PUT", "/v1/quotas/lena", {"tokens_per_day": 5000, "price_per_1000": 0.125})
    box.do("PUT", "/v1/quotas/*", {"tokens_per_day": 0, "price_per_1000": 0.5})
    for user, tokens in [("lena", 1200), ("lena", -200), ("mia", 70)]:
        box.do("POST", "/v1/usage", {"user": user, "tokens": tokens})

    fields = {"name": "Lena", "city": "Hamburg", "likes": ["owls", 7], "number": 9007199254740993}
    box.do("PATCH", "/v1/users/lena/profile", fields)
    box.do("PATCH", "/v1/users/lena/profile", {"city": "Bergen", "likes": ["owls"]})

    box.job("/v1/users/otto/erase", {})
    box.do("DELETE", "/v1/collections/gone")
    for collection in ["places", "letters", "texts", "user-lena"]:
        box.job(f"/v1/collections/{collection}/rebuild")
    box.job("/v1/collections/places/consolidate", {})

    # After the indexes, so that some rows are dead and others past the watermark.
    changed = [
        {"id": f"p{i}", "text": f"Note {i} is written again: the automobile is blue.", "vector": vector(i + 100),
         "user": "lena", "created_at": stamp(100 + i), "metadata": {"n": i, "again": True}}
        for i in (0, 3, 6, 9)
    ]
    box.do("POST", "/v1/collections/places/records", {"records": changed})
    box.do("PATCH", "/v1/collections/places/records/p12", {"metadata": {"patched": 9007199254740993, "even": None}})
    box.do("PATCH", "/v1/collections/texts/records/t1", {"text": "Lena moved from Bergen to Oslo in autumn."})
    box.do("POST", "/v1/collections/places/records:delete", {"ids": ["p15", "p18"]})
    small = {"and": [{"field": "metadata.n", "gte": 20, "lt": 24}, {"field": "user", "eq": "mia"}]}
    box.do("POST", "/v1/collections/places/records:delete", {"filter": small})
    box.do("DELETE", "/v1/collections/texts/records/t7")


def requests():
    """What is asked: method, path and body. Exports come last, since they note themselves in the audit log."""

    def filtered(collection, condition, **more):
        pairs = "".join(f"&{key}={value}" for key, value in more.items())
        return "GET", f"/v1/collections/{collection}/records?filter={quote(json.dumps(condition))}{pairs}", None

    def recall(collection, **body):
        return "POST", f"/v1/collections/{collection}/recall", body

    def get(path):
        return "GET", f"/v1/{path}", None

    def field(name, **condition):
        return {"field": name, **condition}

    everything = ["text", "metadata", "scores", "vector"]
    yield from [get("usage?from=2026-01-01"), get("usage?from=2026-01-01&user=lena")]
    yield from [get("quotas/lena"), get("quotas/*"), get("quotas/mia")]
    yield from [get("audit"), get("audit?limit=2&cursor=1"), get("tenant"), get("collections")]
    for collection in ["places", "letters", "texts", "private", "user-lena", "gone"]:
        yield get(f"collections/{collection}")
        yield get(f"collections/{collection}/records?limit=100")
    for order in ["newest", "oldest"]:
        yield get(f"collections/places/records?order={order}&limit=5")
    for record in ["p0", "p12", "p15", "every%20type%2Fof%20value", "double1", "double0"]:
        yield get(f"collections/places/records/{record}")

    for question in [0, 7, 30, 100, 106]:
        yield recall("places", vector=vector(question), mode="vector", k=6, include=everything)
    around = {"before": 1, "after": 2}
    yield recall("places", vector=vector(5), mode="vector", k=4, effort={"exact": True}, context=around)
    yield recall("places", vector=vector(5), mode="vector", k=6, rerank={"importance_weight": 0.3, "mmr_lambda": 0.7})
    yield recall("letters", vector=vector(4), mode="vector", k=4, include=everything)
    for words in ["car", "kids", "spare key", "博物馆", "dentist Tuesday", "owl"]:
        yield recall("places", query=words, mode="text", k=5)
    yield recall("letters", query="noon", mode="text")
    again = field("metadata.again", eq=True)
    yield recall("places", query="blue", mode="text", k=5, filter=again, budget={"tokens": 40})
    conditions = [
        field("metadata.above_53_bits", eq=9007199254740993),
        field("metadata.above_53_bits", **{"in": [9007199254740992]}),
        field("metadata.largest", gt=18446744073709551614),
        field("metadata.smallest", lt=-9223372036854775807),
        field("metadata.decimal", gte=1.1, lt=1.15),
        field("metadata.numbers", eq=9007199254740993),
        field("metadata.mixed", eq="red"),
        field("metadata.nothing", exists=True),
        field("metadata.nested.deep.deeper.n", eq=9007199254740993),
        field("metadata.text", eq=METADATA["text"]),
        field("metadata.tags", **{"in": ["t4"]}),
        field("metadata.patched", exists=True),
        field("kind", eq="semantic"),
        field("created_at", lt="2026-03-01T06:00:00Z"),
        field("importance", gte=0.7),
        {"and": [field("user", eq="lena"), {"not": field("kind", **{"in": ["working", "episodic"]})}]},
        {"or": [field("session", eq="s1"), field("metadata.share", gt=5.5)]},
    ]
    for condition in conditions:
        yield filtered("places", condition, limit=50)
        yield recall("places", vector=vector(11), mode="vector", k=50, filter=condition, include=[])
    yield recall("texts", query="Where does Lena live?", k=4)
    yield recall("texts", query="Where does Lena live?", k=1, mode="vector", include=["vector", "scores"])
    yield recall("user-lena", query="Where is the key?", k=6)
    yield recall("user-lena", query="door", mode="text", modality="image")
    yield recall("private", query="card", mode="text")

    yield from [get("sessions?limit=3"), get("sessions?user=lena")]
    for session in ["kitchen", "garden", "nobody", "mail", "long", "told", "otto-one"]:
        yield from [get(f"sessions/{session}"), get(f"sessions/{session}/messages?limit=100")]
        yield get(f"sessions/{session}/context?strategy=recall&text=true")
    yield get("sessions/long/context?strategy=compress&threshold=80&keep_last=3&summary_tokens=60")
    for strategy in ["recent", "smart", "window"]:
        yield get(f"sessions/kitchen/context?strategy={strategy}&max_tokens=60")
    yield get("sessions/kitchen/context?strategy=recall&query=key&scope=session&turns=1&max_tokens=120")
    yield from [get("sessions/kitchen/messages?q=eggs"), get("sessions/kitchen/messages?modality=audio&order=newest")]
    for message in ["m0", "m7", "m12", "an%20id%20%2F%20of%20its%20own"]:
        yield get(f"sessions/kitchen/messages/{message}")
    for path in ["m8/media", "m8/media?thumbnail=true", "m9/media"]:
        yield get(f"sessions/kitchen/messages/{path}")
    yield get("sessions/kitchen/queue")

    thread = "threads/kitchen/checkpoints"
    yield from [get(thread), get(f"{thread}?limit=1"), get(f"{thread}?namespace=inner"), get(f"{thread}/latest")]
    yield from [get(f"{thread}/{FIRST}"), get(f"{thread}/{AWAITED}"), get(f"{thread}/by-name?namespace=inner")]
    for user in ["lena", "mia", "noor", "otto"]:
        yield get(f"users/{user}/profile")
    for user in ["lena", "mia", "noor", "otto"]:
        yield get(f"users/{user}/export")


def asked(box, method, path, body):
    status, etag, kind, answer = box.ask(method, path, body)
    if kind == "application/x-ndjson":
        answer = [json.loads(line) for line in answer.decode().splitlines()]
    elif kind.endswith("json"):
        answer = json.loads(answer)
    else:
        answer = base64.b64encode(answer).decode()
    request = {"method": method, "path": path, **({"body": body} if body is not None else {})}
    return {**request, "status": status, **({"etag": etag} if etag else {}), "answer": answer}


def main():
    task, url = sys.argv[1:]
    box = Box(url)
    if task == "write":
        write_records(box)
        write_sessions(box)
        write_the_rest(box)
    else:
        lines = [json.dumps(asked(box, *request), ensure_ascii=False) for request in requests()]
        print("[\n" + ",\n".join(lines) + "\n]")


main()
