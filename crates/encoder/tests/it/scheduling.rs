//! Lanes, limits, cancellation and shutdown of the scheduler, on the real model.

use crate::common::real_model;
use membox_encoder::{
    Embeddings, Encoder, EncoderConfig, EncoderError, Inputs, Lane, QueryEmbedding, QueryTokens, Request, Scheduler,
    SchedulerConfig, Wanted,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

fn encoder(scheduler: SchedulerConfig) -> Encoder {
    let scheduler = Arc::new(Scheduler::start(scheduler).expect("threads"));
    Encoder::load("all-MiniLM-L6-v2", &real_model(), EncoderConfig::default(), &scheduler).expect("an encoder")
}

fn one_worker() -> SchedulerConfig {
    SchedulerConfig { workers: 1, tokenizers: 1, ..SchedulerConfig::default() }
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("text number {i}, about nothing in particular but of a certain length")).collect()
}

fn request(inputs: Inputs, lane: Lane) -> Request {
    Request { inputs, max_tokens: 256, wanted: Wanted::vectors(true), lane }
}

#[test]
fn answers_come_in_the_order_of_the_inputs() {
    let encoder = encoder(SchedulerConfig::default());
    let all = encoder.embed(texts(300), Lane::Bulk).expect("vectors");
    for i in [0, 17, 299] {
        let one = encoder.embed(vec![texts(300)[i].clone()], Lane::Interactive).expect("a vector");
        let dot: f32 = one.vectors.iter().zip(all.rows().nth(i).expect("a row")).map(|(a, b)| a * b).sum();
        assert!(dot > 0.9999, "input {i}: {dot}");
    }
    assert_eq!(encoder.embed(Vec::new(), Lane::Bulk).expect("nothing").rows().len(), 0);
}

#[test]
fn a_query_overtakes_a_bulk_request_on_a_single_worker() {
    let encoder = encoder(one_worker());
    let (sender, receiver) = channel();
    let bulk = sender.clone();
    let reply = move |answer: Result<Embeddings, EncoderError>| _ = bulk.send(("bulk", answer.is_ok()));
    let _pending = encoder.submit(request(Inputs::Texts(texts(800)), Lane::Bulk), Box::new(reply)).expect("room");
    let reply = move |answer: Result<Embeddings, EncoderError>| _ = sender.send(("query", answer.is_ok()));
    let query = Inputs::Texts(vec!["where are the keys?".into()]);
    let _pending_query = encoder.submit(request(query, Lane::Interactive), Box::new(reply)).expect("room");
    let order: Vec<(&str, bool)> = receiver.iter().take(2).collect();
    assert_eq!(order, [("query", true), ("bulk", true)]);
}

#[test]
fn a_full_lane_refuses_and_says_when_to_come_back_while_the_other_still_answers() {
    let encoder = encoder(SchedulerConfig { bulk_bytes: 20_000, ..one_worker() });
    let mut pending = Vec::new();
    let refused =
        (0..50).find_map(|_| match encoder.submit(request(Inputs::Texts(texts(100)), Lane::Bulk), Box::new(|_| ())) {
            Ok(p) => {
                pending.push(p);
                None
            }
            Err(error) => Some(error),
        });
    assert!(matches!(refused, Some(EncoderError::Overloaded { retry_after_s: 1.. })), "{refused:?}");
    assert!(encoder.embed(vec!["a query".into()], Lane::Interactive).is_ok());
    assert_eq!(encoder.scheduler().counters().refused.load(Ordering::Relaxed), 1);
}

#[test]
fn what_nobody_waits_for_is_skipped() {
    let encoder = encoder(one_worker());
    let (sender, receiver) = channel();
    let reply = move |answer: Result<Embeddings, EncoderError>| _ = sender.send(answer.is_err());
    let pending = encoder.submit(request(Inputs::Texts(texts(2000)), Lane::Bulk), Box::new(reply)).expect("room");
    drop(pending);
    assert_eq!(receiver.recv(), Ok(true), "the answer says that it was cancelled");
    let counters = encoder.scheduler().counters();
    assert!(counters.cancelled.load(Ordering::Relaxed) > 1000);
    assert!(encoder.embed(texts(1), Lane::Bulk).is_ok(), "and the room is given back");
}

#[test]
fn shutdown_finishes_what_was_accepted() {
    let encoder = encoder(SchedulerConfig::default());
    let (sender, receiver) = channel();
    let pending: Vec<_> = (0..5)
        .map(|_| {
            let sender = sender.clone();
            let reply = move |answer: Result<Embeddings, EncoderError>| _ = sender.send(answer.map(|a| a.rows().len()));
            encoder.submit(request(Inputs::Texts(texts(100)), Lane::Bulk), Box::new(reply)).expect("room")
        })
        .collect();
    drop(sender);
    drop(encoder);
    let answers: Vec<_> = receiver.iter().map(|a| a.expect("an answer")).collect();
    assert_eq!(answers, [100; 5]);
    drop(pending);
}

#[test]
fn tokens_that_the_model_does_not_know_are_refused_by_their_place() {
    let encoder = encoder(one_worker());
    let refusal = |sequences| match encoder.encode(request(Inputs::Tokens(sequences), Lane::Bulk)) {
        Err(EncoderError::BadTokens { input, reason }) => (input, reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(vec![vec![101, 102], vec![]]).0, 1);
    assert!(refusal(vec![vec![40_000]]).1.contains("40000"));
    assert!(refusal(vec![vec![1; 513]]).1.contains("513"));
    let by_tokens =
        encoder.encode(request(Inputs::Tokens(vec![vec![101, 7592, 2088, 102]]), Lane::Bulk)).expect("a vector");
    let by_text = encoder.embed(vec!["hello world".into()], Lane::Bulk).expect("a vector");
    assert_eq!(by_tokens.vectors, by_text.vectors);
}

#[test]
fn queries_are_remembered_for_each_scope_apart() {
    let encoder = encoder(SchedulerConfig::default());
    let plain = QueryEmbedding { vector: vec![1.0].into(), tokens: None, known_share: 1.0 };
    encoder.cache_query("a", "q", plain.clone());
    assert_eq!(encoder.cached_query("a", "q", None), Some(plain.clone()));
    assert_eq!(encoder.cached_query("b", "q", None), None);
    assert_eq!(encoder.cached_query("a", "q", Some(48)), None, "it has no token vectors");
    let tokens = QueryTokens { dimension: 48, vectors: vec![0.0; 96], places: vec![0..1, 1..2], known: vec![true; 2] };
    let whole = QueryEmbedding { tokens: Some(Arc::new(tokens)), ..plain };
    encoder.cache_query("a", "q", whole.clone());
    assert_eq!(encoder.cached_query("a", "q", None), Some(whole.clone()));
    assert_eq!(encoder.cached_query("a", "q", Some(48)), Some(whole));
    assert_eq!(encoder.cached_query("a", "q", Some(32)), None, "it has others");
    encoder.forget_queries("a");
    assert_eq!(encoder.cached_query("a", "q", None), None);
    assert_eq!(encoder.cache_counts(), (3, 4));
}
