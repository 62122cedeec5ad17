#!/usr/bin/env python3
"""Reranking 50 turns over HTTP beside sentence-transformers' CrossEncoder, in turn on the same machine; prints a table in Markdown.

The cross-encoders have the shapes of ms-marco-MiniLM-L6-v2 and -L12-v2 and random weights, which take as long as any; words are those of the installed MiniLM.

  .peers/encoders/bin/python benches/rerank.py [--texts FILE] [--membox BINARY] [--data-dir DIR]
"""
import argparse, os, random, subprocess, tempfile, time
from pathlib import Path
from statistics import median
import compare
from sealed import Box

TURNS, ROUNDS = 50, 40
QUESTION = "who will bring tomatoes on Sunday, and when is the train {}?"


def make(folder, tokenizer, layers):
    """A cross-encoder with random weights."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification
    config = BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=1536, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--texts"); ap.add_argument("--membox", default=str(compare.MEMBOX)); ap.add_argument("--data-dir", default=str(compare.ROOT / "data"))
    args = ap.parse_args()
    texts = Path(args.texts).read_text(encoding="utf-8").splitlines() if args.texts else compare.sample_texts(2000)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import CrossEncoder
    torch.manual_seed(1)
    installed = Path(args.data_dir).resolve() / "models" / "all-MiniLM-L6-v2"
    print(f"{TURNS} turns, medians of {ROUNDS} requests in turn, {os.cpu_count()} cores.\n\n| layers | membox int8 | membox f32 | CrossEncoder f32 |\n|---|---|---|---|")
    for layers in (6, 12):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            make(tmp / "reranker", installed, layers)
            boxes = {}
            for precision in ("int8", "f32"):
                folder = tmp / precision
                (folder / "models").mkdir(parents=True)
                (folder / "models" / installed.name).symlink_to(installed)
                pulled = subprocess.run([args.membox, "--data-dir", folder, "models", "pull", tmp / "reranker"], capture_output=True, text=True)
                if pulled.returncode:
                    raise SystemExit(pulled.stderr)
                os.environ.update(MEMBOX_MODELS='["reranker"]', MEMBOX_PRECISION=precision)
                boxes[precision] = Box(args.membox, folder / "models", str(folder))
            peer = CrossEncoder(str(tmp / "reranker"), device="cpu")
            took = {"int8": [], "f32": [], "peer": []}
            for i in range(ROUNDS):
                turns, question = random.sample(texts, TURNS), QUESTION.format(i)
                for name, box in boxes.items():
                    took[name].append(box.call("POST", "/rerank", {"query": question, "texts": turns})[0])
                begun = time.perf_counter(); peer.predict([(question, turn) for turn in turns])
                took["peer"].append(time.perf_counter() - begun)
            print(f"| {layers} | " + " | ".join(f"{median(times) * 1e3:.0f} ms" for times in took.values()) + " |", flush=True)
            for box in boxes.values():
                box.stop()


if __name__ == "__main__":
    main()
