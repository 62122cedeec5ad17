#!/usr/bin/env python3
"""Compression beside the Python package llmlingua, in turn on the same machine; writes benches/results/{compress.json,compress.md,compress.svg}.

Both run the same random weights, of the shapes of the two published models, with the small tokenizers of the compressor's tests: the
published weights change what is kept, not what it costs. Tokens are the model's own. Each contender runs ROUNDS times, in turn, and the
median is kept: these machines drift.
"""
import argparse, http.client, json, os, platform, shutil, socket, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MEMBOX = ROOT / "target/release/membox"
FIXTURES = ROOT / "crates/compressor/tests/fixtures"
OUT = ROOT / "benches/results"
ROUNDS = 3
SHAPES = {  # name of the published model, fixture whose tokenizer it gets, tokens to be compressed
    "bert-base-multilingual-cased": ("llmlingua-2-bert-base-multilingual-cased-meetingbank", "bert-base-multilingual-cased-tiny", 8_000),
    "xlm-roberta-large": ("llmlingua-2-xlm-roberta-large-meetingbank", "xlm-roberta-large-tiny", 2_500),
}


def random_model(shape, folder):
    """Random weights of a published shape, saved as Hugging Face models are."""
    import torch
    from transformers import BertConfig, BertForTokenClassification, XLMRobertaConfig, XLMRobertaForTokenClassification
    torch.manual_seed(1)
    if shape == "xlm-roberta-large":
        config = XLMRobertaConfig(vocab_size=250_102, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                                  max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=2)
        model = XLMRobertaForTokenClassification(config)
    else:
        config = BertConfig(vocab_size=119_647, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, num_labels=2)
        model = BertForTokenClassification(config)
    shutil.copytree(FIXTURES / SHAPES[shape][1], folder, dirs_exist_ok=True)
    model.save_pretrained(folder)
    os.sync()


class Box:
    """A running box."""

    def __init__(self, data, *flags):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.process = subprocess.Popen([MEMBOX, "--data-dir", data, *flags, "serve", "--listen", f"127.0.0.1:{port}"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                self.call("/info"); return
            except OSError:
                self.connection.close(); time.sleep(0.1)
        raise SystemExit("the box did not start")

    def call(self, path, body=None):
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        self.connection.request(method, path, data, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content[:300]}")
        return json.loads(content)

    def compress(self, documents, **options):
        return self.call("/v1/compress", {"documents": documents, "encoding": "cl100k_base", **options})

    def stop(self):
        self.process.terminate(); self.process.wait()


def sample_turns():
    words = "we talked about the garden and Lena will bring tomatoes on Sunday if the train is late".split()
    return [" ".join(words[(s * 7 + i * 5 + i * i) % len(words)] for i in range(8 + s % 45)) + "." for s in range(2000)]


def documents_of(turns, count, tokens):
    """Documents of some 1 500 model tokens out of turns, `tokens` in all."""
    documents, current, length, total = [], [], 0, 0
    for turn in turns * 50:
        current.append(turn); length += count(turn)
        if length >= 1500 or total + length >= tokens:
            documents.append(" ".join(current)); total += length
            current, length = [], 0
        if total >= tokens:
            return documents, total


def compare(shape, turns, folder, card=False):
    """Both on the CPU, or both on the first CUDA card; there is more to do on a card."""
    name, _, tokens = SHAPES[shape]
    tokens *= 50 if card else 1
    # The package decides by the folder's name how tokens join into words.
    model = folder / "data/models" / name
    random_model(shape, model)
    linked = folder / shape; linked.symlink_to(model)
    (folder / "data/models/all-MiniLM-L6-v2").symlink_to(ROOT / "data/models/all-MiniLM-L6-v2")
    import torch
    from llmlingua import PromptCompressor
    torch.set_num_threads(os.cpu_count())
    package = PromptCompressor(str(linked), use_llmlingua2=True, device_map="cuda" if card else "cpu")
    documents, total = documents_of(turns, lambda t: len(package.tokenizer.tokenize(t)), tokens)
    boxes = {}
    for engine, flags in {"cuda": ("--device", "cuda:0")}.items() if card else {"f32": ("--precision", "f32"), "int8": ("--precision", "int8")}.items():
        data = folder / engine; data.mkdir(); (data / "models").symlink_to(folder / "data/models")
        boxes[engine] = Box(data, "--compression-model", name, *flags)
    run = {"llmlingua": lambda: [package.compress_prompt([d], rate=0.5) for d in documents]}
    run |= {f"membox {engine}": lambda box=box: box.compress(documents) for engine, box in boxes.items()}
    run["membox keep head"] = lambda: list(boxes.values())[-1].compress(documents, model="keep-head")
    times = {contender: [] for contender in run}
    for contender in run.values():
        contender()
    for _ in range(ROUNDS):
        for contender, work in run.items():
            t = time.perf_counter(); work(); times[contender].append(time.perf_counter() - t)
    for box in boxes.values():
        box.stop()
    rates = {contender: total / float(np.median(t)) for contender, t in times.items()}
    return {"tokens": total, "documents": len(documents), "tokens_per_s": rates}


def own(turns, folder):
    """What only ours has to show: packing, and the latency of the keep head."""
    (folder / "data/models").mkdir(parents=True)
    (folder / "data/models/all-MiniLM-L6-v2").symlink_to(ROOT / "data/models/all-MiniLM-L6-v2")
    box, short, report = Box(folder / "data"), turns[:1000], {}
    alone, packed = [], []
    box.compress(short)
    for _ in range(ROUNDS):
        t = time.perf_counter()
        for text in short:
            box.compress([text])
        alone.append(time.perf_counter() - t)
        t = time.perf_counter(); box.compress(short); packed.append(time.perf_counter() - t)
    report["short_documents"] = {"count": len(short), "one_by_one_s": float(np.median(alone)), "in_one_call_s": float(np.median(packed))}
    count = lambda text: len(box.call("/tokenize", {"inputs": text, "add_special_tokens": False})[0])
    words, contexts = " ".join(turns).split(), []
    for i in range(300):
        text = words[i * 97 % (len(words) - 600):][:420]
        while count(" ".join(text)) > 512:
            text = text[:-4]
        contexts.append(" ".join(text))
    times = []
    for context in contexts:
        t = time.perf_counter(); box.call("/v1/compress", {"context": context}); times.append(time.perf_counter() - t)
    report["latency_512_tokens_ms"] = {"p50": 1e3 * float(np.percentile(times, 50)), "p99": 1e3 * float(np.percentile(times, 99))}
    box.stop()
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", help="a file of turns, one a line, instead of our sample")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    turns = Path(args.texts).read_text(encoding="utf-8").splitlines() if args.texts else sample_turns()
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    report = {"machine": f"{cpu}, {os.cpu_count()} cores", "shapes": {}}
    with tempfile.TemporaryDirectory() as folder:
        report |= own(turns, Path(folder))
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            report["shapes"][shape] = compare(shape, turns, Path(folder))
        print(shape, json.dumps(report["shapes"][shape]), file=sys.stderr)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "compress.json").write_text(json.dumps(report, indent=1) + "\n")
    write(report)
    print((OUT / "compress.md").read_text())


def write(report):
    short, latency = report["short_documents"], report["latency_512_tokens_ms"]
    lines = [f"# Compression\n\n{report['machine']}; medians of {ROUNDS} runs in turn. Made by `make bench`.\n",
             "| shape | contender | tokens/s | of llmlingua |", "|---|---|---|---|"]
    for shape, measured in report["shapes"].items():
        rates = measured["tokens_per_s"]
        lines += [f"| {shape} | {name} | {rate:.0f} | {rate / rates['llmlingua']:.2f} × |" for name, rate in rates.items()]
    lines += ["", f"{short['count']} short documents with the keep head: {short['one_by_one_s']:.2f} s one by one, {short['in_one_call_s']:.2f} s in one call "
              f"({short['one_by_one_s'] / short['in_one_call_s']:.1f} ×).", "",
              f"A context of 512 tokens with the keep head, over HTTP: p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms.", "", "![tokens a second](compress.svg)"]
    (OUT / "compress.md").write_text("\n".join(lines) + "\n")
    import matplotlib; matplotlib.use("svg"); matplotlib.rcParams["svg.hashsalt"] = "membox"
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(report["shapes"]), figsize=(11, 2.6))
    for axis, (shape, measured) in zip(axes, report["shapes"].items()):
        names, values = zip(*reversed(measured["tokens_per_s"].items()))
        bars = axis.barh(names, values, color=["#c2410c" if n.startswith("membox") else "#94a3b8" for n in names])
        axis.set_xscale("log"); axis.bar_label(bars, fmt="%.0f", padding=3); axis.set_title(f"{shape}: tokens a second"); axis.margins(x=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(report["machine"], fontsize=9); figure.tight_layout(); figure.savefig(OUT / "compress.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
