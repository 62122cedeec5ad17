//! What a panic in a tokenizer, an engine or its helpers takes with it: the requests that met it, and nothing else.

use crate::engine::{Engine, Outputs, PackedBatch, Session};
use crate::request::{Inputs, Request, Wanted};
use crate::scheduler::{Model, Scheduler, SchedulerConfig};
use crate::{EncoderError, Lane, Tokenizer};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// A text at which the tokenizer panics in tests.
pub const BREAKS_TOKENIZER: &str = "a text that breaks the tokenizer";
/// Tokens at which the engine panics, on its own thread and on a helper's.
const BREAKS_ENGINE: u32 = 8;
const BREAKS_HELPER: u32 = 9;

struct Breaking;

impl Engine for Breaking {
    fn name(&self) -> String {
        "breaking".to_owned()
    }

    fn dimension(&self) -> usize {
        2
    }

    fn max_sequence(&self) -> usize {
        16
    }

    fn vocabulary(&self) -> usize {
        10
    }

    fn has_keep_head(&self) -> bool {
        false
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        Box::new(Self)
    }

    fn urgent_session(self: Arc<Self>) -> Box<dyn Session> {
        self.session()
    }
}

impl Session for Breaking {
    fn run(&mut self, batch: &PackedBatch, outputs: Outputs<'_>, _helpers: usize, pause: &mut (dyn FnMut() + Send)) {
        if let Some(vectors) = outputs.vectors {
            vectors.fill(1.0);
        }
        pause();
        assert!(!batch.ids().contains(&BREAKS_ENGINE), "as it should");
        rayon::scope(|scope| scope.spawn(|_| assert!(!batch.ids().contains(&BREAKS_HELPER), "as it should")));
    }
}

fn scheduler(workers: usize) -> (Scheduler, Arc<Model>) {
    let folder = tempfile::tempdir().expect("a folder");
    let words = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"unknown": 0, "one": 1, "two": 2}, "unk_token": "unknown"}}"#;
    std::fs::write(folder.path().join("tokenizer.json"), words).expect("a file");
    let tokenizer = Tokenizer::load(folder.path()).expect("a tokenizer");
    // Room for one request alone: what is not given back after a panic is missed by the next.
    let config = SchedulerConfig { workers, tokenizers: 1, interactive_bytes: 1, bulk_bytes: 1, ..Default::default() };
    let head = crate::VectorHead::default();
    (
        Scheduler::start(config).expect("threads"),
        Arc::new(Model { engine: Arc::new(Breaking), tokenizer, axes: None, head }),
    )
}

fn ask(scheduler: &Scheduler, model: &Arc<Model>, inputs: Inputs, lane: Lane) -> Result<Vec<f32>, EncoderError> {
    let (sender, receiver) = channel();
    let request = Request { inputs, max_tokens: 16, wanted: Wanted::vectors(false), lane };
    let _pending = scheduler.submit(model, request, Box::new(move |answer| drop(sender.send(answer))))?;
    let answer = receiver.recv_timeout(Duration::from_secs(20)).expect("an answer, whatever it is");
    answer.map(|answer| answer.vectors)
}

fn tokens(ids: &[&[u32]]) -> Inputs {
    Inputs::Tokens(ids.iter().map(|ids| ids.to_vec()).collect())
}

#[test]
fn a_panic_of_an_engine_or_its_helper_fails_its_requests_and_the_thread_goes_on() {
    let (scheduler, model) = scheduler(1);
    for lane in Lane::ALL {
        for token in [BREAKS_ENGINE, BREAKS_HELPER] {
            let broken = ask(&scheduler, &model, tokens(&[&[1], &[token, 2], &[3]]), lane);
            assert!(matches!(broken, Err(EncoderError::Panicked(_))), "{broken:?}");
            // The one thread that there is answers, and there is room.
            let sound = ask(&scheduler, &model, tokens(&[&[1, 2]]), lane).expect("vectors");
            assert_eq!(sound, [1.0, 1.0]);
        }
    }
}

#[test]
fn a_request_of_many_batches_is_answered_once_and_what_is_left_of_it_is_skipped() {
    let (scheduler, model) = scheduler(2);
    let long: Vec<Vec<u32>> = (0..400).map(|i| vec![if i % 100 == 50 { BREAKS_ENGINE } else { 1 }; 16]).collect();
    for _ in 0..20 {
        let broken = ask(&scheduler, &model, Inputs::Tokens(long.clone()), Lane::Bulk);
        assert!(matches!(broken, Err(EncoderError::Panicked(_))), "{broken:?}");
        assert!(ask(&scheduler, &model, tokens(&[&[1]]), Lane::Bulk).is_ok());
    }
}

#[test]
fn a_query_that_panics_between_the_layers_of_a_bulk_batch_leaves_that_alone() {
    let (scheduler, model) = scheduler(1);
    std::thread::scope(|scope| {
        let bulk = scope.spawn(|| {
            (0..200).all(|_| ask(&scheduler, &model, Inputs::Tokens(vec![vec![1; 16]; 200]), Lane::Bulk).is_ok())
        });
        while !bulk.is_finished() {
            let broken = ask(&scheduler, &model, tokens(&[&[BREAKS_ENGINE]]), Lane::Interactive);
            assert!(matches!(broken, Err(EncoderError::Panicked(_))), "{broken:?}");
        }
        assert!(bulk.join().expect("a thread"));
    });
}

#[test]
fn a_panic_of_the_tokenizer_fails_its_request_and_the_thread_goes_on() {
    let (scheduler, model) = scheduler(1);
    let texts = |texts: &[&str]| Inputs::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
    for _ in 0..3 {
        let broken = ask(&scheduler, &model, texts(&["one", BREAKS_TOKENIZER, "two"]), Lane::Bulk);
        assert!(matches!(broken, Err(EncoderError::Panicked(_))), "{broken:?}");
        assert_eq!(ask(&scheduler, &model, texts(&["one two", "two"]), Lane::Bulk).expect("vectors"), [1.0; 4]);
    }
}
