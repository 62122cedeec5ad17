//! What is being erased is not written to.
//!
//! An erasure begins with the commit of its job, in the same order as all other commits. What was committed before is
//! there when the erasure looks for it. What comes after is refused here, until the job says that nothing is left. So
//! nothing is ever acknowledged and then lost half.

use crate::StoreError;
use crate::command::{Command, WriteRecords};
use membox_records::{Erasure, StoredJob, WriteTransaction};

const TENANT: &str = "this tenant is being erased";
const USER: &str = "this user is being erased";

/// Refuses a command that writes to what is being erased. What deletes, or moves on what is there, goes on.
pub(super) fn check(tx: &WriteTransaction, command: &Command) -> Result<(), StoreError> {
    match command {
        Command::WriteRecords(WriteRecords { collection, records, .. }) => {
            let writes = |user: &str, own: Option<&str>| {
                own == Some(collection.name.as_str())
                    || records.iter().any(|new| new.record.user.as_deref() == Some(user))
            };
            check_all(tx, &collection.tenant, writes)
        }
        Command::AppendMessages(append) => {
            let session = &append.session;
            check_all(tx, &session.tenant, |user, own| {
                own == Some(append.collection.name.as_str()) || session.user.as_deref() == Some(user)
            })
        }
        Command::ChangeSession(change) => {
            let session = &change.session;
            check_all(tx, &session.tenant, |user, _| session.user.as_deref() == Some(user))
        }
        Command::PushInputs { tenant, session, .. } => check_session(tx, tenant, session),
        Command::PutCheckpoint { key, .. } | Command::PutCheckpointWrites { key, .. } => {
            check_session(tx, &key.tenant, &key.thread)
        }
        Command::PutBlob { tenant, thread, .. } => check_session(tx, tenant, thread),
        Command::CopyCheckpoints { tenant, to, .. } | Command::CopyBlob { tenant, to, .. } => {
            check_session(tx, tenant, to)
        }
        Command::Spend(spend) => check_all(tx, &spend.tenant, |user, _| spend.user == user),
        Command::SetQuota { tenant, user: of, .. } => check_all(tx, tenant, |user, _| of == user),
        Command::InsertJobs { jobs, .. } => jobs.iter().try_for_each(|job| check_job(tx, job)),
        _ => Ok(()),
    }
}

/// Refuses a collection that is being erased with its tenant or its user.
pub(super) fn check_collection(tx: &WriteTransaction, tenant: &str, name: &str) -> Result<(), StoreError> {
    check_all(tx, tenant, |_, own| own == Some(name))
}

/// Whether a user is being erased, or the whole tenant.
pub(super) fn is_erased(tx: &WriteTransaction, tenant: &str, user: &str) -> Result<bool, StoreError> {
    match check_all(tx, tenant, |erased, _| erased == user) {
        Ok(()) => Ok(false),
        Err(StoreError::Erasing(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Refuses what writes to a user, or to a user's own collection, as `writes` says.
fn check_all(
    tx: &WriteTransaction,
    tenant: &str,
    writes: impl Fn(&str, Option<&str>) -> bool,
) -> Result<(), StoreError> {
    for erasure in tx.erasures(tenant)? {
        match erasure {
            Erasure::Tenant => return Err(StoreError::Erasing(TENANT.to_owned())),
            Erasure::User { user, collection } if writes(&user, collection.as_deref()) => {
                return Err(StoreError::Erasing(USER.to_owned()));
            }
            Erasure::User { .. } => {}
        }
    }
    Ok(())
}

/// Refuses what goes beside a session of a user who is being erased: its queue, and the thread of its name.
fn check_session(tx: &WriteTransaction, tenant: &str, session: &str) -> Result<(), StoreError> {
    if tx.erasures(tenant)?.is_empty() {
        return Ok(());
    }
    let of = tx.session(tenant, session)?.and_then(|session| session.user);
    check_all(tx, tenant, |user, _| of.as_deref() == Some(user))
}

/// Refuses a job that works on what is being erased. An erasure may be asked for again.
fn check_job(tx: &WriteTransaction, job: &StoredJob) -> Result<(), StoreError> {
    let is_erasure = job.erases.is_some();
    check_all(tx, &job.tenant, |user, own| {
        !is_erasure && (job.user.as_deref() == Some(user) || own.is_some() && own == job.collection.as_deref())
    })
}
