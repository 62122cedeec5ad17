//! What one recall looks at: it stays as it is, whatever is written meanwhile.

use crate::collection::{Allowed, WindowRows, open_sealed};
use crate::command::{Selection, VersionId};
use crate::row_checks::has_its_vectors;
use crate::surroundings::Surroundings;
use crate::{Collection, StoreError};
use membox_index::{AllowedRows, Effort, Found, Search, VectorIndex};
use membox_records::keys::Opener;
use membox_records::{Filter, Slots, StoredRecord};
use membox_vectors::{Metric, QuestionTokens, RowPin, TokenVectors, TokenView, VectorView};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Rows beyond those that are wanted, a quarter and so many, where records have several: the best rows of some are
/// several of one record.
const SPARE_ROWS: usize = 8;

/// A record within one snapshot. Of two, the one whose version was committed first is less: so ties between hits are
/// broken the same way in every replica that follows the [changes](crate::RecordStore::changes), whatever rows
/// compactions gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRef(pub(crate) u32);

/// Which state of a collection an answer is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateVersion {
    /// Another one after each write, of all collections.
    pub number: u64,
    /// When the next record expires, in milliseconds since 1970.
    pub until: i64,
}

/// The records of a collection at one moment, those that a filter allows.
pub struct Snapshot {
    pub(crate) collection: Arc<Collection>,
    pub(crate) view: VectorView,
    pub(crate) surroundings: Surroundings,
    /// Vectors of tokens, where there are any.
    tokens: Option<TokenView>,
    /// What opens those that are sealed, by the first key that was met.
    opener: OnceLock<(u32, Opener)>,
    pub(crate) slots: Arc<Slots>,
    index: Option<Arc<VectorIndex>>,
    /// Rows of the records that may be found.
    pub(crate) allowed: Arc<AllowedRows>,
    /// The same, and where all of their vectors are.
    searched: Allowed,
    windows: Arc<WindowRows>,
    marked: Option<Arc<AllowedRows>>,
    version: StateVersion,
    _pin: RowPin,
}

/// How near the tokens of a question are to those of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSimilarities {
    /// For each part of the record, and in it for each token of the question, the cosine of the nearest token.
    pub parts: Vec<Vec<f32>>,
    /// Tokens that the record has.
    pub tokens: usize,
}

/// A record that speaks for another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpokenFor {
    /// The record.
    pub by: RecordRef,
    /// Steps between both in their session.
    pub steps: usize,
    /// The share of what it says that counts, 0 to 1.
    pub share: f32,
}

/// The records nearest to a vector, best first.
#[derive(Clone, Debug, Default)]
pub struct Nearest {
    /// Each with its score.
    pub records: Vec<(RecordRef, f32)>,
    /// Whether all of them were compared.
    pub exact: bool,
}

/// What a record of a snapshot is when it is read.
#[derive(Debug)]
pub enum Fetched {
    /// As the snapshot has it.
    Found(Box<StoredRecord>),
    /// It was deleted or changed since the snapshot.
    Changed,
    /// It cannot be read back, or its vector does not have its checksum: no answer.
    Damaged,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({:?}, {} records)", self.collection, self.len())
    }
}

impl Snapshot {
    /// The records at `now`. With a filter, the caller has prepared it: see
    /// [`Reads::snapshot`](crate::Reads::snapshot).
    pub(crate) fn take(collection: &Arc<Collection>, now: i64, filter: Option<&Filter>) -> Self {
        Self::of(collection, &collection.state(), now, filter)
    }

    /// As [`Snapshot::take`], with those marked that another filter allows.
    pub(crate) fn marking(
        collection: &Arc<Collection>,
        now: i64,
        filter: Option<&Filter>,
        marked: Option<&Filter>,
    ) -> Self {
        let state = collection.state();
        let marked = marked.map(|filter| state.allowed(now, Some(filter)).0.records);
        Self { marked, ..Self::of(collection, &state, now, filter) }
    }

    pub(crate) fn of(
        collection: &Arc<Collection>,
        state: &crate::collection::CollectionState,
        now: i64,
        filter: Option<&Filter>,
    ) -> Self {
        let (searched, until) = state.allowed(now, filter);
        Self {
            collection: collection.clone(),
            view: state.view.clone(),
            surroundings: Surroundings { links: state.links.links().clone(), texts: state.texts.clone() },
            tokens: state.tokens.clone(),
            opener: OnceLock::new(),
            slots: state.slots.clone(),
            index: state.index.clone(),
            allowed: searched.records.clone(),
            searched,
            windows: state.windows.clone(),
            marked: None,
            version: StateVersion { number: state.version(), until },
            _pin: state.pin(),
        }
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.allowed.rows().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of the vector file, those of older versions among them.
    pub fn rows(&self) -> u32 {
        self.view.rows()
    }

    /// Which state of the collection it is of.
    pub fn version(&self) -> StateVersion {
        self.version
    }

    /// All of its records, for a deletion.
    pub fn selection(&self) -> Selection {
        Selection::Versions(self.allowed.rows().iter().map(|row| VersionId(self.slots.slot(row))).collect())
    }

    /// Rows of all vectors of its records: more than records where texts have several.
    pub fn vectors(&self) -> u64 {
        self.searched.vectors(&self.windows).rows().len()
    }

    /// Where a record is, if this version of it is in the snapshot's file with the vectors that belong to it.
    pub fn locate(&self, stored: &StoredRecord) -> Option<RecordRef> {
        let row = self.slots.row(stored.slot)?;
        has_its_vectors(stored, row, &self.view).then_some(RecordRef(row))
    }

    /// Whether a record is one that may be found.
    pub fn contains(&self, record: RecordRef) -> bool {
        self.allowed.contains(record.0)
    }

    /// Whether a record is one of those that the search marked.
    pub fn is_marked(&self, record: RecordRef) -> bool {
        self.marked.as_ref().is_some_and(|marked| marked.contains(record.0))
    }

    /// A record's vector; that of its first window where it has several.
    pub fn vector(&self, record: RecordRef) -> Vec<f32> {
        self.view.vector(record.0)
    }

    /// The vectors of a record's further windows.
    pub fn further_vectors(&self, record: RecordRef) -> Vec<Vec<f32>> {
        self.windows.of(record.0).map(|row| self.view.vector(row)).collect()
    }

    /// How many vectors a record has: 1, or as many as its text has windows.
    pub fn windows(&self, record: RecordRef) -> usize {
        1 + self.windows.of(record.0).len()
    }

    /// How near a record is to a vector: the nearest of its windows.
    pub fn score(&self, vector: &[f32], record: RecordRef) -> f32 {
        let further = self.windows.of(record.0).map(|row| self.view.score(vector, row));
        further.fold(self.view.score(vector, record.0), f32::max)
    }

    /// Where in the text of a record the window is that is nearest to a vector, in bytes; `None` for a record with one
    /// vector, and where it is not known. `stored` is the record as it was fetched.
    pub fn window_of(&self, vector: &[f32], record: RecordRef, stored: &StoredRecord) -> Option<Range<usize>> {
        let further = self.windows.of(record.0);
        if further.is_empty() {
            return None;
        }
        let score = |row: u32| self.view.score(vector, row);
        let first = (record.0, score(record.0));
        let nearer = |best: (u32, f32), row| Some((row, score(row))).filter(|own| own.1 > best.1).unwrap_or(best);
        let (row, _) = further.fold(first, nearer);
        let window = stored.windows.get((row - record.0) as usize)?;
        (window.start < window.end).then_some(window.start as usize..window.end as usize)
    }

    /// How alike two records are: the cosine of the part of either that is least like any part of the other.
    pub fn likeness(&self, a: RecordRef, b: RecordRef) -> f32 {
        let rows = |of: RecordRef| std::iter::once(of.0).chain(self.windows.of(of.0));
        let least = |of: RecordRef, to: RecordRef| {
            let like = |row: u32| match self.view.metric() {
                Metric::Cosine => self.score(&self.view.vector(row), to),
                _ => rows(to).map(|other| self.cosine(row, other)).fold(f32::NEG_INFINITY, f32::max),
            };
            rows(of).map(like).fold(f32::INFINITY, f32::min)
        };
        match self.windows(a).max(self.windows(b)) {
            1 => least(a, b),
            _ => least(a, b).min(least(b, a)),
        }
    }

    /// The cosine of two rows whose lengths are any.
    fn cosine(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.view.vector(a), self.view.vector(b));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let lengths = (product(&a, &a) * product(&b, &b)).sqrt();
        if lengths > 0.0 { (product(&a, &b) / lengths) as f32 } else { 0.0 }
    }

    /// Records of its session that speak for a record, each with the steps to it and the share of what it says that
    /// counts.
    pub fn spoken_for_by(&self, record: RecordRef) -> Vec<SpokenFor> {
        let mut found = Vec::new();
        let share = self.surroundings.openness(record.0);
        self.surroundings.around(record.0, |row, steps| {
            if self.allowed.contains(row) {
                found.push(SpokenFor { by: RecordRef(row), steps, share });
            }
        });
        found
    }

    /// Whether a record was said by, or is about, somebody of one of these names: see [`Snapshot::names`].
    pub fn is_of_one_of(&self, record: RecordRef, names: &[u32]) -> bool {
        !names.is_empty() && self.surroundings.texts.people(record.0).is_one_of(names)
    }

    /// Whether one of these said a record: see [`Snapshot::askers`].
    pub fn is_said_by(&self, record: RecordRef, names: &[u32]) -> bool {
        !names.is_empty() && self.surroundings.texts.people(record.0).is_said_by(names)
    }

    /// How far a record only asks, 0 to 1: a short question in a session does, which what follows answers.
    pub fn asking(&self, record: RecordRef) -> f32 {
        self.surroundings.asking(record.0)
    }

    /// The numbers of those who may have said what a question in the first person asks for.
    pub fn askers(&self, question: &str) -> Vec<u32> {
        self.surroundings.texts.askers(question)
    }

    /// The numbers of what may be names in a question.
    pub fn names(&self, question: &str) -> Vec<u32> {
        self.surroundings.texts.names(question)
    }

    /// How rare each term is among the texts: BM25's inverse document frequency.
    pub fn rarities(&self, terms: &[String]) -> Result<Vec<f32>, StoreError> {
        Ok(self.surroundings.texts.rarities(terms)?)
    }

    /// Asks the processor to fetch what [`Snapshot::token_similarities`] reads of some records, if it will soon be
    /// called for all of them: they lie here and there in large files.
    pub fn prefetch_tokens(&self, records: impl Iterator<Item = RecordRef> + Clone) {
        let Some(tokens) = &self.tokens else { return };
        records.clone().for_each(|record| self.view.prefetch(record.0));
        tokens.prefetch(records.map(|record| record.0));
    }

    /// How near each token of a question is to those of a record, for each `part` tokens of it; `None` where the record
    /// has none, no whole ones, or those of another model.
    pub fn token_similarities(
        &self,
        question: &QuestionTokens,
        record: RecordRef,
        part: usize,
    ) -> Option<TokenSimilarities> {
        let space = question.space();
        if self.tokens.as_ref()?.space() != space {
            return None;
        }
        let codes = self.codes(record).filter(|codes| !codes.is_empty())?;
        let nearest = |codes: &[u8]| {
            let mut best = vec![-1.0; question.len()];
            question.max_sim(codes, &mut best);
            best
        };
        let parts = codes.chunks(part.max(1) * space.token_bytes()).map(nearest).collect();
        Some(TokenSimilarities { parts, tokens: space.tokens(&codes) })
    }

    /// The vectors of a record's tokens; `None` where it has no whole ones.
    pub fn token_vectors(&self, record: RecordRef) -> Option<TokenVectors> {
        TokenVectors::from_bytes(self.tokens.as_ref()?.space(), self.codes(record)?.into_owned())
    }

    fn codes(&self, record: RecordRef) -> Option<Cow<'_, [u8]>> {
        let stored = self.tokens.as_ref()?.get(record.0, self.view.crc(record.0))?;
        let opener = |key: u32| {
            let found = || self.collection.sealing.keyring()?.opener(key).ok();
            let (known, opener) = match self.opener.get() {
                Some(known) => known,
                None => {
                    let found = found()?;
                    self.opener.get_or_init(|| (key, found))
                }
            };
            if *known == key { Some(opener.clone()) } else { found() }
        };
        open_sealed(stored, (self.collection.id, self.slots.slot(record.0)), opener)
    }

    /// The `count` records nearest to each vector, each by the nearest of its windows.
    pub fn nearest(&self, vectors: &[&[f32]], count: usize, effort: Effort) -> Result<Vec<Nearest>, StoreError> {
        if vectors.is_empty() {
            return Ok(Vec::new());
        }
        self.collection.check_readable(&self.view)?;
        let nearest = match self.windows.is_empty() {
            true => self.nearest_rows(vectors, count, effort)?.into_iter().map(Nearest::from).collect(),
            false => self.nearest_by_windows(vectors, count, effort)?,
        };
        // What was found among rows that could not be read is no answer.
        self.collection.check_readable(&self.view)?;
        Ok(nearest)
    }

    fn nearest_rows(&self, vectors: &[&[f32]], count: usize, effort: Effort) -> Result<Vec<Found>, StoreError> {
        let search = Search {
            view: &self.view,
            index: self.index.as_deref(),
            allowed: self.searched.vectors(&self.windows),
            policy: self.collection.index_policy(),
            effort,
            scanner: &self.collection.scanner,
        };
        Ok(search.nearest(vectors, count)?)
    }

    /// Where records have several rows: asks for more rows than records, and again for twice as many where too few
    /// records are among them.
    fn nearest_by_windows(&self, vectors: &[&[f32]], count: usize, effort: Effort) -> Result<Vec<Nearest>, StoreError> {
        let mut nearest = vec![Nearest::default(); vectors.len()];
        let mut open: Vec<usize> = (0..vectors.len()).collect();
        let mut wanted = count.saturating_add(count / 4 + SPARE_ROWS);
        while !open.is_empty() {
            let asked: Vec<&[f32]> = open.iter().map(|&i| vectors[i]).collect();
            let mut left = Vec::new();
            for (i, found) in open.into_iter().zip(self.nearest_rows(&asked, wanted, effort)?) {
                let are_all = found.rows.len() < wanted;
                nearest[i] = self.best_of_each(found, count);
                if nearest[i].records.len() < count && !are_all {
                    left.push(i);
                }
            }
            (open, wanted) = (left, wanted.saturating_mul(2));
        }
        Ok(nearest)
    }

    /// The records of rows, each once, by its best.
    fn best_of_each(&self, found: Found, count: usize) -> Nearest {
        let mut seen = HashSet::with_capacity(found.rows.len());
        let records = found.rows.iter().map(|near| (RecordRef(self.windows.record(near.row)), near.score));
        let records = records.filter(|(record, _)| seen.insert(*record)).take(count).collect();
        Nearest { records, exact: found.exact }
    }
}

impl From<Found> for Nearest {
    fn from(found: Found) -> Self {
        let records = found.rows.iter().map(|near| (RecordRef(near.row), near.score)).collect();
        Self { records, exact: found.exact }
    }
}
