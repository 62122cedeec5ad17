//! What a panic of a job takes with it, and who hears of it. What it is with the store's own threads is tested there.

use std::time::{Duration, Instant};

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_that_panics_has_failed_and_holds_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = crate::MemoryConfig::new(folder.path());
    let memory = std::sync::Arc::new(crate::MemoryBox::open(&config, crate::Models::default()).expect("a box"));
    let settings = crate::CollectionSettings { dimension: Some(2), ..Default::default() };
    memory.collections().create_collection("t", "c", &settings).expect("a collection");
    let id = memory.begin_to_panic("t", "c").expect("a job").id;
    let state = || memory.jobs().view("t", &id).expect("the job");
    wait_until("the job ends", || !["queued", "running"].contains(&state().state.as_str()));
    assert_eq!(state().state, "failed");
    assert!(state().error.expect("a reason").contains("as it should"));
    let next = memory.rebuild("t", "c").expect("another job can begin").id;
    wait_until("it ends", || memory.jobs().view("t", &next).expect("the job").state == "done");
}
