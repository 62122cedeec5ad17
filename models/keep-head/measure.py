#!/usr/bin/env python3
"""How much of what matters a compression keeps, on conversations that nothing was trained on. Asks a running box.

    measure.py URL LOCOMO_DIR TRAINING_TEXTS > table.md

LOCOMO_DIR holds conversations of LoCoMo (Maharana et al., ACL 2024) as JSON; TRAINING_TEXTS is what texts.py printed, for the word
frequencies. For the box's own compression (mode strict), and for dropping words at random, stop words first, and common words first (by
inverse document frequency, in the training texts and in the very conversations that are measured), each within the same budget of tokens
a turn:

- answer words: the share of the words of the gold answers, stop words apart, that are left in the turns that are their evidence;
- recall@10 of the evidence when all turns are compressed and the questions are not: with the vectors of the whole turns, as
  `"compress": true` on a write gives them ("one pass"), and with the vectors of what is left ("anew").

Standard library only.
"""

import collections
import glob
import json
import math
import os
import random
import re
import sys
import urllib.request

STOP = set(
    "a about above after again all am an and any are as at be because been before being below between both but by can could d did do does "
    "doing don down during each few for from further had has have having he her here hers him his how i if in into is it its just ll m may me "
    "might more most must my no nor not now o of off on once only or other our out over own re s same shall she should so some such t than "
    "that the their them then there these they this those through to too under until up ve very was we were what when where which while who "
    "whom why will with would y you your".split()
)
WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
RATES = (0.3, 0.5, 0.7)
URL = sys.argv[1].rstrip("/")


def call(method, path, body=None):
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"null")


def conversations(folder):
    """Name, turns as (id, session, text), questions as (question, evidence ids, answer)."""
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        turns = [
            (turn["dia_id"], key, f"{turn['speaker']}: {turn.get('clean_text', turn.get('text'))}")
            for key, session in data.items()
            if re.fullmatch(r"session_\d+", key) and isinstance(session, list)
            for turn in session
            if "dia_id" in turn
        ]
        ids = {turn[0] for turn in turns}
        questions = [
            (q["question"], {e for e in q.get("evidence") or [] if e in ids}, str(q.get("answer", "")))
            for q in data.get("qa", [])
            if q.get("category") != 5
        ]
        yield os.path.splitext(os.path.basename(path))[0].lower(), turns, [q for q in questions if q[1]]


def words(text):
    return [w.lower() for w in WORD.findall(text)]


def content_words(text):
    return {w for w in re.findall(r"\w+", text.lower())} - STOP


def by_score(score, rate, turns):
    """Each turn with its best words, as many as the rate's budget of tokens holds."""
    found = [[(m.group(), m.start()) for m in WORD.finditer(text)] for text in turns]
    flat = [" " + word for turn in found for word, _ in turn]
    costs = []
    for i in range(0, len(flat), 2000):
        costs += call("POST", "/v1/tokens", {"encoding": "cl100k_base", "input": flat[i : i + 2000]})["counts"]
    costs, left = iter(costs), []
    for turn in found:
        own = [next(costs) for _ in turn]
        budget, kept = rate * sum(own), []
        for j in sorted(range(len(turn)), key=lambda j: -score(turn[j][0])):
            if own[j] > budget and kept:
                break
            budget -= own[j]
            kept.append(j)
        left.append(" ".join(turn[j][0] for j in sorted(kept)))
    return left


def by_box(rate, turns):
    left = []
    for i in range(0, len(turns), 512):
        body = {"documents": turns[i : i + 512], "rate": rate, "mode": "strict", "encoding": "cl100k_base"}
        left += [document["compressed_prompt"] for document in call("POST", "/v1/compress", body)["documents"]]
    return left


def answer_words(left, data):
    shares = []
    for texts, (_, turns, questions) in zip(left, data):
        place = {turn[0]: i for i, turn in enumerate(turns)}
        for _, evidence, answer in questions:
            there = [(place[e], w) for e in evidence for w in content_words(turns[place[e]][2]) & content_words(answer)]
            wanted = {w for _, w in there}
            if wanted:
                shares.append(len({w for i, w in there if w in content_words(texts[i])}) / len(wanted))
    return sum(shares) / len(shares)


def recall(left, vectors, data):
    """recall@10 of the evidence; the vectors are those given, or the box's own of what is left."""
    found = []
    for n, (texts, (name, turns, questions)) in enumerate(zip(left, data)):
        collection = "measure-" + name
        call("PUT", f"/v1/collections/{collection}", {})
        records = [{"id": turn[0], "session": turn[1], "text": text or "-"} for turn, text in zip(turns, texts)]
        for i, record in enumerate(records):
            record["created_at"] = f"2024-01-01T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z"
            if vectors:
                record["vector"] = vectors[n][i]
        for i in range(0, len(records), 512):
            call("POST", f"/v1/collections/{collection}/records", {"records": records[i : i + 512]})
        for question, evidence, _ in questions:
            hits = call("POST", f"/v1/collections/{collection}/recall", {"query": question, "k": 10, "include": []})["hits"]
            found.append(len({hit["id"] for hit in hits} & evidence) / len(evidence))
        call("DELETE", f"/v1/collections/{collection}")
    return sum(found) / len(found)


def main():
    data = list(conversations(sys.argv[2]))
    turns = [[turn[2] for turn in turns] for _, turns, _ in data]
    whole = []
    for texts in turns:
        vectors = []
        for i in range(0, len(texts), 512):
            vectors += call("POST", "/embed", {"inputs": texts[i : i + 512]})
        whole.append(vectors)
    with open(sys.argv[3], encoding="utf-8") as file:
        trained = [set(words(line)) for line in file]
    frequency = collections.Counter(w for line in trained for w in line)
    own = collections.Counter(w for texts in turns for text in texts for w in set(words(text)))
    chance = random.Random(1)
    methods = {
        "at random": lambda word: chance.random(),
        "stop words": lambda word: (word[0].isalnum() and word.lower().split("'")[0] not in STOP) + chance.random() / 2,
        "IDF": lambda word: math.log((len(trained) + 1) / (frequency[word.lower()] + 0.5)),
        "IDF of these very turns": lambda word: -own[word.lower()],
        "membox": None,
    }
    print(f"recall@10 without compression: {recall(turns, whole, data):.4f}\n")
    print("| dropped by | " + " | ".join(f"{rate} {what}" for rate in RATES for what in ("answer words", "one pass", "anew", "tokens")) + " |")
    print("|---" * (1 + 4 * len(RATES)) + "|")
    count = lambda texts: sum(call("POST", "/v1/tokens", {"encoding": "cl100k_base", "input": texts})["counts"])
    before = sum(count(texts) for texts in turns)
    for name, score in methods.items():
        cells = []
        for rate in RATES:
            left = [by_score(score, rate, texts) if score else by_box(rate, texts) for texts in turns]
            tokens = sum(count(texts) for texts in left) / before
            cells += [f"{answer_words(left, data):.3f}", f"{recall(left, whole, data):.4f}", f"{recall(left, None, data):.4f}", f"{tokens:.2f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


main()
