#!/usr/bin/env python3
"""Sessions of a running box, over HTTP.

  sessions.py evidence DIR URL [--out FILE]           what of the evidence is in a context, for each strategy and budget
  sessions.py load URL [--sessions 1000] [--messages 500] [--out FILE]
                                                      messages a second, with and without compression, and how long a context takes

DIR holds conversations as LoCoMo writes them: sessions of turns, and questions with the turns that hold the answer. Each conversation is a user of the
box with a session for each of theirs; the context is that of the last session, with the question as query. Counted are the share of evidence turns and of
the answer's words that are in it. Questions without evidence and those of category 5, which have no answer, are left out. Standard library only.
"""
import argparse, glob, http.client, json, os, re, sys, threading, time, urllib.parse
from datetime import datetime

STRATEGIES = ["recent", "smart", "window", "compress", "recall"]
BUDGETS = [350, 500, 750, 1400, 2000]


class Box:
    """One connection."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=600)

    def call(self, method, path, body=None):
        headers = {"content-type": "application/json"}
        if os.environ.get("MEMBOX_KEY"):
            headers["authorization"] = "Bearer " + os.environ["MEMBOX_KEY"]
        while True:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self.connection.getresponse()
            text = response.read()
            if response.status == 429:
                time.sleep(float(response.headers.get("retry-after", 1)) / 4)
                continue
            if response.status >= 300:
                sys.exit(f"{method} {path}: {response.status} {text.decode(errors='replace')[:300]}")
            return json.loads(text or b"null")


def percentile(times, share):
    return sorted(times)[int((len(times) - 1) * share)] * 1e3


def conversations(folder):
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        d = json.load(open(path, encoding="utf-8"))
        sessions = []
        for key in sorted((k for k in d if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
            if not isinstance(d[key], list):
                continue
            try:
                when = datetime.strptime(d.get(key + "_date_time", "").upper(), "%I:%M %p ON %d %B, %Y").isoformat() + "Z"
            except ValueError:
                when = None
            turns = [t for t in d[key] if "dia_id" in t]
            first = turns[0]["speaker"] if turns else None
            messages = [{"id": t["dia_id"], "role": "user" if t["speaker"] == first else "assistant", "name": t["speaker"], "created_at": when,
                         "content": f"{t['speaker']}: {t.get('clean_text', t.get('text'))}"} for t in turns]
            sessions.append((key, messages))
        yield "locomo-" + os.path.splitext(os.path.basename(path))[0], sessions, d.get("qa", [])


def words(text):
    return set(re.findall(r"\w+", str(text).lower()))


def evidence(a):
    box, totals = Box(a.url), {}
    for user, sessions, questions in conversations(a.dir):
        for key, messages in sessions:
            box.call("PUT", f"/v1/sessions/{user}-{key}", {"user": user, "max_messages": 0})
            box.call("POST", f"/v1/sessions/{user}-{key}/messages", {"messages": messages})
        known = {m["id"] for _, messages in sessions for m in messages}
        last = f"{user}-{sessions[-1][0]}"
        for q in questions:
            wanted = {e for text in q.get("evidence", []) for e in re.findall(r"D\d+:\d+", text)} & known
            if not wanted or q.get("category") == 5:
                continue
            answer = words(q.get("answer", ""))
            for strategy in STRATEGIES:
                for budget in BUDGETS if strategy == "recall" else BUDGETS[-1:]:
                    query = urllib.parse.urlencode({"strategy": strategy, "max_tokens": budget, **({"query": q["question"]} if strategy == "recall" else {})})
                    begun = time.perf_counter()
                    context = box.call("GET", f"/v1/sessions/{last}/context?{query}")
                    taken = time.perf_counter() - begun
                    inside = {m.get("id") for m in context["messages"]}
                    said = words(" ".join(m["content"] for m in context["messages"]))
                    t = totals.setdefault((strategy, budget), {"found": 0, "wanted": 0, "words": [], "tokens": [], "times": []})
                    t["found"] += len(wanted & inside)
                    t["wanted"] += len(wanted)
                    t["words"] += [len(answer & said) / len(answer)] if answer else []
                    t["tokens"].append(context["tokens"])
                    t["times"].append(taken)
    print("| strategy | max_tokens | tokens, mean | evidence turns inside | words of the answer inside | p50, p99 ms |\n|---|---|---|---|---|---|")
    out = open(a.out, "a") if a.out else None
    for (strategy, budget), t in totals.items():
        row = {"strategy": strategy, "max_tokens": budget, "questions": len(t["tokens"]), "tokens": sum(t["tokens"]) / len(t["tokens"]), "evidence": t["found"] / t["wanted"],
               "words": sum(t["words"]) / len(t["words"]), "p50_ms": percentile(t["times"], 0.5), "p99_ms": percentile(t["times"], 0.99)}
        print(f"| {strategy} | {budget} | {row['tokens']:.0f} | {row['evidence']:.3f} | {row['words']:.3f} | {row['p50_ms']:.1f}, {row['p99_ms']:.1f} |", flush=True)
        if out:
            out.write(json.dumps({"measure": "evidence"} | row) + "\n")


def parallel(a, threads, work, items):
    """Runs `work(box, item)` over all items, and gives their times and the time of the whole."""
    items, times, lock = list(items)[::-1], [], threading.Lock()

    def run():
        box = Box(a.url)
        while True:
            with lock:
                if not items:
                    return
                item = items.pop()
            begun = time.perf_counter()
            work(box, item)
            with lock:
                times.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    running = [threading.Thread(target=run) for _ in range(threads)]
    [t.start() for t in running]
    [t.join() for t in running]
    return times, time.perf_counter() - begun


def load(a):
    topics = ["the leaking roof of the greenhouse", "a train to Lisbon in the second week of May", "whether the new contract covers travel", "recipes with fennel and orange",
              "the parser that fails on empty lines", "who looks after the cat in August", "why the invoice of March was paid twice", "a birthday present for my sister"]

    def message(s, i):
        content = f"Message {i} of conversation {s}: let us go on about {topics[(s + i) % len(topics)]}; I remember that we said something about number {s * 31 + i * 17}."
        return {"role": ("user", "assistant")[i % 2], "content": content}
    rows, out = [], open(a.out, "a") if a.out else None

    def note(row):
        rows.append(row)
        print(json.dumps(row), flush=True)
        if out:
            out.write(json.dumps({"measure": "load"} | row) + "\n")

    def fill(box, s):
        box.call("PUT", f"/v1/sessions/load-{s}", {"user": f"load-{s % 50}", "max_messages": 0})
        for first in range(0, a.messages, 50):
            box.call("POST", f"/v1/sessions/load-{s}/messages", {"messages": [message(s, i) for i in range(first, min(first + 50, a.messages))]})
    if not a.filled:
        _, seconds = parallel(a, 8, fill, range(a.sessions))
        note({"what": "messages appended, 50 at a time, 8 writers", "messages": a.sessions * a.messages, "per_second": a.sessions * a.messages / seconds})
    if a.filled:
        return contexts(a, note)
    one = lambda box, i: box.call("POST", f"/v1/sessions/load-{i % a.sessions}/messages", {"messages": [message(i, i)]})
    for threads in (1, 64):
        times, seconds = parallel(a, threads, one, range(200 if threads == 1 else 6400))
        note({"what": f"messages appended, one at a time, {threads} writers", "per_second": len(times) / seconds, "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)})
    box = Box(a.url)
    box.call("PUT", "/v1/collections/load-records", {})
    for compress in (False, True):
        batches = [{"compress": compress, "records": [{"id": f"{compress}{b}-{i}", "text": message(b, i)["content"]} for i in range(50)]} for b in range(100)]
        _, seconds = parallel(a, 8, lambda box, body: box.call("POST", "/v1/collections/load-records/records", body), batches)
        note({"what": f"records written, {'compressed' if compress else 'as they are'}", "per_second": 5000 / seconds})
    contexts(a, note)


def contexts(a, note):
    for strategy in STRATEGIES:
        ask = lambda box, i: box.call("GET", f"/v1/sessions/load-{i * 7919 % a.sessions}/context?strategy={strategy}&max_tokens=4000")
        if strategy == "compress":
            # The first makes the summary, which the others find.
            times, _ = parallel(a, 1, ask, range(100))
            note({"what": "context, compress, the first of each session", "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)})
            ask_known = lambda box, i: ask(box, i % 100)
        else:
            ask_known = ask
        for threads in (1, 8):
            times, seconds = parallel(a, threads, ask_known, range(1000))
            note({"what": f"context, {strategy}, {threads} at a time", "per_second": len(times) / seconds, "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    c = commands.add_parser("evidence"); c.add_argument("dir"); c.add_argument("url"); c.add_argument("--out")
    c = commands.add_parser("load"); c.add_argument("url"); c.add_argument("--sessions", type=int, default=1000); c.add_argument("--messages", type=int, default=500); c.add_argument("--out")
    c.add_argument("--filled", action="store_true", help="the sessions are there: measure contexts alone")
    a = parser.parse_args()
    {"evidence": evidence, "load": load}[a.command](a)
