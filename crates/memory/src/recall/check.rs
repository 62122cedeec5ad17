//! What a request may ask for.

use crate::MemoryError;
use crate::lists::check_field;
use crate::tenants::Limits;
use membox_api::{CollectionSettings, Exclude, Fusion, GroupBy, Include, RecallMode, RecallRequest, Rerank};
use membox_store::{Condition, Filter, MAX_EF_SEARCH, Scalar};
use std::borrow::Cow;

/// Hits of one answer.
const MAX_HITS: usize = 10_000;
/// Hits of one answer that are chosen by how they differ: each is held against each that is chosen already.
pub(super) const MAX_DIVERSE_HITS: usize = 1000;
/// Hits of each value where hits are grouped.
const MAX_GROUP: usize = 100;
/// Questions of one request.
const MAX_QUERIES: usize = 64;
/// Neighbours given on each side of a hit.
const MAX_NEIGHBOURS: usize = 20;
/// Hits that a cross-encoder reads.
const MAX_RERANKED: usize = 200;
/// Ids and sessions, each, that a request may exclude.
const MAX_EXCLUDED: usize = 1000;

/// A request to a collection, by what that keeps: where no mode is asked for, it is one that it has. What is asked for
/// and not kept is refused.
pub(super) fn as_kept<'a>(
    settings: &CollectionSettings,
    request: &'a RecallRequest,
) -> Result<Cow<'a, RecallRequest>, MemoryError> {
    let (by_vector, by_words) = (settings.has_vectors(), settings.has_text_index());
    if by_vector && by_words {
        return Ok(Cow::Borrowed(request));
    }
    let refused = |pointer: &str, reason: &str| Err(MemoryError::invalid(pointer, reason));
    if !by_vector && !by_words {
        return refused("/collection", "the collection keeps neither vectors nor words: ids and filters find records");
    }
    if !by_vector {
        let is_diverse = request.rerank.as_ref().is_some_and(|rerank| rerank.mmr_lambda.is_some());
        for (pointer, is_asked_for) in [
            ("/vector", request.vector.is_some()),
            ("/mode", matches!(request.mode, Some(RecallMode::Vector | RecallMode::Hybrid))),
            ("/fold_doubles", request.fold_doubles.is_some()),
            ("/rerank/mmr_lambda", is_diverse),
            ("/include", request.include.contains(&Include::Vector)),
        ] {
            if is_asked_for {
                return refused(pointer, "the collection keeps no vectors: words find its records, by mode \"text\"");
            }
        }
        return Ok(Cow::Owned(RecallRequest { mode: Some(RecallMode::Text), ..request.clone() }));
    }
    if matches!(request.mode, Some(RecallMode::Text | RecallMode::Hybrid)) {
        return refused("/mode", "the collection keeps no text index: vectors find its records, by mode \"vector\"");
    }
    if request.query.is_some() && request.vector.is_some() {
        return refused("/query", "the collection keeps no text index: a vector is asked for alone");
    }
    Ok(Cow::Owned(RecallRequest { mode: Some(RecallMode::Vector), ..request.clone() }))
}

/// Which records may be found.
pub(super) fn filter_of(
    limits: Limits<'_>,
    tenant: &str,
    request: &RecallRequest,
    time: Option<Filter>,
) -> Result<Option<Filter>, MemoryError> {
    let given = request.filter.as_ref().map(|filter| limits.filter(tenant, filter)).transpose()?;
    let one_of = |field: &str, values: &[String]| {
        let values = values.iter().cloned().map(Scalar::Text).collect();
        Filter::Field(field.to_owned(), Condition::In(values))
    };
    let modality = request.modality.name().map(|name| one_of("modality", &[name.to_owned()]));
    let Exclude { ids, sessions } = &request.exclude;
    let excluded = [("id", ids), ("session", sessions)].into_iter().filter(|(_, values)| !values.is_empty());
    let excluded = excluded.map(|(field, values)| Filter::Not(Box::new(one_of(field, values))));
    let mut all: Vec<Filter> = given.into_iter().chain(time).chain(modality).chain(excluded).collect();
    Ok(if all.len() > 1 { Some(Filter::And(all)) } else { all.pop() })
}

pub(super) fn check(request: &RecallRequest) -> Result<(), MemoryError> {
    match (&request.query, &request.vector, &request.queries) {
        (Some(_), None, None) | (None, Some(_), None) | (None, None, Some(_)) => {}
        (Some(_), Some(_), None) if request.mode() == RecallMode::Hybrid => {}
        (Some(_), Some(_), None) => {
            let reason = "query and vector stand together in mode \"hybrid\" alone";
            return Err(MemoryError::invalid("/mode", reason));
        }
        _ => {
            let reason = "query, vector, queries, or query with vector is wanted";
            return Err(MemoryError::invalid("/query", reason));
        }
    }
    if request.vector.is_some() && request.query.is_none() && request.mode() != RecallMode::Vector {
        let reason = "a vector has no words: give them as query, or ask with mode \"vector\"";
        return Err(MemoryError::invalid("/mode", reason));
    }
    let queries = request.queries.as_deref().unwrap_or_default();
    if request.queries.is_some() && (queries.is_empty() || queries.len() > MAX_QUERIES) {
        return Err(MemoryError::invalid("/queries", format!("1 to {MAX_QUERIES} questions are wanted")));
    }
    let empty = |text: &String| text.trim().is_empty();
    if request.query.as_ref().is_some_and(empty) || queries.iter().any(empty) {
        return Err(MemoryError::invalid("/query", "the question is empty"));
    }
    if request.k == 0 || request.k > MAX_HITS {
        return Err(MemoryError::impossible("/k", format!("k is {}; 1 to {MAX_HITS} is possible", request.k)));
    }
    if let Some(reads) = request.rerank.as_ref().and_then(Rerank::reads) {
        if reads == 0 || reads > MAX_RERANKED {
            let reason = format!("top is {reads}; 1 to {MAX_RERANKED} is possible");
            return Err(MemoryError::impossible("/rerank/top", reason));
        }
        if request.vector.is_some() {
            return Err(MemoryError::invalid("/rerank/model", "a cross-encoder reads a question in words"));
        }
    }
    let is_diverse = request.rerank.as_ref().is_some_and(|rerank| rerank.mmr_lambda.is_some());
    if is_diverse && request.k > MAX_DIVERSE_HITS {
        let reason = format!("k is {}; with mmr_lambda at most {MAX_DIVERSE_HITS} is possible", request.k);
        return Err(MemoryError::impossible("/k", reason));
    }
    if let Some(context) = request.context
        && context.before.max(context.after) > MAX_NEIGHBOURS
    {
        return Err(MemoryError::impossible(
            "/context",
            format!("at most {MAX_NEIGHBOURS} neighbours are given on a side"),
        ));
    }
    if let Some(beam) = request.effort.and_then(|effort| effort.ef_search)
        && !(1..=MAX_EF_SEARCH).contains(&beam)
    {
        let reason = format!("ef_search is {beam}; 1 to {MAX_EF_SEARCH} is possible");
        return Err(MemoryError::impossible("/effort/ef_search", reason));
    }
    let weight = match request.fusion {
        Some(Fusion::Scores { vector_weight }) => Some(vector_weight),
        Some(Fusion::Rrf { constant }) if !(0.0..=f32::MAX).contains(&constant) => {
            return Err(MemoryError::impossible("/fusion/constant", "0 or more is possible"));
        }
        _ => None,
    };
    let shares = [
        ("/min_relevance", request.min_relevance),
        ("/fold_doubles", request.fold_doubles),
        ("/fusion/vector_weight", weight),
    ];
    for (pointer, share) in shares {
        if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(MemoryError::impossible(pointer, "0 to 1 is possible"));
        }
    }
    if let Some(GroupBy { field, size }) = &request.group_by {
        check_field(field, "/group_by/field")?;
        if size.is_some_and(|size| !(1..=MAX_GROUP).contains(&size)) {
            return Err(MemoryError::impossible("/group_by/size", format!("1 to {MAX_GROUP} is possible")));
        }
        if request.k > MAX_DIVERSE_HITS {
            let reason = format!("k is {}; with group_by at most {MAX_DIVERSE_HITS} is possible", request.k);
            return Err(MemoryError::impossible("/k", reason));
        }
    }
    if request.fold_doubles.is_some() && request.k > MAX_DIVERSE_HITS {
        let reason = format!("k is {}; with fold_doubles at most {MAX_DIVERSE_HITS} is possible", request.k);
        return Err(MemoryError::impossible("/k", reason));
    }
    let Exclude { ids, sessions } = &request.exclude;
    for (pointer, values) in [("/exclude/ids", ids), ("/exclude/sessions", sessions)] {
        if values.len() > MAX_EXCLUDED {
            return Err(MemoryError::impossible(pointer, format!("at most {MAX_EXCLUDED} are possible")));
        }
    }
    Ok(())
}
