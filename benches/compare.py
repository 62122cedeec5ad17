#!/usr/bin/env python3
"""membox beside what a user would pick instead, in turn on the same machine; writes benches/results/{results.json,README.md,*.svg}.

Each contender is run ROUNDS times, in turn (A B C A B C …), and the median is kept: these machines drift.
"""
import argparse, json, os, platform, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "data/models/all-MiniLM-L6-v2"
MEMBOX = ROOT / "target/release/membox"
OUT = ROOT / "benches/results"
ROUNDS = 3
QUERY = "where did we leave the keys {}?"


def sample_texts(count=2000):
    words = "we talked about the garden and Lena will bring tomatoes on Sunday if train is late".split()
    return [" ".join(words[(s * 7 + i * 5 + i * i) % len(words)] for i in range(8 + s % 45)) for s in range(count)]


def percentiles(times):
    times = sorted(times)
    return {"p50_ms": 1e3 * times[len(times) // 2], "p99_ms": 1e3 * times[int(len(times) * 0.99)]}


def single(encode):
    times = []
    for i in range(300):
        t = time.perf_counter(); encode([QUERY.format(i)]); times.append(time.perf_counter() - t)
    return percentiles(times)


def torch_peer(threads):
    import torch
    from sentence_transformers import SentenceTransformer
    torch.set_num_threads(threads)
    model = SentenceTransformer(str(MODEL), device="cpu")
    return lambda texts: model.encode(texts, batch_size=32, normalize_embeddings=True)


def onnx_peer(threads, folder, quantized):
    import onnxruntime as ort, torch
    from transformers import AutoModel, AutoTokenizer
    tok = AutoTokenizer.from_pretrained(MODEL)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    plain, small = folder / "fp32.onnx", folder / "int8.onnx"
    if not plain.exists():
        class Hidden(torch.nn.Module):
            def __init__(self, m):
                super().__init__(); self.m = m

            def forward(self, i, m, t):
                return self.m(input_ids=i, attention_mask=m, token_type_ids=t).last_hidden_state
        x = tok(["hello world", "a b c d"], padding=True, return_tensors="pt")
        model = Hidden(AutoModel.from_pretrained(MODEL, attn_implementation="eager").eval())
        torch.onnx.export(model, tuple(x[k] for k in names), plain, input_names=names, output_names=["h"],
                          dynamic_axes={k: {0: "b", 1: "s"} for k in names + ["h"]}, opset_version=17, dynamo=False)
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8, per_channel=True)
    options = ort.SessionOptions(); options.intra_op_num_threads = threads
    session = ort.InferenceSession(small if quantized else plain, options, providers=["CPUExecutionProvider"])

    def batch(texts):
        x = tok(texts, padding=True, truncation=True, max_length=256, return_tensors="np")
        h = session.run(None, {k: x[k].astype(np.int64) for k in names})[0]
        m = x["attention_mask"][..., None]
        p = (h * m).sum(1) / m.sum(1)
        return p / np.linalg.norm(p, axis=1, keepdims=True)

    def encode(texts):
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        out = np.zeros((len(texts), 384), np.float32)
        for i in range(0, len(order), 32):
            part = order[i:i + 32]
            out[part] = batch([texts[j] for j in part])
        return out
    return encode


def membox(precision, texts_file):
    out = subprocess.run([MEMBOX, "--data-dir", ROOT / "data", "--precision", precision, "bench", "--texts", texts_file],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def main():
    ap = argparse.ArgumentParser(description=__doc__); ap.add_argument("--texts"); a = ap.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    OUT.mkdir(parents=True, exist_ok=True)
    texts = Path(a.texts).read_text(encoding="utf-8").splitlines() if a.texts else sample_texts()
    threads = os.cpu_count()
    runs, vectors = {}, {}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        (tmp / "texts").write_text("\n".join(texts) + "\n", encoding="utf-8")
        peers = {"sentence-transformers f32": torch_peer(threads), "ONNX Runtime f32": onnx_peer(threads, tmp, False),
                 "ONNX Runtime int8": onnx_peer(threads, tmp, True)}
        for name, encode in peers.items():
            encode(texts[:64])
        for _ in range(ROUNDS):
            for precision in ("f32", "int8"):
                b = membox(precision, tmp / "texts")
                runs.setdefault("membox " + precision, []).append(
                    {"texts_per_s": b["texts_per_s"], "tokens_per_s": b["tokens_per_s"], **{k + "_ms": v for k, v in b["query_idle_ms"].items()},
                     **{"loaded_" + k + "_ms": v for k, v in b["query_under_bulk_load_ms"].items()}})
            for name, encode in peers.items():
                t = time.perf_counter(); vectors[name] = encode(texts); seconds = time.perf_counter() - t
                runs.setdefault(name, []).append({"texts_per_s": len(texts) / seconds, **single(encode)})
        for precision in ("f32", "int8"):
            with open(tmp / "texts") as f:
                subprocess.run([MEMBOX, "--data-dir", ROOT / "data", "--precision", precision, "embed", "--out", tmp / "v.npy"], stdin=f, check=True,
                               capture_output=True)
            vectors["membox " + precision] = np.load(tmp / "v.npy")
    reference = vectors["sentence-transformers f32"]
    rows = {}
    for name, measured in runs.items():
        rows[name] = {k: float(np.median([m[k] for m in measured])) for k in measured[0]}
        cosine = (vectors[name] * reference).sum(1)
        rows[name] |= {"cosine_mean": float(cosine.mean()), "cosine_least": float(cosine.min())}
    criterion = {}
    for path in sorted((ROOT / "target/criterion").glob("**/new/estimates.json")):
        name = "/".join(path.relative_to(ROOT / "target/criterion").parts[:-2])
        criterion[name] = json.loads(path.read_text())["median"]["point_estimate"] / 1e6
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    flags = next((l for l in open("/proc/cpuinfo") if l.startswith("flags")), "")
    machine = f"{cpu}, {threads} cores" + (", AVX-512 with VNNI" if "avx512_vnni" in flags else "")
    report = {"machine": machine, "texts": len(texts), "encoders": rows, "criterion_median_ms": criterion}
    (OUT / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    write_table(report); plot(report)
    print((OUT / "README.md").read_text())


def write_table(report):
    rows, lines = report["encoders"], [f"# Results\n\n{report['machine']}; {report['texts']} texts; medians of {ROUNDS} runs in turn. Made by `make bench`.\n"]
    lines += ["| encoder | texts/s | one query p50 ms | p99 ms | p50 / p99 ms under a bulk load | cosine to sentence-transformers, mean / least |", "|---|---|---|---|---|---|"]
    for name, r in rows.items():
        loaded = f"{r['loaded_p50_ms']:.2f} / {r['loaded_p99_ms']:.2f}" if "loaded_p50_ms" in r else "–"
        lines.append(f"| {name} | {r['texts_per_s']:.0f} | {r['p50_ms']:.2f} | {r['p99_ms']:.2f} | {loaded} | {r['cosine_mean']:.5f} / {r['cosine_least']:.5f} |")
    ratio = lambda a, b, k: rows[a][k] / rows[b][k]
    lines += ["", f"f32: {ratio('membox f32', 'sentence-transformers f32', 'texts_per_s'):.2f} × the texts/s of sentence-transformers. "
              f"int8: {ratio('membox int8', 'ONNX Runtime int8', 'texts_per_s'):.2f} × those of ONNX Runtime int8, "
              f"and one query in {ratio('membox int8', 'ONNX Runtime int8', 'p50_ms'):.2f} of its time.\n", "![texts a second](encoders.svg)\n"]
    lines += ["| criterion bench | median ms |", "|---|---|"] + [f"| {k} | {v:.4f} |" for k, v in report["criterion_median_ms"].items()]
    (OUT / "README.md").write_text("\n".join(lines) + "\n")


def plot(report):
    import matplotlib; matplotlib.use("svg"); matplotlib.rcParams["svg.hashsalt"] = "membox"
    import matplotlib.pyplot as plt
    names = sorted(report["encoders"], key=lambda n: report["encoders"][n]["texts_per_s"])
    figure, axes = plt.subplots(1, 2, figsize=(11, 3))
    for axis, key, title in ((axes[0], "texts_per_s", "texts a second (more is better)"), (axes[1], "p50_ms", "one query, p50 ms (less is better)")):
        values = [report["encoders"][n][key] for n in names]
        bars = axis.barh(names, values, color=["#c2410c" if n.startswith("membox") else "#94a3b8" for n in names])
        axis.bar_label(bars, fmt="%.2f" if key == "p50_ms" else "%.0f", padding=3); axis.set_title(title); axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_yticklabels([])
    figure.suptitle(report["machine"], fontsize=9); figure.tight_layout(); figure.savefig(OUT / "encoders.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
