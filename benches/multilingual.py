#!/usr/bin/env python3
"""multilingual-e5-small beside sentence-transformers and ONNX Runtime, in turn on the same machine; prints a table in Markdown.

  membox models pull multilingual-e5-small
  .peers/encoders/bin/python benches/multilingual.py [--texts FILE] [--membox BINARY] [--data-dir DIR]
"""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np
import compare

NAME, PROMPT, ROUNDS = "multilingual-e5-small", "passage: ", 3


def sample_texts(count=600):
    """Half of them English, half Chinese."""
    words = "我们 昨天 在 公园 见面 他 对 青霉素 过敏 火车 晚点 了 一个 小时 请 给 花园 的 西红柿 浇水 会议 改到 星期四".split()
    chinese = ["".join(words[(s * 7 + i * 5 + i * i) % len(words)] for i in range(8 + s % 30)) + "。" for s in range(count // 2)]
    return [text for pair in zip(compare.sample_texts(count // 2), chinese) for text in pair]


def membox(args, *more, **options):
    command = [args.membox, "--data-dir", args.data_dir, "--model", NAME, *more]
    return subprocess.run(command, check=True, capture_output=True, **options).stdout


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--texts"); ap.add_argument("--membox", default=str(compare.MEMBOX)); ap.add_argument("--data-dir", default=str(compare.ROOT / "data"))
    args = ap.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    texts = Path(args.texts).read_text(encoding="utf-8").splitlines() if args.texts else sample_texts()
    prompted = [PROMPT + text for text in texts]
    model, threads = Path(args.data_dir) / "models" / NAME, os.cpu_count()
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        folder = tmp / "model"; folder.mkdir()
        for file in model.resolve().glob("*.*"):
            (folder / file.name).symlink_to(file)
        # What transformers asks for beside the tokenizer itself.
        (folder / "tokenizer_config.json").write_text(json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>",
             "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}))
        compare.MODEL = folder
        (tmp / "texts").write_text("\n".join(prompted) + "\n", encoding="utf-8")
        peers = {"sentence-transformers f32": compare.torch_peer(threads), "ONNX Runtime f32": compare.onnx_peer(threads, tmp, False),
                 "ONNX Runtime int8": compare.onnx_peer(threads, tmp, True)}
        for encode in peers.values():
            encode(prompted[:64])
        rates, vectors = {}, {}
        for _ in range(ROUNDS):
            for precision in ("f32", "int8"):
                report = json.loads(membox(args, "--precision", precision, "bench", "--texts", tmp / "texts", "--queries", "50"))
                rates.setdefault("membox " + precision, []).append(report["texts_per_s"])
            for name, encode in peers.items():
                begun = time.perf_counter(); vectors[name] = encode(prompted)
                rates.setdefault(name, []).append(len(texts) / (time.perf_counter() - begun))
        (tmp / "plain").write_text("\n".join(texts) + "\n", encoding="utf-8")
        for precision in ("f32", "int8"):
            with open(tmp / "plain") as stdin:
                membox(args, "--precision", precision, "embed", "--prompt", "passage", "--out", tmp / "v.npy", stdin=stdin)
            vectors["membox " + precision] = np.load(tmp / "v.npy")
    reference = vectors["sentence-transformers f32"]
    print(f"| encoder, {len(texts)} texts | texts/s, median of {ROUNDS} | cosine to sentence-transformers, mean / least |\n|---|---|---|")
    for name, rate in rates.items():
        cosine = (vectors[name] * reference).sum(1)
        print(f"| {name} | {np.median(rate):.0f} ({', '.join(f'{r:.0f}' for r in rate)}) | {cosine.mean():.5f} / {cosine.min():.5f} |")


if __name__ == "__main__":
    sys.exit(main())
