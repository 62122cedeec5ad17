//! What the writer does when the disk is full: what frees room is done in the room of the [reserve](crate::reserve),
//! and what adds is refused until the reserve is whole again.

use super::{Accepted, Pending, Touched, Writer};
use crate::StoreError;
use crate::collection::CollectionFolder;
use crate::writer::Request;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the log is emptied to find room, at most: that waits for readers of it.
const SEEK_ROOM_EVERY: Duration = Duration::from_secs(1);
/// Records of a dropped collection that go in one commit; fewer where the disk has no room for the log of so many.
const DROPPED_RECORDS: usize = 1024;

impl Writer {
    /// Does what frees room. When the disk has none for that, it is tried again in the reserve's.
    pub(super) fn freeing<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match work(self) {
            Err(StoreError::DiskFull) => {
                self.registry.reserve.release();
                let done = work(self);
                self.seek_room();
                done
            }
            done => done,
        }
    }

    /// Refuses what adds to the disk while the reserve is gone, and gives the rest.
    pub(super) fn with_room_for(&mut self, group: Vec<Request>) -> Vec<Request> {
        self.seek_room();
        if !self.registry.reserve.is_spent() {
            return group;
        }
        let (frees, adds): (Vec<_>, Vec<_>) = group.into_iter().partition(|request| request.command.frees());
        adds.into_iter().for_each(|request| (request.reply)(Err(StoreError::DiskFull)));
        frees
    }

    /// Does requests that the disk had no room for, and that free some. Each in a commit of its own: together they may
    /// be too many.
    pub(super) fn free(&mut self, requests: Vec<Pending>) {
        if requests.is_empty() {
            return;
        }
        self.registry.reserve.release();
        for mut pending in requests {
            let Some(command) = pending.again.take() else { continue };
            let touched = pending.collection.iter().map(|of| (Arc::clone(of), of.file().rows()));
            let touched: Vec<Touched> = touched.collect();
            match self.commit(vec![Accepted { command, rows: Vec::new() }], &touched) {
                Ok(applied) => self.publish(std::iter::once(pending).zip(applied).collect(), touched),
                Err(error) => self.refuse(vec![pending], &error),
            }
        }
        self.seek_room();
    }

    /// Makes the reserve whole again where there is room for it, and finishes what waits for room.
    pub(super) fn seek_room(&mut self) {
        if self.registry.reserve.is_spent() && !self.registry.reserve.fill() {
            if self.sought_room.is_some_and(|sought| sought.elapsed() < SEEK_ROOM_EVERY) {
                return;
            }
            self.sought_room = Some(Instant::now());
            // What the log holds is in the database then, and its file is empty.
            match self.records.checkpoint() {
                Ok(_) => drop(self.registry.reserve.fill()),
                Err(error) => tracing::warn!(%error, "the log could not be emptied to find room on the disk"),
            }
        }
        if !self.dropping.is_empty() {
            let left = std::mem::take(&mut self.dropping);
            self.finish_drops(left);
        }
    }

    /// Drops what is left of collections that are marked as dropped; what the disk has no room for is left for later.
    pub(crate) fn finish_drops(&mut self, collections: impl IntoIterator<Item = i64>) {
        for collection in collections {
            // A stop may have come before they went.
            let _ = std::fs::remove_dir_all(CollectionFolder::of(&self.registry.root, collection).0);
            if let Err(error) = self.drop_in_steps(collection) {
                tracing::warn!(%error, collection, "records of a dropped collection are removed later");
                self.dropping.push(collection);
            }
        }
    }

    fn drop_in_steps(&mut self, collection: i64) -> Result<(), StoreError> {
        let mut limit = DROPPED_RECORDS;
        loop {
            let dropped = self.drop_some(collection, limit);
            match dropped {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(StoreError::DiskFull) if limit > 1 => {
                    self.registry.reserve.release();
                    limit /= 8;
                }
                Err(error) => return Err(error),
            }
            if self.registry.reserve.is_spent() {
                self.records.checkpoint()?;
            }
        }
    }

    /// Drops some records of a collection, and gives how many; with the last of them the collection.
    fn drop_some(&mut self, collection: i64, limit: usize) -> Result<usize, StoreError> {
        let mut tx = self.records.begin()?;
        let dropped = tx.drop_some_records(collection, limit.max(1))?;
        if dropped == 0 {
            tx.drop_collection(collection)?;
        }
        tx.commit()?;
        Ok(dropped)
    }
}
