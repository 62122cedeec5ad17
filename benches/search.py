#!/usr/bin/env python3
"""Nearest neighbours over n x 384 vectors: the box beside what a user would pick instead, in one run on one machine.

  search.py make DIR --n 1000000 --reference reference.npy   the vectors: base.f32 (n x 384), queries.f32 (1000 x 384), truth.i64 (1000 x 10)
  search.py run DIR [--engines membox,faiss-hnsw,...] [--scratch DIR] [--out FILE]
  search.py report FILE...                                    the table and the plot of benches/results

Vectors are blends of two real sentence vectors with noise, unit length; questions are blends that are not in the base. `--reference` is a NumPy
file of real sentence vectors (`membox embed --out reference.npy < lines.txt`). Each engine runs in a process of its own, one after the other:
build, resident memory, then 1000 questions one after the other from one thread and from two, for rising effort. The box is measured through its own
interface (benches/src/bin/scale), with its record fetched and every score exact; the others return ids.
Set-up: pip install numpy matplotlib faiss-cpu usearch lancedb qdrant-edge-py pgserver psycopg[binary]; cargo build --release --bin scale
"""
import argparse, json, os, shutil, subprocess, sys, threading, time

D, K = 384, 10
ENGINES = "membox,faiss-hnsw,membox-ivf,faiss-ivf,usearch,lancedb,qdrant,pgvector"
HERE = os.path.dirname(os.path.abspath(__file__))


def make(a):
    import numpy as np
    rng = np.random.default_rng(7)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    real = unit(np.load(a.reference).astype(np.float32))

    def blend(n):
        i, j = rng.integers(0, len(real), (2, n))
        w = rng.random((n, 1), dtype=np.float32) * 0.7
        noise = rng.standard_normal((n, D), dtype=np.float32) * (0.35 / np.sqrt(D))
        return unit((1 - w) * real[i] + w * real[j] + noise).astype(np.float32)
    os.makedirs(a.dir, exist_ok=True)
    with open(f"{a.dir}/base.f32", "wb") as f:
        for s in range(0, a.n, 100_000):
            blend(min(100_000, a.n - s)).tofile(f)
    q = blend(1000)
    q.tofile(f"{a.dir}/queries.f32")
    base = np.memmap(f"{a.dir}/base.f32", np.float32, "r").reshape(-1, D)
    scores, ids = np.zeros((1000, 0), np.float32), np.zeros((1000, 0), np.int64)
    for s in range(0, len(base), 100_000):
        block = q @ base[s:s + 100_000].T
        top = np.argpartition(-block, K, axis=1)[:, :K]
        scores = np.concatenate([scores, np.take_along_axis(block, top, 1)], 1)
        ids = np.concatenate([ids, top + s], 1)
        keep = np.argsort(-scores, axis=1)[:, :K]
        scores, ids = np.take_along_axis(scores, keep, 1), np.take_along_axis(ids, keep, 1)
    ids.tofile(f"{a.dir}/truth.i64")


def anonymous_mb():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024


class Run:
    """One engine's measurements."""

    def __init__(self, a, engine):
        import numpy as np
        self.a, self.engine = a, engine
        self.base = np.memmap(f"{a.dir}/base.f32", np.float32, "r").reshape(-1, D)
        self.q = np.fromfile(f"{a.dir}/queries.f32", np.float32).reshape(-1, D)
        self.truth = np.fromfile(f"{a.dir}/truth.i64", np.int64).reshape(-1, K).tolist()
        self.before = anonymous_mb()

    def built(self, seconds):
        print(json.dumps({"engine": self.engine, "n": len(self.base), "measure": "build", "seconds": round(seconds, 1),
                          "anonymous_mb": round(anonymous_mb() - self.before)}), flush=True)

    def measure(self, setting, find, threads=(1, 2)):
        """`find` gives the ids for one question; each thread gets one of its own."""
        for count in threads:
            found, times, lock, turn = [None] * len(self.q), [], threading.Lock(), iter(range(len(self.q)))

            def work(find):
                while True:
                    with lock:
                        i = next(turn, None)
                    if i is None:
                        return
                    begun = time.perf_counter()
                    ids = find(self.q[i])
                    times.append(time.perf_counter() - begun)
                    found[i] = set(map(int, ids))
            finds = [find() for _ in range(count)]
            finds[0](self.q[0])
            begun = time.perf_counter()
            workers = [threading.Thread(target=work, args=(f,)) for f in finds]
            [w.start() for w in workers]
            [w.join() for w in workers]
            seconds = time.perf_counter() - begun
            hits = sum(len(f & set(t)) for f, t in zip(found, self.truth)) / (K * len(self.q))
            times.sort()
            print(json.dumps({"engine": self.engine, "n": len(self.base), "measure": "search", "setting": setting, "threads": count,
                              "recall@10": round(hits, 4), "p50_ms": round(1e3 * times[len(times) // 2], 3),
                              "p99_ms": round(1e3 * times[int(len(times) * 0.99)], 3), "qps": round(len(self.q) / seconds, 1)}), flush=True)


def faiss_index(r, factory, knob, values):
    import faiss
    faiss.omp_set_num_threads(os.cpu_count())
    begun = time.perf_counter()
    index = faiss.index_factory(D, factory, faiss.METRIC_INNER_PRODUCT)
    if "HNSW" in factory:
        index.hnsw.efConstruction = 80  # as the box has it
    index.train(r.base[:: max(1, len(r.base) // 100_000)])
    for s in range(0, len(r.base), 100_000):
        index.add(r.base[s:s + 100_000])
    r.built(time.perf_counter() - begun)
    faiss.omp_set_num_threads(1)
    for v in values:
        faiss.ParameterSpace().set_index_parameter(index, knob, v)
        r.measure(f"{knob} {v}", lambda: lambda x: index.search(x[None], K)[1][0])


def engine_faiss_hnsw(r):
    faiss_index(r, "HNSW32,SQ8", "efSearch", (64, 128, 256, 512, 1024))


def engine_faiss_flat_hnsw(r):
    faiss_index(r, "HNSW32,Flat", "efSearch", (64, 128, 256, 512, 1024))


def engine_faiss_ivf(r):
    faiss_index(r, f"IVF{int(4 * len(r.base) ** 0.5)},SQ8", "nprobe", (2, 4, 8, 16, 32))


def engine_usearch(r):
    import numpy as np
    from usearch.index import Index
    begun = time.perf_counter()
    index = Index(ndim=D, metric="ip", dtype="f16", connectivity=32, expansion_add=80)
    index.add(np.arange(len(r.base)), np.ascontiguousarray(r.base), threads=os.cpu_count())
    r.built(time.perf_counter() - begun)
    for ef in (64, 128, 256, 512, 1024):
        index.expansion_search = ef
        r.measure(f"ef {ef}", lambda: lambda x: index.search(x, K, threads=1).keys)


def engine_lancedb(r):
    import lancedb, pyarrow as pa
    folder = f"{r.a.scratch}/lancedb"
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.perf_counter()
    db = lancedb.connect(folder)

    def batches():
        for s in range(0, len(r.base), 50_000):
            block = r.base[s:s + 50_000]
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), D)
            yield pa.RecordBatch.from_arrays([pa.array(range(s, s + len(block))), vectors], ["id", "vector"])
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), D))])
    table = db.create_table("t", data=batches(), schema=schema)
    table.create_index(metric="dot", vector_column_name="vector", index_type="IVF_HNSW_SQ", num_partitions=max(1, len(r.base) // 100_000), m=32, ef_construction=80)
    r.built(time.perf_counter() - begun)
    for nprobes, ef in ((2, 64), (4, 128), (10, 128), (10, 256)):
        search = lambda x: [row["id"] for row in table.search(x).metric("dot").nprobes(nprobes).ef(ef).refine_factor(2).select(["id"]).limit(K).to_list()]
        r.measure(f"nprobes {nprobes}, ef {ef}", lambda: search)


def engine_qdrant(r):
    import qdrant_edge as qe
    folder = f"{r.a.scratch}/qdrant"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    begun = time.perf_counter()
    graph = qe.HnswIndexConfig(m=32, ef_construct=80, full_scan_threshold=10_000, max_indexing_threads=os.cpu_count())
    config = qe.EdgeConfig(vectors={"": qe.EdgeVectorParams(size=D, distance=qe.Distance.Cosine)}, hnsw_config=graph)
    shard = qe.EdgeShard.create(folder, config)
    for s in range(0, len(r.base), 1000):
        points = [qe.Point(i, r.base[i].tolist(), {}) for i in range(s, min(len(r.base), s + 1000))]
        shard.update(qe.UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    r.built(time.perf_counter() - begun)
    for ef in (64, 128, 256, 512, 1024):
        params = qe.SearchParams(hnsw_ef=ef)
        search = lambda x: [p.id for p in shard.search(qe.SearchRequest(query=qe.Query.Nearest(x.tolist()), limit=K, params=params))]
        r.measure(f"ef {ef}", lambda: search)


def engine_pgvector(r):
    import pgserver, psycopg
    folder = f"{r.a.scratch}/pgvector"
    shutil.rmtree(folder, ignore_errors=True)
    server = pgserver.get_server(folder)
    begun = time.perf_counter()
    with psycopg.connect(server.get_uri(), autocommit=True) as c:
        c.execute("CREATE EXTENSION vector")
        c.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, v vector({D}))")
        with c.cursor().copy("COPY t FROM STDIN") as copy:
            for i, v in enumerate(r.base):
                copy.write_row((i, "[" + ",".join(f"{x:.6f}" for x in v) + "]"))
        c.execute("SET maintenance_work_mem = '4GB'")
        c.execute("CREATE INDEX ON t USING hnsw (v vector_ip_ops) WITH (m = 32, ef_construction = 80)")
        r.built(time.perf_counter() - begun)

    def connection(ef):
        c = psycopg.connect(server.get_uri(), autocommit=True)
        c.execute(f"SET hnsw.ef_search = {ef}")
        sql = f"SELECT id FROM t ORDER BY v <#> %s::vector LIMIT {K}"
        return lambda x: [row[0] for row in c.execute(sql, ("[" + ",".join(map(str, x.tolist())) + "]",), prepare=True)]
    for ef in (64, 128, 256, 512, 1000):
        r.measure(f"ef_search {ef}", lambda: connection(ef))
    server.cleanup()


def engine_membox(r, index="hnsw"):
    scale, data = os.path.join(HERE, "../target/release/scale"), f"{r.a.scratch}/membox-{index}"
    shutil.rmtree(data, ignore_errors=True)
    lines = subprocess.run([scale, r.a.dir, data, "--index", index, "search"], stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in map(json.loads, lines.splitlines()):
        if line["measure"] == "covered":
            print(json.dumps({"engine": r.engine, "n": len(r.base), "measure": "build", "seconds": round(line["seconds_since_begin"], 1)}), flush=True)
        else:
            print(json.dumps({"engine": r.engine, "n": len(r.base)} | line), flush=True)


def run(a):
    if a.engine:
        r = Run(a, a.engine)
        return engine_membox(r, "ivf") if a.engine == "membox-ivf" else globals()["engine_" + a.engine.replace("-", "_")](r)
    os.makedirs(a.scratch, exist_ok=True)
    with open(a.out, "a") as out:
        for engine in a.engines.split(","):
            command = [sys.executable, __file__, "run", a.dir, "--engine", engine, "--scratch", a.scratch]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            print(done.stdout, end="" if done.returncode == 0 else f"{engine} failed\n", flush=True)
            out.write(done.stdout)
            out.flush()


def report(a):
    rows = [json.loads(l) for f in a.files for l in open(f) if l.startswith("{")]
    engines = list(dict.fromkeys((r["engine"], r["n"]) for r in rows))
    print("| engine | vectors | built in s | recall@10 ≥ 0.95: p50, p99 ms, q/s on 1 and 2 threads | ≥ 0.99 |\n|---|---|---|---|---|")
    for engine, n in engines:
        own = [r for r in rows if (r["engine"], r["n"]) == (engine, n)]
        build = next((r["seconds"] for r in own if r["measure"] == "build"), "")

        def best(least):
            at = lambda t: [r for r in own if r["measure"] == "search" and r["threads"] == t and r["recall@10"] >= least and "policy" not in r["setting"]]
            one = min(at(1), key=lambda r: r["p50_ms"], default=None)
            two = next((r for r in at(2) if one and r["setting"] == one["setting"]), None)
            if not one:
                return "not reached"
            return f"{one['recall@10']:.3f}: {one['p50_ms']:.2f}, {one['p99_ms']:.2f}, {one['qps']:.0f}" + (f" and {two['qps']:.0f}" if two else "") + f" ({one['setting']})"
        print(f"| {engine} | {n} | {build} | {best(0.95)} | {best(0.99)} |")
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    sizes = sorted({n for _, n in engines})
    figure, axes = plt.subplots(1, len(sizes), figsize=(7 * len(sizes), 5), squeeze=False)
    for axis, n in zip(axes[0], sizes):
        for engine in [e for e, m in engines if m == n]:
            own = sorted(((r["recall@10"], r["p50_ms"]) for r in rows if (r["engine"], r["n"]) == (engine, n) and r["measure"] == "search"
                          and r["threads"] == 1 and "policy" not in r["setting"]))
            if own:
                axis.plot(*zip(*own), marker="o", label=engine, linewidth=2.5 if engine.startswith("membox") else 1.2)
        axis.set(title=f"{n:,} vectors of 384, one question after the other, one thread", xlabel="recall@10", ylabel="p50, ms", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(a.plot)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(dest="command", required=True)
c = commands.add_parser("make"); c.add_argument("dir"); c.add_argument("--n", type=int, default=1_000_000); c.add_argument("--reference", required=True)
c = commands.add_parser("run"); c.add_argument("dir"); c.add_argument("--engine"); c.add_argument("--scratch", default="/tmp/membox-search")
c.add_argument("--engines", default=ENGINES); c.add_argument("--out", default="search.jsonl")
c = commands.add_parser("report"); c.add_argument("files", nargs="+"); c.add_argument("--plot", default=os.path.join(HERE, "results/search.svg"))
a = parser.parse_args()
{"make": make, "run": run, "report": report}[a.command](a)
