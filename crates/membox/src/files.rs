//! How many files a process may have open, and who gets how many: each open collection is three, and each connection
//! one.

use crate::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a box has open beside its readers, collections and connections: the log, sockets, the database, and
/// what work on collections opens for a moment.
const OWN_FILES: u64 = 64;
/// Files of a connection to the database.
const READER_FILES: u64 = 2;
/// Files of an open collection: its vectors, and two of vectors of tokens.
const COLLECTION_FILES: u64 = 3;
/// Collections and connections that a box keeps, however few files it may have open.
const MIN_SHARE: u64 = 8;

/// How many files this process may have open.
pub struct OpenFiles {
    /// `None` for any number.
    limit: Option<u64>,
}

/// How many of them are for what.
#[derive(Debug, PartialEq, Eq)]
pub struct Shares {
    /// Collections that are kept open while nobody uses them.
    pub collections: usize,
    /// Connections open at the same time.
    pub connections: usize,
}

impl OpenFiles {
    /// Lets the process have as many open files as the system allows.
    pub fn allowed() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        Self { limit: getrlimit(Resource::Nofile).current }
    }

    /// What is left beside the box's own files, for collections and connections: all that is wanted, or else half each.
    pub fn shared(&self, readers: usize, collections: usize, connections: usize) -> Shares {
        let Some(limit) = self.limit else { return Shares { collections, connections } };
        let least = 2 * MIN_SHARE * COLLECTION_FILES;
        let left = limit.saturating_sub(OWN_FILES + READER_FILES * readers as u64).max(least);
        // What the one does not need the other may have.
        let for_collections = (left / 2).max(left.saturating_sub(connections as u64));
        let of_collections = (collections as u64).min(for_collections / COLLECTION_FILES);
        let of_connections = (connections as u64).min(left - of_collections * COLLECTION_FILES);
        Shares { collections: of_collections as usize, connections: of_connections as usize }
    }
}

impl Shares {
    /// Says what is less than what was set.
    pub fn log(&self, files: &OpenFiles, config: &Config) {
        let limit = files.limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        let Self { collections, connections } = self;
        tracing::info!(limit, collections, connections, "open files, and for what they are");
        if *collections < config.open_collections {
            tracing::warn!(
                "the limit of open files (ulimit -n) is {limit}: {collections} idle collections are kept open \
                 instead of {} (open_collections)",
                config.open_collections
            );
        }
        if *connections < config.max_connections {
            tracing::warn!(
                "the limit of open files (ulimit -n) is {limit}: {connections} connections are served at a time \
                 instead of {} (max_connections)",
                config.max_connections
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn with_few_files_collections_and_connections_share_what_is_left() {
        let shares = |limit, collections, connections| {
            let Shares { collections, connections } = OpenFiles { limit }.shared(8, collections, connections);
            (collections, connections)
        };
        assert_eq!(shares(None, 512, 16_384), (512, 16_384));
        assert_eq!(shares(Some(1 << 20), 512, 16_384), (512, 16_384));
        assert_eq!(shares(Some(256), 512, 16_384), (29, 89));
        assert_eq!(shares(Some(256), 512, 10), (55, 10), "what one does not need the other may have");
        assert_eq!(shares(Some(256), 10, 16_384), (10, 146));
        assert_eq!(shares(Some(30), 512, 16_384), (8, 24), "some are always tried");
    }

    proptest! {
        #[test]
        fn no_more_is_shared_out_than_there_is(
            limit in 256u64..100_000, readers in 1usize..64, a in 1usize..20_000, b in 1usize..20_000,
        ) {
            let Shares { collections, connections } = OpenFiles { limit: Some(limit) }.shared(readers, a, b);
            let own = OWN_FILES + READER_FILES * readers as u64;
            let files = own + COLLECTION_FILES * collections as u64 + connections as u64;
            prop_assert!(files <= limit && collections >= 1 && connections >= 1);
            prop_assert!(collections <= a && connections <= b);
            let is_used_up = files + COLLECTION_FILES > limit;
            prop_assert!(collections + connections == a + b || is_used_up, "nothing is left over that is wanted");
        }
    }
}
