//! Records by their ids, in an order, counted, and changed many at once.

use crate::records::{MAX_RECORDS, Records};
use crate::retry::retry;
use crate::views::{record_view, record_with_payload};
use crate::{MemoryError, now, time_text};
use membox_api::{
    Direction, Facet, FacetsAnswer, FacetsRequest, GetAnswer, GetRequest, ListedRecord, PatchManyAnswer,
    PatchManyRequest, RecordPatch, ScrollAnswer, ScrollRequest, ValueCount, With,
};
use membox_store::{
    Fetched, Filter, RecordReads, RecordsError, Scalar, Snapshot, StoredRecord, ValueCounts, WriteRecords,
};
use membox_threads::budget;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// Fields of one request whose values are counted.
const MAX_FACETS: usize = 16;
/// Values of a field unless said otherwise, and at most.
const DEFAULT_VALUES: usize = 10;
const MAX_VALUES: usize = 1000;
/// Records of a list unless said otherwise, and at most.
const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 1000;

impl Records<'_> {
    /// Records by their ids, in that order.
    pub fn get_many(&self, tenant: &str, name: &str, request: &GetRequest) -> Result<GetAnswer, MemoryError> {
        check_ids(&request.ids)?;
        let collection = self.collections.collection(tenant, name)?;
        let with = request.with.as_deref().unwrap_or(&[With::Payload]);
        let reads = self.store.read()?;
        let snapshot = with.contains(&With::Vector).then(|| reads.snapshot(&collection, None)).transpose()?;
        let (mut records, mut missing) = (Vec::with_capacity(request.ids.len()), Vec::new());
        for id in &request.ids {
            match reads.record(collection.id, id)?.filter(|stored| stored.record.is_alive(now())) {
                Some(stored) => {
                    budget::take(stored.memory_bytes())?;
                    let vector = snapshot.as_ref().and_then(|snapshot| vector_of(snapshot, &stored));
                    records.push(listed(stored, vector, with));
                }
                None => missing.push(id.clone()),
            }
        }
        collection.check_there()?;
        Ok(GetAnswer { records, missing })
    }

    /// How many records a filter allows.
    pub fn count(&self, tenant: &str, name: &str, filter: Option<&Value>) -> Result<u64, MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        let filter = self.filter(tenant, filter)?;
        let count = self.store.read()?.snapshot(&collection, filter.as_ref())?.len();
        collection.check_there()?;
        Ok(count)
    }

    /// The values of fields, and how many records have each.
    pub fn facets(&self, tenant: &str, name: &str, request: &FacetsRequest) -> Result<FacetsAnswer, MemoryError> {
        let FacetsRequest { fields, filter, limit } = request;
        if fields.is_empty() || fields.len() > MAX_FACETS {
            return Err(MemoryError::impossible("/fields", format!("1 to {MAX_FACETS} fields are possible")));
        }
        let limit = check_limit(limit.unwrap_or(DEFAULT_VALUES), MAX_VALUES)?;
        let collection = self.collections.collection(tenant, name)?;
        let filter = self.filter(tenant, filter.as_ref())?;
        let reads = self.store.read()?;
        let mut answer = FacetsAnswer { facets: Vec::with_capacity(fields.len()), count: 0 };
        for (i, field) in fields.iter().enumerate() {
            check_field(field, &format!("/fields/{i}"))?;
            budget::check()?;
            let ValueCounts { values: mut counts, having, records } =
                reads.counts(&collection, filter.as_ref(), field)?;
            let distinct = counts.len();
            counts.truncate(limit);
            let values = counts.into_iter().map(|(value, count)| ValueCount { value: json_of(value, field), count });
            let facet = Facet { field: field.clone(), values: values.collect(), distinct, missing: records - having };
            answer.count = records;
            answer.facets.push(facet);
        }
        collection.check_there()?;
        Ok(answer)
    }

    /// A part of a list of records in the order of a field.
    pub fn scroll(&self, tenant: &str, name: &str, request: &ScrollRequest) -> Result<ScrollAnswer, MemoryError> {
        let ScrollRequest { filter, order_by, offset, limit, with } = request;
        let limit = check_limit(limit.unwrap_or(DEFAULT_LIMIT), MAX_LIMIT)?;
        let field = order_by.as_ref().map_or("created_at", |order| order.field.as_str());
        check_field(field, "/order_by/field")?;
        let is_descending = order_by.as_ref().is_some_and(|order| order.direction == Direction::Desc);
        let collection = self.collections.collection(tenant, name)?;
        let filter = self.filter(tenant, filter.as_ref())?;
        let reads = self.store.read()?;
        let (snapshot, ordered) = reads.ordered(&collection, filter.as_ref(), field, is_descending)?;
        let mut records = Vec::with_capacity(limit.min(ordered.len()));
        let mut next = ordered.len();
        for (place, record) in ordered.iter().enumerate().skip(*offset) {
            if records.len() == limit {
                next = place;
                break;
            }
            // What has been deleted or changed since the snapshot is passed over.
            if let Fetched::Found(stored) = reads.fetch(&snapshot, *record)? {
                let vector = with.contains(&With::Vector).then(|| snapshot.vector(*record));
                records.push(listed(*stored, vector, with));
            }
        }
        collection.check_there()?;
        let next_offset = (next < ordered.len()).then_some(next);
        Ok(ScrollAnswer { records, next_offset, count: ordered.len() as u64 })
    }

    /// Changes records, all in one commit. `looked_at` are the versions that they must have, where somebody has looked.
    pub fn patch_many(
        &self,
        tenant: &str,
        name: &str,
        request: &PatchManyRequest,
        looked_at: Option<&[u64]>,
    ) -> Result<PatchManyAnswer, MemoryError> {
        let PatchManyRequest { ids, patch } = request;
        check_ids(ids)?;
        let mut seen = HashSet::new();
        if let Some(i) = ids.iter().position(|id| !seen.insert(id)) {
            return Err(MemoryError::invalid(format!("/ids/{i}"), "it stands twice"));
        }
        let patches: Vec<(&str, &RecordPatch)> = ids.iter().map(|id| (id.as_str(), patch)).collect();
        self.patch_each(tenant, name, &patches, looked_at, |_| "/patch".to_owned())
    }

    /// Changes records, each by a patch of its own, all in one commit. `place` says where the patch of each stands.
    pub fn patch_each(
        &self,
        tenant: &str,
        name: &str,
        patches: &[(&str, &RecordPatch)],
        looked_at: Option<&[u64]>,
        place: impl Fn(usize) -> String,
    ) -> Result<PatchManyAnswer, MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        retry(|| {
            let (mut records, mut missing, mut bump_sessions) = (Vec::new(), Vec::new(), BTreeSet::new());
            for (i, &(id, patch)) in patches.iter().enumerate() {
                let stored = match self.stored(&collection, id) {
                    Err(MemoryError::NoRecord(_)) => {
                        missing.push(id.to_owned());
                        continue;
                    }
                    stored => stored?,
                };
                if let Some(&expected) = looked_at.and_then(|versions| versions.get(i))
                    && expected != stored.version
                {
                    let (id, current) = (id.to_owned(), stored.version);
                    return Ok(Some(Err(RecordsError::VersionConflict { id, current, expected }.into())));
                }
                budget::take(stored.memory_bytes())?;
                let changed = self.changed(&collection, &stored, patch).map_err(|error| error.within(&place(i)))?;
                let Some(changed) = changed else {
                    // It is committed and not yet published.
                    std::thread::sleep(Duration::from_millis(1));
                    return Ok(None);
                };
                bump_sessions.extend(stored.record.session.filter(|_| stored.record.message.is_some()));
                records.push(changed);
            }
            let patched = records.len();
            if patched > 0 {
                self.embed_changed(&collection, &mut records)?;
                let write = WriteRecords { bump_sessions, ..WriteRecords::new(collection.clone(), records) };
                self.store.write_records(write)?;
            }
            Ok(Some(Ok(PatchManyAnswer { patched, missing })))
        })?
    }

    fn filter(&self, tenant: &str, filter: Option<&Value>) -> Result<Option<Filter>, MemoryError> {
        filter.map(|filter| self.collections.limits.filter(tenant, filter)).transpose()
    }
}

fn check_ids(ids: &[String]) -> Result<(), MemoryError> {
    if ids.is_empty() || ids.len() > MAX_RECORDS {
        let reason = format!("{} ids; 1 to {MAX_RECORDS} are possible", ids.len());
        return Err(MemoryError::impossible("/ids", reason));
    }
    Ok(())
}

fn check_limit(limit: usize, most: usize) -> Result<usize, MemoryError> {
    let wrong = || MemoryError::invalid("/limit", format!("{limit} is given; 1 to {most} is possible"));
    (1..=most).contains(&limit).then_some(limit).ok_or_else(wrong)
}

/// Refuses what is no field of a filter.
pub(crate) fn check_field(field: &str, pointer: &str) -> Result<(), MemoryError> {
    let wrong = |error: MemoryError| match error {
        MemoryError::Records(RecordsError::Filter { reason, .. }) => MemoryError::invalid(pointer, reason),
        other => other,
    };
    Filter::parse(&json!({"field": field, "exists": true}), pointer).map(drop).map_err(|e| wrong(e.into()))
}

fn vector_of(snapshot: &Snapshot, stored: &StoredRecord) -> Option<Vec<f32>> {
    snapshot.locate(stored).map(|record| snapshot.vector(record))
}

fn listed(stored: StoredRecord, vector: Option<Vec<f32>>, with: &[With]) -> ListedRecord {
    let view = if with.contains(&With::Payload) { record_with_payload } else { record_view };
    // Where the collection keeps none.
    let vector = vector.filter(|vector| !vector.is_empty());
    ListedRecord { record: view(stored), vector }
}

/// A value as records say it.
fn json_of(value: Scalar, field: &str) -> Value {
    match value {
        Scalar::Text(text) => text.into(),
        Scalar::Bool(truth) => truth.into(),
        Scalar::Number(number) if field == "created_at" => {
            number.to_json().as_i64().map_or(Value::Null, |at| time_text(at).into())
        }
        Scalar::Number(number) => number.to_json(),
    }
}
