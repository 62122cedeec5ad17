//! Token vectors are what their definition says, and what else a pass gives is the same with them.

use crate::common::{Shape, real_model, write_model};
use membox_encoder::{
    DEFAULT_MAX_TOKENS, DocumentEmbedding, Encoder, EncoderConfig, EncoderError, Inputs, Lane, Precision, Request,
    Scheduler, SchedulerConfig, TOKEN_DIMENSIONS, TokenAxes, Tokenizer, Wanted,
};
use std::path::Path;
use std::sync::Arc;

fn encoder_of(folder: &Path, precision: Precision) -> Result<Encoder, EncoderError> {
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    Encoder::load("all-MiniLM-L6-v2", folder, EncoderConfig { precision, ..EncoderConfig::default() }, &scheduler)
}

fn encoder(precision: Precision) -> Encoder {
    encoder_of(&real_model(), precision).expect("an encoder")
}

fn texts() -> Vec<String> {
    let long = "the quick brown fox jumps over the lazy dog ".repeat(40);
    ["Where did we park?", "a", "我们昨天在公园里见面了。", "Lena's train is late: 12:40, platform 3.", "", &long]
        .map(str::to_owned)
        .to_vec()
}

fn encode(encoder: &Encoder, wanted: Wanted) -> membox_encoder::Embeddings {
    let (inputs, max_tokens) = (Inputs::Texts(texts()), DEFAULT_MAX_TOKENS);
    encoder.encode(Request { inputs, max_tokens, wanted, lane: Lane::Bulk }).expect("an answer")
}

fn cosine(a: &[f64], b: &[f32]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(x, y)| x * f64::from(*y)).sum();
    let norms = a.iter().map(|x| x * x).sum::<f64>() * b.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    dot / norms.sqrt()
}

/// `(s / |s| − mean) · axes` of the states of a sequence but for its first and last, in f64.
fn by_definition(axes: &TokenAxes, states: &[f32], dimension: usize) -> Vec<Vec<f64>> {
    let hidden = axes.hidden();
    let inner = states[hidden..states.len() - hidden].chunks_exact(hidden);
    let one = |state: &[f32]| {
        let length = state.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let centred: Vec<f64> =
            state.iter().zip(axes.mean()).map(|(x, mean)| f64::from(*x) / length - f64::from(*mean)).collect();
        let axes = axes.axes().chunks_exact(hidden).take(dimension);
        axes.map(|axis| axis.iter().zip(&centred).map(|(a, x)| f64::from(*a) * x).sum()).collect()
    };
    inner.map(one).collect()
}

#[test]
fn token_vectors_are_the_states_along_the_axes_in_every_precision() {
    let exact = encoder(Precision::F32);
    let states = encode(&exact, Wanted { states: true, ..Wanted::default() }).states;
    for (precision, of_each, of_all) in [(Precision::F32, 0.999, 0.999), (Precision::Int8, 0.5, 0.97)] {
        let encoder = encoder(precision);
        let axes = encoder.token_axes().expect("the axes that are built in");
        for dimension in TOKEN_DIMENSIONS {
            let found = encode(&encoder, Wanted { token_vectors: Some(dimension), ..Wanted::default() });
            assert!(found.vectors.is_empty() && found.states.is_empty(), "nothing else was wanted");
            let mut cosines = Vec::new();
            for (own, states) in found.token_vectors.iter().zip(&states) {
                let wanted = by_definition(axes, states, dimension);
                assert_eq!(own.len(), wanted.len() * dimension);
                for (own, wanted) in own.chunks_exact(dimension).zip(wanted) {
                    let length: f32 = own.iter().map(|x| x * x).sum();
                    assert!((length - 1.0).abs() < 1e-5, "of unit length: {length}");
                    cosines.push(cosine(&wanted, own));
                }
            }
            let least = cosines.iter().copied().fold(1.0, f64::min);
            let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
            assert!(least >= of_each && mean >= of_all, "{precision} {dimension}: least {least}, mean {mean}");
        }
    }
}

#[test]
fn a_vector_is_the_same_to_the_bit_with_and_without_token_vectors() {
    for precision in [Precision::F32, Precision::Int8] {
        let encoder = encoder(precision);
        let alone = encode(&encoder, Wanted::vectors(true)).vectors;
        let both = encode(&encoder, Wanted { token_vectors: Some(48), ..Wanted::vectors(true) });
        assert_eq!(alone, both.vectors, "{precision}");
        let documents = encoder.embed_documents(texts(), 48, 16, Lane::Bulk).expect("documents");
        let vectors: Vec<f32> = documents.iter().flat_map(|document| document.vector.clone()).collect();
        assert_eq!(alone, vectors, "{precision}, of texts in windows");
        let queries = encoder.embed_queries(texts(), Some(48)).expect("queries").queries;
        let vectors: Vec<f32> = queries.iter().flat_map(|query| query.vector.to_vec()).collect();
        assert_eq!(alone, vectors, "{precision}, of questions");
    }
}

#[test]
fn every_token_of_a_long_text_has_one_vector() {
    let encoder = encoder(Precision::Int8);
    let tokenizer = Tokenizer::load(&real_model()).expect("a tokenizer");
    let sentence = "On Sunday Lena brought tomatoes from the garden, and we talked about the train. ";
    let others = ["the quick brown fox ".repeat(150), "So it was. ".repeat(2000), "Yes.".into(), String::new()];
    let texts: Vec<String> = [sentence.repeat(40)].into_iter().chain(others).collect();
    let documents = encoder.embed_documents(texts.clone(), 32, 16, Lane::Bulk).expect("documents");
    let count = |i: usize| documents[i].token_vectors.len() / 32;
    let pieces = |i: usize| tokenizer.pieces(&texts[i]).expect("tokens").len();
    for i in [0, 1, 3, 4] {
        assert_eq!(count(i), pieces(i), "of {:.20}…", texts[i]);
    }
    assert!(pieces(2) > 6000 && (2700..=254 * 16).contains(&count(2)), "{} of 16 windows", count(2));
    a_window_has_the_vector_of_its_text(&encoder, &texts, &documents);
    // What a token means depends on what is around it, which is nearly the same in each window here.
    let own = sentence.split(' ').count() + 2;
    let places = |word: &str| {
        let found = tokenizer.pieces(&texts[0]).expect("tokens");
        let at = |(i, piece): (usize, &membox_encoder::Piece)| (&texts[0][piece.start..piece.end] == word).then_some(i);
        found.iter().enumerate().filter_map(at).collect::<Vec<_>>()
    };
    let found = places("tomatoes");
    assert!(found.len() == 40 && pieces(0) > 40 * (own - 4));
    let vector = |token: usize| &documents[0].token_vectors[token * 32..(token + 1) * 32];
    for pair in found.windows(2) {
        let alike: f32 = vector(pair[0]).iter().zip(vector(pair[1])).map(|(a, b)| a * b).sum();
        let next: f32 = vector(pair[0]).iter().zip(vector(pair[0] + 4)).map(|(a, b)| a * b).sum();
        assert!(alike > 0.8 && alike > next, "tokens {pair:?}: {alike}, and {next} to another word");
    }
}

/// The windows of texts, with and without vectors of tokens.
fn a_window_has_the_vector_of_its_text(encoder: &Encoder, texts: &[String], documents: &[DocumentEmbedding]) {
    let without = encoder.embed_windows(texts.to_vec(), 16, Lane::Bulk).expect("documents");
    for (text, (document, without)) in texts.iter().zip(documents.iter().zip(&without)) {
        assert_eq!((&document.vector, &document.windows), (&without.vector, &without.windows), "of {text:.20}…");
        let windows = &document.windows;
        assert_eq!(windows.vectors.len(), windows.places.len().saturating_sub(1));
        let own: Vec<String> = windows.places.iter().map(|place| text[place.clone()].to_owned()).collect();
        let vectors = [&document.vector].into_iter().chain(&windows.vectors);
        for (window, vector) in encoder.embed(own, Lane::Bulk).expect("vectors").rows().zip(vectors) {
            let alike: f32 = window.iter().zip(vector).map(|(a, b)| a * b).sum();
            assert!(alike > 0.999, "{alike}: a window is encoded like a text of its own");
        }
        for pair in windows.places.windows(2) {
            let between = text.get(pair[0].end..pair[1].start).unwrap_or_default();
            assert!(between.trim().is_empty() && pair[0].end < pair[1].end, "{pair:?}: nothing is left out");
        }
        let end = windows.places.last().map_or(text.trim_end().len(), |last| last.end);
        let truncated = windows.truncated_at;
        assert_eq!(truncated.unwrap_or(text.trim_end().len()), end, "what comes after the windows is said");
    }
    let counts: Vec<usize> = documents.iter().map(|document| document.windows.places.len()).collect();
    assert!(counts[0] > 1 && counts[2] == 16 && counts[3..] == [0, 0], "{counts:?}");
    assert!(documents[0].windows.truncated_at.is_none() && documents[2].windows.truncated_at.is_some());
    let few = encoder.embed_windows(texts.to_vec(), 2, Lane::Bulk).expect("documents");
    assert_eq!(few[0].windows.vectors[..], documents[0].windows.vectors[..1], "fewer windows are the first ones");
    assert_eq!(few[0].windows.truncated_at, Some(documents[0].windows.places[1].end));
    let one = encoder.embed_documents(texts.to_vec(), 32, 1, Lane::Bulk).expect("documents");
    assert!(one.iter().all(|document| document.windows.places.is_empty() && document.windows.vectors.is_empty()));
    assert_eq!(one[0].windows.truncated_at, Some(documents[0].windows.places[0].end), "that it is cut is said");
    assert_eq!(one[0].token_vectors, documents[0].token_vectors, "tokens have vectors all the same");
}

#[test]
fn a_questions_tokens_are_known_by_their_places() {
    let encoder = encoder(Precision::Int8);
    let question = "Où did Zsófia park the car?";
    let found = encoder.embed_queries(vec![question.into(), "a ".repeat(300)], Some(48)).expect("queries").queries;
    let tokens = found[0].tokens.as_ref().expect("token vectors");
    let words: Vec<&str> = tokens.places.iter().map(|place| &question[place.clone()]).collect();
    assert_eq!(words.concat(), question.replace(' ', ""));
    assert!(words.contains(&"park") && words.contains(&"?"), "{words:?}");
    assert_eq!(tokens.vectors.len(), words.len() * 48);
    let long = found[1].tokens.as_ref().expect("token vectors");
    assert_eq!((long.places.len(), long.vectors.len()), (254, 254 * 48));
    let without = encoder.embed_queries(vec![question.into()], None).expect("queries").queries;
    assert_eq!((&without[0].vector, &without[0].tokens), (&found[0].vector, &None));
}

#[test]
fn a_model_has_its_own_axes_or_the_built_in_ones_of_its_weights_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), Shape { hidden: 64, heads: 2, layers: 1, intermediate: 64, positions: 64 });
    std::fs::copy(real_model().join("tokenizer.json"), folder.path().join("tokenizer.json")).expect("a tokenizer");
    let without = encoder_of(folder.path(), Precision::F32).expect("an encoder");
    assert!(without.token_axes().is_none());
    let refused = without.embed_documents(vec!["a".into()], 48, 1, Lane::Bulk);
    assert!(matches!(refused, Err(EncoderError::NoTokenAxes)), "it says that it has none");

    let mut axes = vec![0.0; 64 * 64];
    (0..64).for_each(|i| axes[i * 64 + i] = 1.0);
    let own = TokenAxes::to_safetensors(&[0.0; 64], &axes, without.weights_sha256()).expect("a file");
    let path = folder.path().join("token_axes.safetensors");
    std::fs::write(&path, &own).expect("a write");
    let with = encoder_of(folder.path(), Precision::F32).expect("an encoder");
    let built_in = encoder(Precision::F32);
    let ids = [&with, &built_in].map(|encoder| encoder.token_axes().expect("axes").id());
    assert_ne!(ids[0], ids[1], "each has a name of its own");
    let sequence = |dimension| {
        let wanted = Wanted { token_vectors: Some(dimension), ..Wanted::default() };
        let request =
            Request { inputs: Inputs::Tokens(vec![vec![1, 5, 2], vec![7]]), max_tokens: 8, wanted, lane: Lane::Bulk };
        with.encode(request)
    };
    let found = sequence(32).expect("vectors").token_vectors;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [32, 0], "a lone token is a special one");
    assert!(matches!(sequence(33), Err(EncoderError::TokenDimension(33))));

    std::fs::write(&path, TokenAxes::to_safetensors(&[0.0; 64], &axes, &"0".repeat(64)).expect("a file")).expect("it");
    let refused = encoder_of(folder.path(), Precision::F32).err().expect("another model's axes").to_string();
    assert!(refused.contains("token_axes.safetensors") && refused.contains("membox models axes"), "{refused}");
}
