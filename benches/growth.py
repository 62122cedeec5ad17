#!/usr/bin/env python3
"""How the box grows: the same measurements at rising numbers of vectors, and the plot of what each costs.

  growth.py run DIR --reference reference.npy [--sizes 10000,100000,1000000] [--index hnsw|ivf] [--out FILE]
  growth.py report FILE...

The vectors are those of search.py; each size has a folder of its own below DIR, and its vectors are kept there. The box is measured through its
own interface by benches/src/bin/scale. Set-up: pip install numpy matplotlib; cargo build --release --bin scale
"""
import argparse, json, os, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))


def run(a):
    with open(a.out, "a") as out:
        for n in map(int, a.sizes.split(",")):
            folder, box = f"{a.dir}/{n}", f"{a.dir}/{n}/box"
            if not os.path.exists(f"{folder}/truth.i64"):
                subprocess.run([sys.executable, f"{HERE}/search.py", "make", folder, "--n", str(n), "--reference", a.reference], check=True)
            shutil.rmtree(box, ignore_errors=True)
            done = subprocess.run([f"{HERE}/../target/release/scale", folder, box, "--index", a.index, "search"], stdout=subprocess.PIPE, check=True, text=True)
            for line in map(json.loads, done.stdout.splitlines()):
                text = json.dumps({"n": n, "index": a.index} | line)
                print(text, flush=True)
                out.write(text + "\n")
            shutil.rmtree(box)


def report(a):
    rows = [json.loads(l) for f in a.files for l in open(f)]
    kinds = list(dict.fromkeys(r["index"] for r in rows))
    table = []
    for kind in kinds:
        for n in sorted({r["n"] for r in rows if r["index"] == kind}):
            own = [r for r in rows if (r["index"], r["n"]) == (kind, n)]
            one = {r["measure"]: r for r in own if r["measure"] != "search"}

            def at(least):
                found = [r for r in own if r["measure"] == "search" and r["threads"] == 1 and "policy" not in r["setting"] and r["recall@10"] >= least]
                return min((r["p50_ms"] for r in found), default=None)
            table.append({"index": kind, "n": n, "recall ≥ 0.95, p50 ms": at(0.95), "recall ≥ 0.99, p50 ms": at(0.99),
                          "covered after s": one["covered"]["seconds_since_begin"], "rows/s durable": one["ingest"]["durable_rows_per_s"],
                          "memory MB": one["end"]["anonymous_mb"], "first answer after s": one["start"]["first_answer_s"],
                          "bytes a record": one["start"]["disk_bytes_per_record"]})
    columns = list(table[0])
    text = lambda x: f"{x:.3g}" if isinstance(x, float) and x < 1000 else "not reached" if x is None else f"{x:.0f}" if isinstance(x, float) else str(x)
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in table:
        print("| " + " | ".join(text(row[c]) for c in columns) + " |")
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    shown = columns[2:5] + columns[6:8]
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown), 4))
    for axis, column in zip(axes, shown):
        for kind in kinds:
            points = [(r["n"], r[column]) for r in table if r["index"] == kind and r[column] is not None]
            if points:
                axis.plot(*zip(*points), marker="o", label=kind)
        axis.set(title=column, xlabel="vectors", xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    figure.tight_layout()
    figure.savefig(a.plot)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(dest="command", required=True)
c = commands.add_parser("run"); c.add_argument("dir"); c.add_argument("--reference", required=True); c.add_argument("--sizes", default="10000,100000,1000000")
c.add_argument("--index", default="hnsw"); c.add_argument("--out", default="growth.jsonl")
c = commands.add_parser("report"); c.add_argument("files", nargs="+"); c.add_argument("--plot", default=os.path.join(HERE, "results/growth.svg"))
a = parser.parse_args()
{"run": run, "report": report}[a.command](a)
