#!/usr/bin/env python3
"""From what is said to memories, by a running box without a language model.

  memories.py topics DIR URL [--meetings FILE] [--out FILE]   where topics are cut, held against where they were cut by people
  memories.py remember DIR URL [--out FILE]                   what memories of conversations cost, and what of the evidence is recalled by them

DIR holds conversations as LoCoMo writes them, FILE meetings with their topics as QMSum does. `topics` takes each conversation's sessions as one, without
their times, and counts its cuts within one turn of a boundary (F1) and Pk (Beeferman et al., 1999; the window is half a topic's mean length; less is
better). Every rule works through `POST /v1/memories`, buffer by buffer, as it does for users. Standard library only.
"""
import argparse, json, re, time
from sessions import Box, conversations, percentile, words

RULES = ["depth", "lightmem", "cosine"]
EVERY = [10, 20, 50, 100]
RATES = [1.0, 0.8, 0.7, 0.6, 0.4]
BUDGETS = [350, 750, 2000]


def pk(turns, boundaries, cuts):
    k = max(1, round(turns / (len(boundaries) + 1) / 2))
    segments = lambda places: [sum(1 for p in places if p <= i) for i in range(turns)]
    a, b = segments(boundaries), segments(cuts)
    wrong = [(a[i] == a[i + k]) != (b[i] == b[i + k]) for i in range(turns - k)]
    return sum(wrong) / max(1, len(wrong))


def near(boundaries, cuts):
    left, found = set(boundaries), 0
    for cut in sorted(cuts):
        close = [b for b in left if abs(b - cut) <= 1]
        if close:
            left.discard(min(close, key=lambda b: abs(b - cut)))
            found += 1
    return found


def documents(a):
    for name, sessions, _ in conversations(a.dir):
        texts, boundaries = [], []
        for _, messages in sessions:
            boundaries += [len(texts)] if texts else []
            texts += [m["content"].split(": ", 1)[1] for m in messages]
        yield "joined sessions", texts, boundaries
    for line in open(a.meetings, encoding="utf-8") if a.meetings else []:
        meeting = json.loads(line)
        texts = [turn["content"] for turn in meeting["meeting_transcripts"]]
        starts = {int(span[0]) for topic in meeting["topic_list"] for span in topic["relevant_text_span"]}
        yield "meetings", texts, sorted(s for s in starts if 0 < s < len(texts))


def cuts_of(box, rule, number, texts):
    collection, session = f"cut-{rule}", f"{rule}-{number}"
    settings = {"cut": rule, "gap_s": 0, "rate": 1.0}
    box.call("PUT", f"/v1/collections/{collection}", {"memories": settings})
    cuts = []
    for first in range(0, len(texts), 50):
        messages = [{"content": text or "."} for text in texts[first:first + 50]]
        body = {"session": session, "collection": collection, "messages": messages, "force": first + 50 >= len(texts)}
        cuts += [topic["from"] for topic in box.call("POST", "/v1/memories", body)["topics"]]
    return [cut for cut in cuts if cut > 0]


def topics(a):
    box, totals = Box(a.url), {}

    def count(kind, rule, texts, boundaries, cuts):
        t = totals.setdefault((kind, rule), {"found": 0, "cuts": 0, "boundaries": 0, "pk": []})
        t["found"] += near(boundaries, cuts)
        t["cuts"] += len(cuts)
        t["boundaries"] += len(boundaries)
        t["pk"].append(pk(len(texts), boundaries, cuts))

    for number, (kind, texts, boundaries) in enumerate(documents(a)):
        for n in EVERY:
            count(kind, f"every {n} turns", texts, boundaries, list(range(n, len(texts), n)))
        for rule in RULES:
            count(kind, rule, texts, boundaries, cuts_of(box, rule, number, texts))
        whole = box.call("POST", "/v1/topics", {"texts": texts, "cut": "depth"})["cuts"]
        count(kind, "depth, the whole at once", texts, boundaries, [cut["at"] for cut in whole])
    out = open(a.out, "a") if a.out else None
    print("| what | rule | cuts (boundaries) | F1 within a turn | Pk |\n|---|---|---|---|---|")
    for (kind, rule), t in sorted(totals.items()):
        row = {"kind": kind, "rule": rule, "cuts": t["cuts"], "boundaries": t["boundaries"],
               "f1": 2 * t["found"] / max(1, t["cuts"] + t["boundaries"]), "pk": sum(t["pk"]) / len(t["pk"])}
        print(f"| {kind} | {rule} | {row['cuts']} ({row['boundaries']}) | {row['f1']:.3f} | {row['pk']:.3f} |", flush=True)
        if out:
            out.write(json.dumps({"measure": "topics"} | row) + "\n")


def tokens(box, texts):
    return sum(box.call("POST", "/v1/tokens", {"input": texts[i:i + 500]})["total"] for i in range(0, len(texts), 500))


def remember(a):
    box, out = Box(a.url), open(a.out, "a") if a.out else None
    print("| memories | tokens kept | ms a message | memories | evidence recall@10 | " + " | ".join(f"evidence, words within {b}" for b in BUDGETS) + " |")
    print("|---" * (5 + len(BUDGETS)) + "|")
    # Each session by one call, and as it is said.
    for rate, messages_a_call in [("turns", None)] + [(rate, None) for rate in RATES] + [(0.8, 2)]:
        said = kept = count = found = wanted_all = 0
        times, inside = [], {budget: [0, [], []] for budget in BUDGETS}
        for user, sessions, questions in conversations(a.dir):
            name = f"{user}-{rate}-{messages_a_call or 'all'}"
            box.call("PUT", f"/v1/collections/{name}", {"memories": {"rate": 1.0 if rate == "turns" else rate}})
            for key, messages in sessions:
                stamp = messages[0]["created_at"]
                given = [{"id": m["id"], "role": "user", "name": m["name"], "content": m["content"].split(": ", 1)[1]} for m in messages]
                begun = time.perf_counter()
                if rate == "turns":
                    records = [{"id": m["id"], "text": m["content"], "session": key, "created_at": m["created_at"]} for m in messages]
                    box.call("POST", f"/v1/collections/{name}/records", {"records": records})
                    texts = []
                else:
                    size, texts = messages_a_call or len(given), []
                    for first in range(0, len(given), size):
                        body = {"session": f"{name}-{key}", "collection": name, "messages": given[first:first + size], "time_stamp": stamp,
                                "force": first + size >= len(given)}
                        texts += [m["text"] for m in box.call("POST", "/v1/memories", body)["memories"]]
                times.append((time.perf_counter() - begun) / len(messages))
                said += tokens(box, [m["content"] for m in messages])
                kept += tokens(box, texts) if texts else 0
                count += len(texts)
            known = {m["id"] for _, messages in sessions for m in messages}
            made = {} if rate == "turns" else {"filter": {"field": "metadata.sources", "exists": True}}
            for q in questions:
                wanted = {e for text in q.get("evidence", []) for e in re.findall(r"D\d+:\d+", text)} & known
                if not wanted or q.get("category") == 5:
                    continue
                wanted_all += len(wanted)
                answer = words(q.get("answer", ""))
                sources = lambda hit: {hit["id"]} if rate == "turns" else set(hit["metadata"]["sources"])
                ask = lambda more: box.call("POST", f"/v1/collections/{name}/recall", {"query": q["question"], "include": ["text", "metadata"]} | made | more)
                found += len(wanted & set().union(*(sources(hit) for hit in ask({"k": 10})["hits"])))
                for budget in BUDGETS:
                    answered = ask({"k": 100, "budget": {"tokens": budget}})
                    dropped = set(answered["context"]["dropped"])
                    held = set().union(*(sources(hit) for hit in answered["hits"] if hit["id"] not in dropped), set())
                    inside[budget][0] += len(wanted & held)
                    inside[budget][1] += [len(answer & words(answered["context"]["text"])) / len(answer)] if answer else []
                    inside[budget][2].append(answered["context"]["tokens"])
        mean = lambda xs: sum(xs) / max(1, len(xs))
        row = {"rate": rate, "messages_a_call": messages_a_call, "kept": kept / said if rate != "turns" else 1.0, "ms_a_message": mean(times) * 1e3, "memories": count, "recall_at_10": found / wanted_all,
               "within": {b: {"evidence": f / wanted_all, "words": mean(w), "tokens": mean(t)} for b, (f, w, t) in inside.items()}}
        cells = " | ".join(f"{row['within'][b]['evidence']:.3f}, {row['within'][b]['words']:.3f}" for b in BUDGETS)
        what = "plain turns" if rate == "turns" else f"rate {rate}" + (f", {messages_a_call} messages a call" if messages_a_call else "")
        print(f"| {what} | {row['kept']:.2f} | {row['ms_a_message']:.1f} | {count or '-'} | {row['recall_at_10']:.3f} | {cells} |", flush=True)
        if out:
            out.write(json.dumps({"measure": "remember"} | row) + "\n")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(dest="command", required=True)
for name in ["topics", "remember"]:
    command = commands.add_parser(name)
    command.add_argument("dir")
    command.add_argument("url")
    command.add_argument("--out")
    if name == "topics":
        command.add_argument("--meetings")
a = parser.parse_args()
{"topics": topics, "remember": remember}[a.command](a)
