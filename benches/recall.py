#!/usr/bin/env python3
"""Records with texts, written and recalled over HTTP by several binaries on the same machine; prints a table in Markdown.

  recall.py [--n 1000000] [--corpus FILE] [--questions FILE] [--data DIR] [--ask JSON]… MEMBOX…

Each binary encodes and writes the same records, while no other runs: 8 to 15 words in a row of the corpus (the pages of docs/ where none is given), in
sessions of 40. When all have built their indexes, each is asked the questions in turn, always new ones, so that no remembered answer is measured. A
question is a line of QUESTIONS, or words of the corpus. What an --ask adds to a question is a row of its own: '{"mode": "text"}'.
Standard library only. A million records take some ten minutes, 2 GB of disk and 3 GB of memory for each binary.
"""
import argparse, glob, http.client, json, os, random, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sealed import Box

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "/v1/collections/texts"
BATCH, WRITERS, WARM_UP, ROUNDS = 512, 2, 50, 3
# Seconds for which indexes stay as they are until they are taken to be done: the newest rows come last.
STILL = 30


def record(number, words):
    chance = random.Random(number)
    at, count = chance.randrange(len(words) - 20), chance.randrange(8, 16)
    return {"id": f"r{number}", "text": " ".join(words[at : at + count]), "session": f"s{number // 40}"}


def write(box, n, words):
    """Records a second, and the seconds after the last until no index is being built."""
    box.call("PUT", COLLECTION, {})
    own, begun = threading.local(), time.monotonic()

    def connect():
        own.connection = http.client.HTTPConnection(box.connection.host, box.connection.port)

    def batch(first):
        body = json.dumps({"records": [record(i, words) for i in range(first, min(first + BATCH, n))]})
        own.connection.request("POST", f"{COLLECTION}/records", body, {"content-type": "application/json"})
        answer = own.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{answer.status} {text[:300]}")

    with ThreadPoolExecutor(WRITERS, initializer=connect) as writers:
        list(writers.map(batch, range(0, n, BATCH)))
    written, still, known = time.monotonic(), 0, None
    # What was idle all the while may be closed by now.
    box.connection.close()
    while still < STILL:
        index = box.call("GET", COLLECTION)[1]["index"]
        still = still + 1 if index == known and index["building_rows"] == 0 else 0
        known = index
        time.sleep(1)
    return n / (written - begun), time.monotonic() - written - still


def ask(boxes, asks, questions):
    """Milliseconds of each question, by box and by what was added to it."""
    times = {(name, added): [] for name in boxes for added in asks}
    for name, box in boxes.items():
        for question in questions[:WARM_UP]:
            box.call("POST", f"{COLLECTION}/recall", {"query": question})
    for _ in range(ROUNDS):
        for question in questions:
            for name in random.sample(list(boxes), len(boxes)):
                for added in asks:
                    body = {"query": f"{question} {random.randrange(10**6)}?", "k": 10, **json.loads(added)}
                    times[name, added].append(boxes[name].call("POST", f"{COLLECTION}/recall", body)[0] * 1e3)
    return times


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--n", type=int, default=1_000_000)
    ap.add_argument("--corpus", help="a text"); ap.add_argument("--questions", help="one a line")
    ap.add_argument("--models", default=str(ROOT / "data/models")); ap.add_argument("--data", help="where the boxes' folders go, and stay")
    ap.add_argument("--ask", action="append", default=[], help="JSON that is added to a question")
    ap.add_argument("membox", nargs="+")
    args = ap.parse_args()
    pages = [args.corpus] if args.corpus else sorted(glob.glob(str(ROOT / "docs/**/*.md"), recursive=True))
    words = [word for page in pages for word in Path(page).read_text(encoding="utf-8").split()]
    chance = random.Random(5)
    questions = Path(args.questions).read_text(encoding="utf-8").splitlines() if args.questions else [
        " ".join(words[at : at + 9]) for at in (chance.randrange(len(words) - 9) for _ in range(200))]
    chance.shuffle(questions)
    asks = args.ask or ['{"mode": "vector"}', '{"mode": "text"}', '{"mode": "hybrid"}']
    with tempfile.TemporaryDirectory() as tmp:
        folders = {name: os.path.join(args.data or tmp, str(i)) for i, name in enumerate(args.membox)}
        print("| binary | records/s | seconds more until the indexes stand |\n|---|---|---|")
        for name, folder in folders.items():
            box = Box(name, args.models, folder)
            written, built = write(box, args.n, words)
            box.stop()
            print(f"| {name} | {written:.0f} | {built:.0f} |", flush=True)
        boxes = {name: Box(name, args.models, folder) for name, folder in folders.items()}
        print(f"\n{args.n} records. Milliseconds:\n\n| binary | added to a question | p50 | p99 |\n|---|---|---|---|")
        for (name, added), took in ask(boxes, asks, questions[:200]).items():
            took.sort()
            print(f"| {name} | `{added}` | {took[len(took) // 2]:.2f} | {took[len(took) * 99 // 100]:.2f} |")
        for box in boxes.values():
            box.stop()


main()
