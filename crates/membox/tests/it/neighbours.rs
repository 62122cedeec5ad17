//! Hostile neighbours: one tenant sends the most expensive bodies that a box takes, to every route, while another one
//! recalls, writes and embeds. Nothing of the other's is refused or lost, memory stays under its bound, and the box
//! recovers.
//!
//! The bound is what the box has before, the memory of requests (`request_memory_mib`), and [`OVERHEAD_BYTES`] for what
//! is counted to no request: threads, buffers of connections and models, and what the allocator keeps.
//!
//! Times are printed and not judged: machines differ. `make neighbours` makes each attack for as long as
//! MEMBOX_NEIGHBOURS_SECONDS says, and writes a table into MEMBOX_NEIGHBOURS_OUT.

mod attacks;
mod client;

use crate::common::{Server, data_with_model};
use attacks::{Attack, Pace, ROUTES_OF_NO_COST, attacks};
use client::{Request, ask, leave_unread};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SETTINGS: &str = r#"
request_memory_mib = 512
[[keys]]
key = "key-of-the-attacker"
tenant = "attacker"
[[keys]]
key = "key-of-the-victim"
tenant = "victim"
"#;
const REQUEST_MEMORY_BYTES: u64 = 512 << 20;
const OVERHEAD_BYTES: u64 = 512 << 20;
/// Requests of the attacker at the same time, and how many in the short form.
const ATTACKERS: usize = 16;
const FEW_ATTACKERS: usize = 4;
/// How long the other tenant waits between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// What a request of the other tenant may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub const ATTACKER: &str = "key-of-the-attacker";
const VICTIM: &str = "key-of-the-victim";

/// Times of the other tenant's requests of one kind, and what was not answered with 200.
#[derive(Default)]
struct Served {
    times: Vec<Duration>,
    wrong: Vec<String>,
}

impl Served {
    /// The time that so many of a hundred requests took at most.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.times.sort();
        let last = self.times.len().saturating_sub(1);
        self.times.get((self.times.len() * percent / 100).min(last)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// What came of one attack.
struct Report {
    attack: &'static str,
    /// The attacker's requests by their statuses; 0 for those without an answer.
    statuses: BTreeMap<u16, usize>,
    served: BTreeMap<&'static str, Served>,
    peak_bytes: u64,
}

/// What the other tenant asks, by what it is called in the table.
const OF_THE_VICTIM: [(&str, &str); 3] =
    [("recall", "/v1/collections/c/recall"), ("write", "/v1/collections/c/records"), ("embed", "/v1/embeddings")];

fn victims_request(kind: &str, path: &str, n: usize) -> Request {
    let body = match kind {
        "recall" => json!({"query": format!("what was said about plan {} in the blue room?", n % 50), "k": 5}),
        "write" => json!({"records": [{"id": format!("w{}", n % 500), "text": format!("Lena has seen plan {n}.")}]}),
        _ => json!({"input": format!("a sentence, and number {n} of them")}),
    };
    Request::json("POST", path, VICTIM, &body)
}

/// The memory of a process that belongs to no file.
fn anonymous_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(0, |kib: u64| kib << 10)
}

/// Makes an attack for a while, and serves the other tenant meanwhile.
fn attack(server: &Server, attack: &Attack, attackers: usize, time: Duration) -> Report {
    let address = server.url.trim_start_matches("http://");
    let (is_over, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (peak, statuses) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let mut served = BTreeMap::new();
    std::thread::scope(|scope| {
        let attacker = || {
            let mut unread = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let request = (attack.request)(next.fetch_add(1, Ordering::Relaxed));
                let status = match attack.pace {
                    Pace::Read => ask(address, &request, PATIENCE).0,
                    Pace::Leave => {
                        unread.extend(leave_unread(address, &request));
                        // As many as a client can have open.
                        std::thread::sleep(Duration::from_millis(if unread.len() < 16 { 20 } else { 200 }));
                        0
                    }
                    Pace::HangUp => {
                        let left = leave_unread(address, &request);
                        std::thread::sleep(Duration::from_millis(50));
                        drop(left);
                        0
                    }
                };
                *statuses.lock().expect("a lock").entry(status).or_insert(0) += 1;
            }
        };
        (0..attackers).for_each(|_| drop(scope.spawn(attacker)));
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes(server.child.id()), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let is_over = &is_over;
        let serve = |(kind, path): (&'static str, &'static str)| {
            scope.spawn(move || {
                let mut served = Served::default();
                for n in 0.. {
                    // One is asked at least, however long others take.
                    if n > 0 && is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let begun = Instant::now();
                    let (status, text) = ask(address, &victims_request(kind, path, n), PATIENCE);
                    served.times.push(begun.elapsed());
                    if status != 200 {
                        served.wrong.push(format!("{kind}: {status} {text}"));
                    }
                    std::thread::sleep(PAUSE);
                }
                (kind, served)
            })
        };
        let victims: Vec<_> = OF_THE_VICTIM.into_iter().map(serve).collect();
        std::thread::sleep(time);
        is_over.store(true, Ordering::Relaxed);
        served.extend(victims.into_iter().map(|thread| thread.join().expect("its times")));
    });
    let statuses = statuses.into_inner().expect("a lock");
    Report { attack: attack.name, statuses, served, peak_bytes: peak.into_inner() }
}

/// What both tenants have before.
fn fill(server: &Server, records: usize) {
    let call = |key: &str, method: &str, path: &str, body: &Value| {
        let (status, text) =
            ask(server.url.trim_start_matches("http://"), &Request::json(method, path, key, body), PATIENCE);
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
    };
    for (key, name) in [(ATTACKER, "big"), (VICTIM, "c")] {
        call(key, "PUT", &format!("/v1/collections/{name}"), &json!({}));
    }
    for batch in 0..records / 500 {
        let record = |n: usize| {
            let vector: Vec<f32> = (0..384).map(|d| ((n * 31 + d * 7) as f32 * 0.37).sin()).collect();
            let text = format!("note {n} of the meeting in the blue room about plan {} and its costs", n % 97);
            json!({"id": format!("r{n}"), "text": text, "vector": vector, "user": "u", "metadata": {"n": n}})
        };
        let records: Vec<Value> = (batch * 500..(batch + 1) * 500).map(record).collect();
        call(ATTACKER, "POST", "/v1/collections/big/records", &json!({ "records": records }));
    }
    let note = |n: usize| json!({"id": format!("v{n}"), "text": format!("plan {n} was discussed in the blue room")});
    call(VICTIM, "POST", "/v1/collections/c/records", &json!({"records": (0..200).map(note).collect::<Vec<_>>()}));
    let message = |n: usize| json!({"role": "user", "content": format!("message {n} about the harbour and its boats")});
    for _ in 0..4 {
        let messages: Vec<Value> = (0..250).map(message).collect();
        call(ATTACKER, "POST", "/v1/sessions/s/messages", &json!({"user": "u", "messages": messages}));
    }
    let state = json!({"state": "x".repeat(1_000_000)});
    (0..20).for_each(|n| call(ATTACKER, "PUT", &format!("/v1/threads/t/checkpoints/c{n}"), &state));
}

fn table(reports: &mut [Report], before: u64, alone: &mut Report) -> String {
    let mut text = String::from(
        "| one tenant sends | answers | recall p50 / p99, ms | write p50 / p99, ms | embedding p50 / p99, ms \
         | memory, MB |\n\
         |---|---|---|---|---|---|\n",
    );
    for report in std::iter::once(alone).chain(reports) {
        let answers: Vec<String> =
            report.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        let answers = answers.join(", ").replace("× 0", "left");
        let _ = write!(text, "| {} | {answers} ", report.attack);
        for (kind, _) in OF_THE_VICTIM {
            let served = report.served.get_mut(kind).expect("its times");
            let _ = write!(text, "| {:.1} / {:.1} ", served.percentile(50), served.percentile(99));
        }
        let _ = writeln!(text, "| {} |", report.peak_bytes >> 20);
    }
    let bound = (before + REQUEST_MEMORY_BYTES + OVERHEAD_BYTES) >> 20;
    let _ = writeln!(text, "\nMemory before: {} MB. The bound: {bound} MB.", before >> 20);
    text
}

#[test]
fn whatever_one_tenant_sends_another_is_served_and_memory_stays_under_its_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("membox.toml"), SETTINGS).expect("settings");
    let data = data_with_model(folder.path());
    let seconds = std::env::var("MEMBOX_NEIGHBOURS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(0.3));
    let (attackers, records) = if seconds.is_some() { (ATTACKERS, 40_000) } else { (FEW_ATTACKERS, 5_000) };
    let server = Server::start(&data, &[]);
    fill(&server, records);
    let nothing =
        Attack { name: "nothing", routes: &[], pace: Pace::HangUp, request: Box::new(|_| Request::nothing()) };
    let mut alone = attack(&server, &nothing, attackers, time.max(Duration::from_secs(1)));
    let before = anonymous_bytes(server.child.id());
    let only = std::env::var("MEMBOX_NEIGHBOURS_ONLY").unwrap_or_default();
    let mut reports = Vec::new();
    for next in attacks().iter().filter(|attack| attack.name.contains(&only)) {
        let mut report = attack(&server, next, attackers, time);
        println!("{}", table(std::slice::from_mut(&mut report), before, &mut alone).lines().nth(3).unwrap_or_default());
        reports.push(report);
    }
    let after = attack(&server, &nothing, attackers, Duration::from_secs(1));
    reports.push(Report { attack: "nothing any more", ..after });
    let table = table(&mut reports, before, &mut alone);
    println!("{table}");
    if let Some(path) = std::env::var_os("MEMBOX_NEIGHBOURS_OUT") {
        std::fs::write(path, table).expect("a file");
    }
    for report in &reports {
        for served in report.served.values() {
            assert!(served.wrong.is_empty(), "beside {}: {:?}", report.attack, served.wrong);
        }
        let bound = before + REQUEST_MEMORY_BYTES + OVERHEAD_BYTES;
        assert!(report.peak_bytes < bound, "{}: {} bytes are over {bound}", report.attack, report.peak_bytes);
    }
    server.stop();
}

/// Whoever adds a route says what is expensive about it.
#[test]
fn every_route_is_part_of_an_attack_or_costs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let (_, document) = server.call("GET", "/openapi.json", &Value::Null);
    let paths = document["paths"].as_object().expect("paths");
    let there: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flat_map(|item| item.keys());
            methods.filter(|key| *key != "parameters").map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let attacks = attacks();
    let tried =
        attacks.iter().flat_map(|attack| attack.routes).chain(&ROUTES_OF_NO_COST).map(|route| (*route).to_owned());
    assert_eq!(there, tried.collect());
    server.stop();
}
