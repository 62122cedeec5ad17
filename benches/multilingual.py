#!/usr/bin/env python3
"""multilingual-e5-small beside sentence-transformers and ONNX Runtime, in turn on the same machine; prints a table in Markdown.

Both the clock and the processor's time are taken: on a machine that others use, the latter with --threads 1 says more.

  membox models pull multilingual-e5-small
  .peers/encoders/bin/python benches/multilingual.py [--threads N] [--texts FILE] [--membox BINARY] [--data-dir DIR]
"""
import argparse, json, os, resource, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np
import compare

NAME, PROMPT, ROUNDS = "multilingual-e5-small", "passage: ", 3


def sample_texts(count=2400):
    """Half of them English, half Chinese."""
    words = "我们 昨天 在 公园 见面 他 对 青霉素 过敏 火车 晚点 了 一个 小时 请 给 花园 的 西红柿 浇水 会议 改到 星期四".split()
    chinese = ["".join(words[(s * 7 + i * 5 + i * i) % len(words)] for i in range(8 + s % 30)) + "。" for s in range(count // 2)]
    return [text for pair in zip(compare.sample_texts(count // 2), chinese) for text in pair]


def now():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)])


def membox(args, precision, file, out):
    """Seconds by the clock and of the processor."""
    command = [args.membox, "--data-dir", args.data_dir, "--model", NAME, "--threads", str(args.threads), "--precision", precision]
    begun = now()
    with open(file) as stdin:
        subprocess.run([*command, "embed", "--prompt", "passage", "--out", out], stdin=stdin, check=True, capture_output=True)
    return now() - begun


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--texts"); ap.add_argument("--membox", default=str(compare.MEMBOX)); ap.add_argument("--data-dir", default=str(compare.ROOT / "data"))
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    args = ap.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    texts = Path(args.texts).read_text(encoding="utf-8").splitlines() if args.texts else sample_texts()
    prompted = [PROMPT + text for text in texts]
    model, threads = Path(args.data_dir) / "models" / NAME, args.threads
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
        (tmp / "one").write_text(texts[0] + "\n", encoding="utf-8")
        (tmp / "texts").write_text("\n".join(texts) + "\n", encoding="utf-8")
        peers = {"sentence-transformers f32": compare.torch_peer(threads), "ONNX Runtime f32": compare.onnx_peer(threads, tmp, False),
                 "ONNX Runtime int8": compare.onnx_peer(threads, tmp, True)}
        for encode in peers.values():
            encode(prompted[:64])
        taken, vectors = {}, {}
        for _ in range(ROUNDS):
            for precision in ("f32", "int8"):
                # Without the time to load the model.
                loading = membox(args, precision, tmp / "one", tmp / "one.npy")
                taken.setdefault("membox " + precision, []).append(membox(args, precision, tmp / "texts", tmp / "v.npy") - loading)
                vectors["membox " + precision] = np.load(tmp / "v.npy")
            for name, encode in peers.items():
                begun = now(); vectors[name] = encode(prompted)
                taken.setdefault(name, []).append(now() - begun)
    reference = vectors["sentence-transformers f32"]
    print(f"{len(texts)} texts, {threads} threads, medians of {ROUNDS} rounds in turn.\n")
    print("| encoder | texts/s | texts a second of processor time | cosine to sentence-transformers, mean / least |\n|---|---|---|---|")
    for name, seconds in taken.items():
        cosine = (vectors[name] * reference).sum(1)
        wall, processor = len(texts) / np.median(seconds, axis=0)
        print(f"| {name} | {wall:.0f} | {processor:.0f} | {cosine.mean():.5f} / {cosine.min():.5f} |")


if __name__ == "__main__":
    sys.exit(main())
