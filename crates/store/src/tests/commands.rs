//! Commands that are decided by what is there when their turn comes.

use super::sample::Sample;
use crate::{ChangeSession, RecordReads, SessionChange, SessionState, Spend, Store, StoreError, StoredSession};
use membox_api::IndexPolicy;
use membox_records::Quota;

fn session(sample: &Sample) -> StoredSession {
    StoredSession {
        number: 0,
        tenant: "t".into(),
        id: "s".into(),
        collection: sample.collection.id,
        user: Some("ann".into()),
        version: 0,
        state: SessionState::default(),
    }
}

fn change(session: StoredSession, max_messages: u64) -> ChangeSession {
    let set = SessionChange { max_messages: Some(max_messages), ..SessionChange::default() };
    ChangeSession { session, must_match: (true, true), set }
}

fn read(store: &Store) -> StoredSession {
    store.read().expect("reads").session("t", "s").expect("a read").expect("the session")
}

#[test]
fn a_session_is_changed_only_by_who_has_seen_its_newest_version() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store = &sample.store;
    assert!(store.change_session(change(session(&sample), 5)).expect("it is made"));
    let seen = read(store);
    assert!(!store.change_session(change(seen.clone(), 6)).expect("it is changed"));
    let late = store.change_session(change(seen, 7)).expect_err("somebody else was faster");
    assert!(late.is_conflict(), "{late}");
    let now = read(store);
    assert_eq!((now.state.max_messages, now.version), (6, 2));
}

#[test]
fn a_session_that_somebody_else_has_made_otherwise_is_refused() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store = &sample.store;
    store.change_session(change(session(&sample), 5)).expect("it is made");
    let other = StoredSession { user: Some("bob".into()), ..session(&sample) };
    let refused = store.change_session(change(other, 5));
    assert!(matches!(refused, Err(StoreError::SessionExists { what: "user", .. })), "{refused:?}");
}

#[test]
fn of_two_who_ask_for_the_last_tokens_one_gets_them() {
    let sample = Sample::new(IndexPolicy::Flat);
    let quota = Some(Quota { tokens_per_day: 100, micros_per_1000: 0 });
    let spend = |tokens| {
        let (tenant, user, day) = ("t".into(), "ann".into(), "2026-05-20".into());
        sample.store.spend(Spend { tenant, user, day, tokens, default_quota: quota }).expect("an answer")
    };
    assert!(!spend(60).is_refused);
    let refused = spend(60);
    assert_eq!((refused.is_refused, refused.used.tokens), (true, 60));
    assert_eq!((spend(40).is_refused, spend(-10).used.tokens), (false, 90));
}
