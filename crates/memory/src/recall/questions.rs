//! What is asked, as it is looked for: vectors, terms, tokens and names.

use super::fusion::{Reading, ScoreKind};
use crate::MemoryError;
use crate::models::Models;
use membox_api::{RecallMode, RecallRequest, Timing};
use membox_encoder::{CosineScale, QueryEmbedding, QueryTokens};
use membox_store::{Collection, Question, QuestionTokens, StoreError, VectorsError};
use std::sync::Arc;

/// The share of a question's tokens that a model must know to have a say at all. It has its whole say where it knows
/// all: MiniLM knows a third of a Chinese question, and its vector then says next to nothing.
const LEAST_KNOWN: f32 = 0.5;

/// A question in words or as a vector.
pub(super) struct Asked {
    /// What is searched for.
    pub question: Question,
    /// In words.
    pub text: Option<String>,
    /// Its terms, whether they are searched for or not.
    pub terms: Vec<String>,
    /// Its vector, whether it is searched for or not.
    pub vector: Option<Arc<[f32]>>,
    /// How what the model says of it is read.
    pub reading: Reading,
    /// The places of its tokens, and which of them the model knows.
    pub tokens: Option<Arc<QueryTokens>>,
}

/// The questions of a request.
pub(super) fn questions(
    models: &Models,
    tenant: &str,
    collection: &Collection,
    request: &RecallRequest,
    timing: &mut Timing,
) -> Result<Vec<Asked>, MemoryError> {
    if let Some(vector) = &request.vector {
        return Ok(vec![by_vector(models, collection, request.query.as_ref(), vector)?]);
    }
    let texts: Vec<&String> = request.query.iter().chain(request.queries.iter().flatten()).collect();
    let embedded = match request.mode() {
        // Words find without a model; with one, it too says how relevant a hit is.
        RecallMode::Text if models.encoder_of(collection).is_err() => vec![None; texts.len()],
        _ => models.embed_queries(tenant, collection, &texts, timing)?.into_iter().map(Some).collect(),
    };
    let space = models.token_space(collection).filter(|_| request.late_interaction);
    let asked = |(text, embedded): (&String, Option<QueryEmbedding>)| {
        let terms = collection.query_terms(text);
        let tokens = embedded.as_ref().and_then(|embedded| embedded.tokens.clone());
        let prepared = space.zip(tokens.as_ref()).map(|(space, tokens)| QuestionTokens::new(space, &tokens.vectors));
        let vector = embedded.as_ref().map(|embedded| embedded.vector.clone());
        let question = Question {
            vector: vector.as_ref().filter(|_| request.mode() != RecallMode::Text).map(|vector| vector.to_vec()),
            terms: if request.mode() == RecallMode::Vector { Vec::new() } else { terms.clone() },
            tokens: prepared,
        };
        let known = embedded.map_or(0.0, |embedded| embedded.known_share);
        let fluency = ((known - LEAST_KNOWN) / (1.0 - LEAST_KNOWN)).clamp(0.0, 1.0);
        let scale = scale_of(models, collection, vector.as_deref())?;
        let reading = Reading { fluency, scale, scores: ScoreKind::of(collection.metric(), true) };
        Ok(Asked { question, text: Some(text.clone()), terms, vector, reading, tokens })
    };
    texts.into_iter().zip(embedded).map(asked).collect()
}

/// A question by its vector, and by its words where it has any. Its tokens are not looked at: a vector that is given
/// need not be of the model that has their vectors.
fn by_vector(
    models: &Models,
    collection: &Collection,
    text: Option<&String>,
    vector: &[f32],
) -> Result<Asked, MemoryError> {
    let mut vector = vector.to_vec();
    collection.check_vector(&vector).map_err(|e| vector_error("/vector", e))?;
    collection.normalize(&mut vector);
    let terms = text.map(|text| collection.query_terms(text)).unwrap_or_default();
    let question = Question { vector: Some(vector.clone()), terms: terms.clone(), tokens: None };
    let vector: Option<Arc<[f32]>> = collection.settings().model.is_some().then(|| vector.into());
    let scale = scale_of(models, collection, vector.as_deref())?;
    let scores = ScoreKind::of(collection.metric(), vector.is_some());
    let reading = Reading { scale, scores, ..Reading::PLAIN };
    Ok(Asked { question, text: text.cloned(), terms, vector, reading, tokens: None })
}

/// What the cosines of a question mean.
fn scale_of(models: &Models, collection: &Collection, vector: Option<&[f32]>) -> Result<CosineScale, MemoryError> {
    vector.map_or(Ok(CosineScale::PLAIN), |vector| models.scale(collection, vector))
}

/// The field of a request that a bad vector is in.
pub(crate) fn vector_error(pointer: &str, error: StoreError) -> MemoryError {
    match error {
        StoreError::Vectors(error @ (VectorsError::NotFinite(_) | VectorsError::TooLong { .. })) => {
            MemoryError::impossible(pointer, error.to_string())
        }
        StoreError::Vectors(error @ VectorsError::Dimension { .. }) => MemoryError::invalid(pointer, error.to_string()),
        other => other.into(),
    }
}
