#!/usr/bin/env python3
"""A box that seals what it keeps beside one that does not, and answers that are remembered beside those that are not.

  sealed.py MEMBOX MODELS [--records 24576] [--out FILE]

MEMBOX is the binary, MODELS the folder of installed models. Two boxes of their own take the same records (texts of some twenty common words, given vectors) and the
same questions, one request to each in turn, in random order; medians are compared. Standard library only.
"""
import argparse, http.client, json, os, random, subprocess, tempfile, threading, time
from statistics import median

BATCH = 256
WORDS = """time year people way day man thing woman life child world school state family student group country problem hand part place case week company
system program question work government number night point home water room mother area money story fact month lot right study book eye job word business
issue side kind head house service friend father power hour game line end member law car city community name president team minute idea kid body
information back parent face others level office door health person art war history party result change morning reason research girl guy moment air
teacher force education garden river train station letter window kitchen summer winter market doctor bridge paper music""".split()
QUESTIONS = ["Where is the letter?", "the train to the city", "music in the garden", "a doctor at the station", "what happened in summer?"]


class Box:
    def __init__(self, membox, models, folder, key=None, answers=0):
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(f"{folder}/models"):
            os.symlink(os.path.abspath(models), f"{folder}/models")
        environment = {**os.environ, "MEMBOX_ANSWER_CACHE": str(answers)}
        if key:
            environment["MEMBOX_MASTER_KEY_FILE"] = key
        command = [membox, "--data-dir", folder, "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]
        self.folder = folder
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
        address = next(e["fields"]["address"] for e in map(json.loads, self.process.stderr) if "address" in e["fields"])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.connection = http.client.HTTPConnection(address)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body)
        begun = time.perf_counter()
        self.connection.request(method, path, data, {"content-type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        took = time.perf_counter() - begun
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {answer[:300]}")
        return took, json.loads(answer)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def compare(boxes, rounds, request):
    """Medians in milliseconds of a request to each box."""
    times = {name: [] for name in boxes}
    for i in range(rounds):
        for name in random.sample(list(boxes), len(boxes)):
            times[name].append(boxes[name].call(*request(i))[0] * 1e3)
    return {name: median(of) for name, of in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("membox")
    parser.add_argument("models")
    parser.add_argument("--records", type=int, default=24576)
    parser.add_argument("--out")
    a = parser.parse_args()
    random.seed(1)
    text = lambda: " ".join(random.choices(WORDS, k=random.randint(8, 32)))
    vectors = [[random.gauss(0, 1) for _ in range(384)] for _ in range(512)]
    rows = []

    def note(what, of, unit="ms"):
        first, second = of.values()
        rows.append({"what": what, "unit": unit, **{k: round(v, 3) for k, v in of.items()}, "ratio": round(second / first, 3)})
        print(json.dumps(rows[-1]), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        key = f"{folder}/master"
        subprocess.run([a.membox, "keys", "new", key], check=True, stdout=subprocess.DEVNULL)
        start = lambda name, **how: Box(a.membox, a.models, f"{folder}/{name}", **how)
        boxes = {"plain": start("plain"), "sealed": start("sealed", key=key)}
        for box in boxes.values():
            box.call("PUT", "/v1/collections/c", {})
        record = lambda n: {"id": str(n), "text": text(), "vector": vectors[n % 512], "metadata": {"n": n, "topic": f"t{n % 9}"}}
        batches = [{"records": [record(b * BATCH + i) for i in range(BATCH)]} for b in range(a.records // BATCH)]
        note(f"{BATCH} records written", compare(boxes, len(batches), lambda i: ("POST", "/v1/collections/c/records", batches[i])))
        for mode, k in [("vector", 10), ("text", 10), ("hybrid", 10), ("hybrid", 100)]:
            ask = lambda i: ("POST", "/v1/collections/c/recall", {"query": QUESTIONS[i % 5], "mode": mode, "k": k})
            note(f"recall, {mode}, {k} hits", compare(boxes, 400, ask))
        said = {"max_messages": 0, "messages": [{"role": "user", "content": text()} for _ in range(500)]}
        for box in boxes.values():
            box.call("POST", "/v1/sessions/s/messages", said)
        context = "/v1/sessions/s/context?max_tokens=4000&strategy=smart"
        note("context of 4000 tokens", compare(boxes, 400, lambda i: ("GET", context)))
        job = boxes["sealed"].call("POST", "/v1/tenant:rotate", {})[1]["id"]
        begun = time.perf_counter()
        while boxes["sealed"].call("GET", f"/v1/jobs/{job}")[1]["state"] == "running":
            time.sleep(0.01)
        rotation = time.perf_counter() - begun
        for box in boxes.values():
            box.stop()
        note("database", {n: os.path.getsize(f"{b.folder}/membox.db") / 1e6 for n, b in boxes.items()}, "MB")
        ready = {"plain": [], "sealed": []}
        for _ in range(5):
            for name, how in [("plain", {}), ("sealed", {"key": key})]:
                begun = time.perf_counter()
                box = start(name, **how)
                ready[name].append((time.perf_counter() - begun) * 1e3)
                box.stop()
        note("start", {name: median(of) for name, of in ready.items()})
        rows.append({"what": f"rotation of {a.records + 500} rows", "unit": "s", "sealed": round(rotation, 2)})
        # A remembered answer is read from memory, whatever is sealed on the disk.
        boxes = {"found": start("plain"), "remembered": start("sealed", key=key, answers=1000)}
        ask = lambda i: ("POST", "/v1/collections/c/recall", {"query": QUESTIONS[i % 5], "k": 10})
        note("a question asked again", compare(boxes, 400, ask))
        for box in boxes.values():
            box.stop()
    if a.out:
        with open(a.out, "w") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
