//! From records that were found to hits.

use super::check::MAX_DIVERSE_HITS;
use super::find::{Found, Judge, is_chosen_from, wanted};
use super::fusion::{Fused, marginal_relevance};
use super::questions::Asked;
use crate::models::Models;
use crate::{MemoryError, now};
use membox_api::{
    ContextWindow, Explanation, GroupBy, Hit, Include, MatchedPart, MessageType, Neighbour, PartName, RecallRequest,
    Rerank, Scores,
};
use membox_encoder::{CosineScale, Lane, sigmoid};
use membox_store::{Collection, Fetched, Filter, OpaqueJson, Reads, Record, RecordRef, Snapshot, StoredRecord};
use membox_threads::budget;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A week.
const HALF_LIFE_S: f64 = 604_800.0;

/// A record that was chosen.
pub(super) struct Chosen {
    pub fused: Fused,
    pub stored: StoredRecord,
    pub explanation: Option<Explanation>,
    relevance: Option<f32>,
    recency: Option<f32>,
    importance: Option<f32>,
    /// Ids of what says nearly the same.
    doubles: Vec<String>,
}

/// The hits of a request, and whether a record was deleted or changed since it was found.
pub(super) fn choose(
    models: &Models,
    collection: &Collection,
    found: &Found,
    asked: &[Asked],
    request: &RecallRequest,
    reads: &Reads,
) -> Result<(Vec<Chosen>, bool), MemoryError> {
    let (mut chosen, changed) = fetch(found, asked, request, reads)?;
    if let Some(rerank) = &request.rerank {
        if let Some(reads) = rerank.reads() {
            chosen.truncate(reads);
            read_again(models, &mut chosen, asked, rerank.model.as_deref())?;
        }
        add_recency_and_importance(&mut chosen, rerank);
        chosen.retain(|c| request.min_score.is_none_or(|min| c.fused.score >= min));
    }
    if let Some(least) = request.fold_doubles {
        let snapshot = &found.snapshot;
        let least = |record| models.least_cosine(collection, &snapshot.vector(record), least);
        chosen = fold_doubles(chosen, snapshot, least, request.k)?;
    }
    if let Some(GroupBy { field, size }) = &request.group_by {
        grouped(&mut chosen, field, size.unwrap_or(1));
    }
    if let Some(lambda) = request.rerank.as_ref().and_then(|rerank| rerank.mmr_lambda) {
        let snapshot = &found.snapshot;
        let scale = |record| models.scale_of_cosines(collection, &snapshot.vector(record));
        chosen = diverse(chosen, snapshot, scale, lambda, request.k)?;
    }
    chosen.truncate(request.k);
    Ok((chosen, changed))
}

/// Reads the records that were found, in order, and says whether one of them was deleted or changed since. One that
/// is damaged is never an answer.
fn fetch(
    found: &Found,
    asked: &[Asked],
    request: &RecallRequest,
    reads: &Reads,
) -> Result<(Vec<Chosen>, bool), MemoryError> {
    let _span = tracing::trace_span!(target: "otel", "store.read").entered();
    let _moment = reads.at_one_moment()?;
    let judge = Judge::of(found, asked, request.mode());
    let mut changed = false;
    let most = if is_chosen_from(request) { wanted(request) } else { request.k };
    let mut chosen = Vec::with_capacity(most.min(found.fused.len()));
    for fused in &found.fused {
        let is_too_low = request.rerank.is_none() && request.min_score.is_some_and(|min| fused.score < min);
        if chosen.len() >= most || is_too_low {
            break;
        }
        let relevance = judge.relevance(fused);
        if request.min_relevance.is_some_and(|min| relevance.is_some_and(|relevance| relevance < min)) {
            continue;
        }
        let stored = match reads.fetch(&found.snapshot, fused.record)? {
            Fetched::Found(stored) => *stored,
            Fetched::Changed => {
                changed = true;
                continue;
            }
            Fetched::Damaged => continue,
        };
        let fused = fused.clone();
        let (recency, importance, explanation, doubles) = (None, None, None, Vec::new());
        chosen.push(Chosen { fused, stored, explanation, relevance, recency, importance, doubles });
    }
    Ok((chosen, changed))
}

/// Scores hits by a cross-encoder, each with the question that found it.
fn read_again(models: &Models, chosen: &mut [Chosen], asked: &[Asked], model: Option<&str>) -> Result<(), MemoryError> {
    let none = || {
        let reason = "there is no such cross-encoder here: the setting `models` adds one";
        MemoryError::impossible("/rerank/model", reason)
    };
    let encoder = models.cross_encoder(model)?.ok_or_else(none)?;
    for (number, Asked { text, .. }) in asked.iter().enumerate() {
        let own: Vec<usize> = (0..chosen.len()).filter(|&i| chosen[i].fused.question == number).collect();
        let (Some(text), false) = (text, own.is_empty()) else { continue };
        let texts: Vec<String> = own.iter().map(|&i| chosen[i].stored.record.text.clone()).collect();
        let scores = encoder.score_pairs(text, &texts, None, Lane::Interactive)?;
        for (i, value) in own.into_iter().zip(scores) {
            chosen[i].fused.set_cross_encoder(value, sigmoid(value));
        }
    }
    Ok(())
}

fn add_recency_and_importance(chosen: &mut [Chosen], rerank: &Rerank) {
    let half_life = rerank.recency_half_life_s.filter(|h| *h > 0.0).unwrap_or(HALF_LIFE_S);
    for c in chosen.iter_mut() {
        if let Some(weight) = rerank.recency_weight {
            let age = (now() - c.stored.record.created_at).max(0) as f64 / 1000.0;
            let newness = 0.5f64.powf(age / half_life) as f32;
            c.recency = Some(weight * newness);
            c.fused.add(PartName::Recency, newness, weight * newness);
        }
        if let Some(weight) = rerank.importance_weight {
            let importance = c.stored.record.importance.unwrap_or(0.0) as f32;
            c.importance = Some(weight * importance);
            c.fused.add(PartName::Importance, importance, weight * importance);
        }
    }
    let order = |a: &Chosen, b: &Chosen| {
        b.fused.score.total_cmp(&a.fused.score).then_with(|| a.fused.record.cmp(&b.fused.record))
    };
    chosen.sort_by(order);
}

/// Makes hits that are at least so near to a better one a part of that, until there are `k`. How near that is, the
/// better one says.
fn fold_doubles(
    chosen: Vec<Chosen>,
    snapshot: &Snapshot,
    least: impl Fn(RecordRef) -> Result<f32, MemoryError>,
    k: usize,
) -> Result<Vec<Chosen>, MemoryError> {
    let mut kept: Vec<(Chosen, f32)> = Vec::with_capacity(k.min(MAX_DIVERSE_HITS));
    for c in chosen {
        budget::check()?;
        // Whose vector is of zeros is like nothing.
        let is_double = |(kept, least): &(Chosen, f32)| snapshot.likeness(kept.fused.record, c.fused.record) >= *least;
        if let Some(at) = kept.iter().position(is_double) {
            kept[at].0.doubles.push(c.stored.record.id);
        } else if kept.len() < k {
            let least = least(c.fused.record)?;
            kept.push((c, least));
        }
    }
    Ok(kept.into_iter().map(|(kept, _)| kept).collect())
}

/// Leaves the best `size` of each value of a field.
fn grouped(chosen: &mut Vec<Chosen>, field: &str, size: usize) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    chosen.retain(|c| {
        let Some(value) = value_of(&c.stored.record, field) else { return true };
        let count = counts.entry(value.to_string()).or_default();
        *count += 1;
        *count <= size
    });
}

/// The value of a record's field, as filters name it; `None` where it has none.
fn value_of(record: &Record, field: &str) -> Option<Value> {
    let text = |text: &Option<String>| text.clone().map(Value::from);
    match field {
        "id" => Some(record.id.clone().into()),
        "user" => text(&record.user),
        "session" => text(&record.session),
        "kind" => text(&record.kind),
        "role" => record.message.as_ref().map(|message| message.role.clone().into()),
        "modality" => {
            Some(record.message.as_ref().map_or(MessageType::Text.name(), |message| message.kind.as_str()).into())
        }
        "created_at" => Some(crate::time_text(record.created_at).into()),
        "importance" => record.importance.map(Value::from),
        _ => {
            let path = field.strip_prefix("metadata.")?;
            within(&record.metadata, path).filter(|value| !value.is_null()).cloned()
        }
    }
}

/// A value by its path: a name that has dots of its own is found, too.
fn within<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    object.get(path).or_else(|| {
        let dots = path.match_indices('.').map(|(at, _)| at);
        dots.filter_map(|at| within(object.get(&path[..at])?.as_object()?, &path[at + 1..])).next()
    })
}

/// The hits that are relevant and differ from each other. What a record's cosines mean, `scale` says: by some models
/// unrelated texts have a cosine of 0.75, and differ as much as those that have none by others.
fn diverse(
    chosen: Vec<Chosen>,
    snapshot: &Snapshot,
    scale: impl Fn(RecordRef) -> Result<CosineScale, MemoryError>,
    lambda: f32,
    k: usize,
) -> Result<Vec<Chosen>, MemoryError> {
    // Distances are below zero, and have no share of the best.
    let most = chosen.first().map_or(1.0, |c| c.fused.score);
    let share = |score: f32| if most > 0.0 { score / most } else { 1.0 / (1.0 - score) };
    let scores: Vec<f32> = chosen.iter().map(|c| share(c.fused.score)).collect();
    let scales = chosen.iter().map(|c| scale(c.fused.record)).collect::<Result<Vec<_>, _>>()?;
    let cosine = |a: usize, b: usize| snapshot.likeness(chosen[a].fused.record, chosen[b].fused.record);
    let order = marginal_relevance(&scores, cosine, &scales, lambda.clamp(0.0, 1.0), k)?;
    let mut places: Vec<Option<Chosen>> = chosen.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|i| places[i].take()).collect())
}

/// The records before and after a hit in its session.
#[derive(Default)]
pub(super) struct Neighbours {
    before: Vec<Neighbour>,
    after: Vec<Neighbour>,
}

/// The neighbours of each hit, and whether one of them was changed since it was looked for.
pub(super) fn neighbours(
    snapshot: &Snapshot,
    filter: Option<&Filter>,
    chosen: &[Chosen],
    request: &RecallRequest,
    reads: &Reads,
) -> Result<(Vec<Neighbours>, bool), MemoryError> {
    let window = request.context.unwrap_or_default();
    let none = || chosen.iter().map(|_| Neighbours::default()).collect();
    if window == ContextWindow::default() {
        return Ok((none(), false));
    }
    let hits: Vec<RecordRef> = chosen.iter().map(|c| c.fused.record).collect();
    let Some(found) = reads.neighbours(snapshot, &hits, (window.before, window.after), filter)? else {
        return Ok((none(), true));
    };
    let mut moved = false;
    let mut read = |records: Vec<RecordRef>| -> Result<Vec<Neighbour>, MemoryError> {
        let mut near = Vec::with_capacity(records.len());
        for record in records {
            match reads.fetch(&found.snapshot, record)? {
                Fetched::Found(stored) => near.push(Neighbour { id: stored.record.id, text: stored.record.text }),
                Fetched::Changed => moved = true,
                Fetched::Damaged => {}
            }
        }
        Ok(near)
    };
    let mut all = Vec::with_capacity(hits.len());
    for (mut before, after) in found.around {
        before.reverse();
        all.push(Neighbours { before: read(before)?, after: read(after)? });
    }
    Ok((all, moved))
}

/// The part of a record's text that is nearest to the vector of the question that found it.
fn matched(chosen: &Chosen, asked: &[Asked], snapshot: &Snapshot) -> Option<MatchedPart> {
    let Chosen { fused, stored, .. } = chosen;
    let vector = asked.get(fused.question)?.question.vector.as_ref()?;
    let bytes = snapshot.window_of(vector, fused.record, stored)?;
    let characters = |until: usize| Some(stored.record.text.get(..until)?.chars().count());
    Some(MatchedPart { start: characters(bytes.start)?, end: characters(bytes.end)? })
}

pub(super) fn hit(
    chosen: Chosen,
    around: Neighbours,
    (snapshot, asked): (&Snapshot, &[Asked]),
    request: &RecallRequest,
) -> Hit {
    let matched = matched(&chosen, asked, snapshot);
    let has = |part| request.include.contains(&part);
    let Chosen { fused, stored, explanation, relevance, recency, importance, doubles } = chosen;
    let record = stored.record;
    let with_metadata = has(Include::Metadata);
    let scores = Scores { vector: fused.vector, text: fused.text, tokens: fused.tokens, recency, importance };
    let group = request.group_by.as_ref().and_then(|group| value_of(&record, &group.field));
    Hit {
        id: record.id,
        score: fused.score,
        relevance,
        scores: has(Include::Scores).then_some(scores),
        text: has(Include::Text).then_some(record.text),
        matched,
        metadata: with_metadata.then_some(record.metadata),
        payload: record.payload.filter(|_| has(Include::Payload)).map(OpaqueJson::into_written),
        created_at: with_metadata.then(|| crate::time_text(record.created_at)),
        updated_at: record.updated_at.filter(|_| with_metadata).map(crate::time_text),
        user: record.user.filter(|_| with_metadata),
        session: record.session.filter(|_| with_metadata),
        message: record.message.as_ref().filter(|_| with_metadata).map(|message| message.id.clone()),
        kind: record.kind.filter(|_| with_metadata),
        modality: record.message.map(|message| message.kind).filter(|kind| kind != MessageType::Text.name()),
        group,
        version: stored.version,
        vector: has(Include::Vector).then(|| snapshot.vector(fused.record)),
        doubles,
        explanation,
        before: around.before,
        after: around.after,
    }
}
