#!/usr/bin/env python3
"""membox on a CUDA card beside sentence-transformers in f16 and llmlingua on the same card, in turn; writes benches/results/{gpu.json,gpu.md,gpu.svg}.

  gpu.py [--texts FILE] [--model NAME] [--rounds N]
      one text a line; sample texts when left out. The others are cut from them: 128 and 256 tokens long.
      A model of data/models; all-MiniLM-L6-v2 when left out. Without llmlingua, compression is left out.
  gpu.py --page             the page and the plot once more, from gpu.json

Set-up: pip install torch sentence-transformers llmlingua==0.2.2 sentencepiece protobuf numpy matplotlib; cargo build --release --workspace --examples
"""
import argparse, importlib.util, json, subprocess, tempfile, time
from pathlib import Path
import numpy as np
import compress
from compare import sample_texts

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "data/models"
MEMBOX = ROOT / "target/release/membox"
OUT = ROOT / "benches/results"


def of_length(texts, tokens):
    """Texts of about so many tokens: a word is about 1.3 of them."""
    words = " ".join(texts).split()
    step = int(tokens / 1.3)
    return [" ".join(words[i:i + step]) for i in range(0, len(words) - step, step)][:5000]


def membox(path, model):
    done = subprocess.run([MEMBOX, "bench", "--device", "cuda:0", "--model", model, "--texts", path], stdout=subprocess.PIPE, check=True, text=True, cwd=ROOT)
    report = json.loads(done.stdout)
    return {"engine": report["engine"], "tokens_per_s": report["tokens_per_s"], "texts_per_s": report["texts_per_s"], "query_ms": report["query_idle_ms"], "query_under_load_ms": report["query_under_bulk_load_ms"]}


def sentence_transformers(texts, name):
    import torch
    from sentence_transformers import SentenceTransformer
    best = None
    for attention in ("sdpa", "eager"):
        model = SentenceTransformer(str(MODELS / name), device="cuda", model_kwargs={"torch_dtype": torch.float16, "attn_implementation": attention})
        tokens = sum(len(ids) for ids in model.tokenizer(texts, truncation=True, max_length=256)["input_ids"])
        for batch in (64, 256, 1024):
            model.encode(texts[:2 * batch], batch_size=batch, normalize_embeddings=True)
            begun = time.perf_counter()
            model.encode(texts, batch_size=batch, normalize_embeddings=True)
            seconds = time.perf_counter() - begun
            if best is None or tokens / seconds > best["tokens_per_s"]:
                best = {"engine": f"sentence-transformers f16 {attention}, batches of {batch}", "tokens_per_s": tokens / seconds, "texts_per_s": len(texts) / seconds}
        times = []
        for i in range(300):
            begun = time.perf_counter(); model.encode([f"where did we leave the keys {i % 10}?"], normalize_embeddings=True); times.append(time.perf_counter() - begun)
        best["query_ms"] = {"p50": 1e3 * sorted(times)[150], "p99": 1e3 * sorted(times)[297]}
    return best


def equality(path, model):
    vectors = []
    with tempfile.TemporaryDirectory() as folder:
        for flags in (["--device", "cuda:0"], ["--device", "cpu", "--precision", "f32"]):
            out = f"{folder}/{len(vectors)}.npy"
            with open(path) as lines:
                subprocess.run([MEMBOX, "embed", *flags, "--model", model, "--out", out], stdin=lines, check=True, cwd=ROOT)
            vectors.append(np.load(out))
    cosine = (vectors[0] * vectors[1]).sum(1)
    return {"least_cosine": float(cosine.min()), "mean_cosine": float(cosine.mean()), "texts": len(cosine)}


def measure(args):
    texts = [t for t in (open(args.texts).read().splitlines() if args.texts else sample_texts(5000)) if t.strip()]
    sets = {"lines": texts, "128 tokens": of_length(texts, 128), "256 tokens": of_length(texts, 256)}
    results = {"model": args.model, "rounds": args.rounds, "throughput": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in sets.items():
            path = f"{folder}/{name.replace(' ', '-')}.txt"
            Path(path).write_text("\n".join(lines))
            runs = [(membox(path, args.model), sentence_transformers(lines, args.model)) for _ in range(args.rounds)]
            results["throughput"][name] = [sorted(side, key=lambda r: r["tokens_per_s"])[args.rounds // 2] for side in zip(*runs)]
            if name == "lines":
                results["equality"] = equality(path, args.model)
    for example in ("recall", "forward"):
        done = subprocess.run([ROOT / "target/release/examples" / example], stdout=subprocess.PIPE, check=True, text=True)
        results[example] = [json.loads(line) for line in done.stdout.splitlines()]
    results["compression"] = {}
    for shape in compress.SHAPES if importlib.util.find_spec("llmlingua") else []:
        with tempfile.TemporaryDirectory() as folder:
            results["compression"][shape] = compress.compare(shape, texts, Path(folder), card=True)["tokens_per_s"]
    return results


def page(results):
    engine = results["throughput"]["lines"][0]["engine"]
    lines = ["# A GPU", "", f"Made by `make bench-gpu`. The engine is `{engine}`, the model {results['model']}, the median of {results['rounds']} rounds.", "",
             "| texts | contender | tokens/s | of sentence-transformers | query p50 ms | query p99 ms |", "|---|---|---|---|---|---|"]
    for name, sides in results["throughput"].items():
        for contender, side in zip(("membox", "sentence-transformers"), sides):
            lines.append(f"| {name} | {contender} | {side['tokens_per_s']:.0f} | {side['tokens_per_s'] / sides[1]['tokens_per_s']:.2f} | "
                         f"{side['query_ms']['p50']:.2f} | {side['query_ms']['p99']:.2f} |")
    loaded, equal = results["throughput"]["lines"][0]["query_under_load_ms"], results["equality"]
    lines += ["", "sentence-transformers computes in f16; of sdpa and eager attention, and of batches of 64, 256 and 1024, the fastest counts.", "",
              "| other | figure |", "|---|---|", f"| query while the bulk lane is full, p50 ms | {loaded['p50']:.2f} |",
              f"| query while the bulk lane is full, p99 ms | {loaded['p99']:.2f} |",
              f"| least cosine to the CPU's f32 vectors, {equal['texts']} texts | {equal['least_cosine']:.6f} |", "",
              "Exact recall over random vectors of 384 numbers. Codes of 8 bits choose rows, which are scored exactly from f16.", "",
              "| rows | codes | questions | k | filter | p50 ms | p99 ms |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {r['rows']} | {'yes' if r['codes'] else 'no'} | {r['questions']} | {r['k']} | {'two of three rows' if r['filter'] else 'none'} | {r['p50_ms']} | {r['p99_ms']} |"
              for r in results["recall"] if "questions" in r]
    lines += ["", "Passes of models with random weights. Token ids are there before.", "",
              "| shape | tokens of a sequence | tokens of a batch | threads | tokens/s |", "|---|---|---|---|---|"]
    lines += [f"| {r['shape']} | {r['sequence']} | {r['batch']} | {r['threads']} | {r['tokens_per_s']} |" for r in results["forward"] if "sequence" in r]
    if results["compression"]:
        lines += ["", "| compression, shape (random weights) | contender | tokens/s | of llmlingua |", "|---|---|---|---|"]
    for shape, rates in results["compression"].items():
        lines += [f"| {shape} | {name} | {rate:.0f} | {rate / rates['llmlingua']:.2f} |" for name, rate in rates.items()]
    return "\n".join(lines) + "\n"


def plot(results):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    figure, axis = plt.subplots(figsize=(7, 4))
    for i, label in enumerate(("membox", "sentence-transformers f16")):
        axis.bar([x + 0.4 * i for x in range(len(results["throughput"]))],
                 [sides[i]["tokens_per_s"] / 1e6 for sides in results["throughput"].values()], 0.4, label=label)
    axis.set_xticks([x + 0.2 for x in range(len(results["throughput"]))], list(results["throughput"]))
    axis.set(ylabel="million tokens a second", title=results["throughput"]["lines"][0]["engine"])
    axis.legend()
    figure.tight_layout()
    figure.savefig(OUT / "gpu.svg")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    if not args.page:
        (OUT / "gpu.json").write_text(json.dumps(measure(args), indent=1))
    results = json.loads((OUT / "gpu.json").read_text())
    (OUT / "gpu.md").write_text(page(results))
    print(page(results))
    plot(results)


main()
