//! The box at its real size, measured through its own interface: one JSON line a measurement.
//!
//! ```text
//! scale DIR DATA [--index hnsw|ivf] [--effort N] [--corpus FILE] [--minutes N] [PHASE…]
//! ```
//!
//! Writes the vectors of DIR (`base.f32`, n × 384) into a box over the folder DATA if they are not there yet.
//! `queries.f32` (q × 384) is what is asked, and `truth.i64` (q × 10) what an exact search finds. With a corpus (a
//! file of real lines) each record has a text as well: a random walk over the corpus's pairs of words, as long as one
//! of its lines. What `--effort` gives, a beam or lists, is that of the filters. Phases: `search`, `serve`,
//! `filters`, `texts` (with the real model), `users` (10 000 small collections), `churn`; the first three when none
//! is named. Alone: `load`, whose server is a process of its own, started as `server`.

mod churn;
mod corpus;
mod http;
mod load;
mod users;
mod vectors;

use membox_memory::{IndexPolicy, MemoryBox, MemoryConfig, Models, RecallMode, RecallRequest, SearchEffort};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const DIMENSION: usize = 384;
const TENANT: &str = "default";
const COLLECTION: &str = "scale";

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn print(measured: Value) {
    println!("{measured}");
}

/// Memory of this process that is not backed by files, in MB.
fn anonymous_mb() -> f64 {
    anonymous_mb_of(std::process::id())
}

fn anonymous_mb_of(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.metadata().map_or(0, |m| if m.is_dir() { disk_bytes(&e.path()) } else { m.len() })).sum()
}

fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share) as usize]
}

struct Data {
    folder: PathBuf,
    queries: Vec<Vec<f32>>,
    truth: Vec<Vec<u64>>,
}

impl Data {
    fn read(folder: &Path) -> Self {
        let queries = floats(&folder.join("queries.f32")).chunks(DIMENSION).map(<[f32]>::to_vec).collect();
        let truth = std::fs::read(folder.join("truth.i64")).expect("truth.i64");
        let truth: Vec<u64> = truth.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        Self { folder: folder.to_owned(), queries, truth: truth.chunks(10).map(<[u64]>::to_vec).collect() }
    }

    fn rows(&self) -> usize {
        std::fs::metadata(self.folder.join("base.f32")).map_or(0, |m| m.len() as usize) / DIMENSION / 4
    }

    /// Share of the true ten that are among the hits.
    fn recall(&self, found: &[Vec<u64>]) -> f64 {
        let hits = found.iter().zip(&self.truth).map(|(f, t)| t.iter().filter(|id| f.contains(id)).count());
        hits.sum::<usize>() as f64 / (10 * found.len()) as f64
    }
}

fn request(vector: &[f32], effort: SearchEffort, filter: Option<Value>) -> RecallRequest {
    RecallRequest {
        vector: Some(vector.to_vec()),
        mode: Some(RecallMode::Vector),
        effort: Some(effort),
        filter,
        include: Vec::new(),
        ..RecallRequest::default()
    }
}

fn ids(answer: &membox_memory::RecallAnswer) -> Vec<u64> {
    answer.hits.iter().map(|h| h.id.parse().unwrap_or(u64::MAX)).collect()
}

/// What is asked for on the command line.
struct Arguments {
    data: Data,
    root: PathBuf,
    index: IndexPolicy,
    effort: SearchEffort,
    corpus: Option<corpus::Corpus>,
    minutes: u64,
    phases: Vec<String>,
}

impl Arguments {
    fn read() -> Option<Self> {
        let mut args = std::env::args().skip(1);
        let (folder, root) = (args.next()?, args.next()?);
        let data = Data::read(folder.as_ref());
        let (root, index) = (root.into(), IndexPolicy::Auto);
        let effort = SearchEffort::default();
        let mut read = Self { data, root, index, effort, corpus: None, minutes: 10, phases: Vec::new() };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--index" if args.next()? == "ivf" => read.index = IndexPolicy::Ivf { nlist: 0, nprobe: 32 },
                "--index" => {}
                "--effort" => {
                    let of_either = Some(args.next()?.parse().ok()?);
                    read.effort = SearchEffort { ef_search: of_either, nprobe: of_either, ..read.effort };
                }
                "--corpus" => read.corpus = Some(corpus::Corpus::read(args.next()?.as_ref())),
                "--minutes" => read.minutes = args.next()?.parse().ok()?,
                phase => read.phases.push(phase.to_owned()),
            }
        }
        if read.phases.is_empty() {
            read.phases = ["search", "serve", "filters"].map(str::to_owned).into();
        }
        Some(read)
    }
}

/// The real model, for texts.
fn models() -> Models {
    use membox_memory::encoder::{Encoder, EncoderConfig, Scheduler, SchedulerConfig};
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let (folder, config) = (membox_benches::model(), EncoderConfig::default());
    let encoder = Encoder::load("all-MiniLM-L6-v2", &folder, config, &scheduler).expect("a model");
    Models { encoder: Some(Arc::new(encoder)), ..Models::default() }
}

fn open(root: &Path, models: Models) -> Arc<MemoryBox> {
    Arc::new(MemoryBox::open(&MemoryConfig::new(root), models).expect("a box"))
}

fn main() {
    let Some(Arguments { data, root, index, effort, corpus, minutes, phases }) = Arguments::read() else {
        eprintln!(
            "scale DIR DATA [--index hnsw|ivf] [--effort N] [--corpus FILE] [--minutes N] \
             [search|serve|filters|texts|users|churn|load]…"
        );
        #[expect(clippy::disallowed_methods, reason = "nothing has begun that could be broken off")]
        std::process::exit(2);
    };
    if phases == ["users"] {
        return users::measure(&root, &data);
    }
    let needs_model = corpus.is_some() || phases.iter().any(|p| ["texts", "load", "server"].contains(&p.as_str()));
    let models = if needs_model { models() } else { Models::default() };
    let memory = open(&root, models.clone());
    if memory.collections().collection(TENANT, COLLECTION).is_err() {
        vectors::ingest(&memory, &data, index, corpus.as_ref());
    }
    drop(memory);
    if phases == ["load"] {
        return load::measure(&data, &root, minutes);
    }
    let begun = Instant::now();
    let memory = open(&root, models);
    if phases == ["server"] {
        return http::serve_until_input_ends(&memory);
    }
    let opened = begun.elapsed().as_secs_f64();
    memory.recall(TENANT, COLLECTION, &request(&data.queries[0], SearchEffort::default(), None)).expect("an answer");
    print(json!({"measure": "start", "open_s": opened, "first_answer_s": begun.elapsed().as_secs_f64(),
        "anonymous_mb": anonymous_mb(),
        "disk_bytes_per_record": disk_bytes(&root) as f64 / data.rows() as f64}));
    for phase in phases {
        match phase.as_str() {
            "search" => vectors::sweep(&memory, &data, matches!(index, IndexPolicy::Ivf { .. })),
            "serve" => http::serve(&memory, &data),
            "filters" => vectors::filters(&memory, &data, effort),
            "texts" => corpus::recall(&memory, corpus.as_ref().expect("--corpus")),
            "churn" => churn::measure(&memory, &data, &root, minutes),
            unknown => eprintln!("{unknown} is no phase"),
        }
    }
    print(json!({"measure": "end", "anonymous_mb": anonymous_mb()}));
}
