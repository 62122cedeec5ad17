//! The lines of the box's own exports (`GET /v1/users/{u}/export`): what each of them asks to be written.
//!
//! What the box makes itself is not written again: versions, the time of a session and of a change, ids of inputs
//! that wait, summaries, usage.

use super::line::{Members, RecordLine};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What a line of an export says.
pub enum ArchiveLine {
    Session(SessionLine),
    Message(MessageLine),
    Record(RecordLine),
    /// A record that is an archived message if its session is of an older export: those gave them out without roles.
    PerhapsMessage {
        session: String,
        record: RecordLine,
    },
    /// An input that waits in a session's queue, as JSON.
    Queued {
        session: String,
        payload: String,
    },
    Checkpoint(CheckpointLine),
    Blob(BlobLine),
    /// What the box counts itself.
    Usage,
    /// How many lines there were before it.
    End(u64),
}

/// A session as it is to be made.
pub struct SessionLine {
    pub id: String,
    pub user: Option<String>,
    pub collection: String,
    /// Its settings as JSON.
    pub settings: String,
    /// Whether its archived messages are given out as messages.
    pub has_archived: bool,
}

/// A message that is to be appended.
pub struct MessageLine {
    pub session: String,
    /// The message as JSON.
    pub json: String,
}

/// The value of a channel of a thread.
pub struct BlobLine {
    pub thread: String,
    pub namespace: String,
    pub channel: String,
    pub version: String,
    pub kind: String,
    pub data: Vec<u8>,
}

/// A checkpoint of a thread.
pub struct CheckpointLine {
    pub thread: String,
    pub namespace: String,
    pub id: String,
    pub created_at: i64,
    /// What is written of it, as JSON; `None` where only writes have come yet.
    pub body: Option<String>,
    /// What tasks have written towards the next one, as JSON.
    pub writes: Vec<(String, String)>,
}

/// Reads a line of an export; `None` for what is none.
pub fn read(members: &Members, now: i64) -> Option<Result<ArchiveLine, String>> {
    let kind = members.text("type").ok()??;
    // A record has no type.
    let read = match kind.as_str() {
        "session" => session(members).map(ArchiveLine::Session),
        "message" => message(members).map(ArchiveLine::Message),
        "record" => record(members),
        "queued" => queued(members),
        "blob" => blob(members).map(ArchiveLine::Blob),
        "checkpoint" => checkpoint(members, now).map(ArchiveLine::Checkpoint),
        "usage" => Ok(ArchiveLine::Usage),
        "end" => Ok(ArchiveLine::End(members.get("lines").and_then(|n| n.parse().ok()).unwrap_or(0))),
        _ => return None,
    };
    Some(read)
}

fn session(members: &Members) -> Result<SessionLine, String> {
    let session = members.object("session")?;
    let (id, user, collection) = (session.needed("id")?, session.text("user")?, session.needed("collection")?);
    let made = ["id", "version", "messages", "audio_seconds", "summary", "created_at", "updated_at"];
    let has_archived = members.get("format").and_then(|n| n.parse().ok()).unwrap_or(1) >= 2;
    Ok(SessionLine { id, user, collection, settings: session.without(&made).json(), has_archived })
}

fn message(members: &Members) -> Result<MessageLine, String> {
    let message = members.object("message")?;
    let media = match members.text("media")? {
        Some(data) => {
            let mut media = json!({ "data": data });
            let about: Value =
                message.get("media").and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
            for name in ["seconds", "language"] {
                if !about[name].is_null() {
                    media[name] = about[name].clone();
                }
            }
            Some(media)
        }
        None => None,
    };
    let message = message.without(&["seq", "tokens", "updated_at", "version", "media"]);
    let message = media.iter().fold(message, |message, media| message.with("media", media));
    let message = message.with_written("payload", members);
    Ok(MessageLine { session: members.needed("session")?, json: message.json() })
}

/// Why a message is refused that was given out as a record.
pub fn without_role(session: &str) -> String {
    format!(
        "it is a message of session {session:?}, and this export of an older box does not say its role: \
         bring that box up to date, and export the user again"
    )
}

fn record(members: &Members) -> Result<ArchiveLine, String> {
    let mut record = members.object("record")?.without(&["version", "updated_at"]);
    let session = record.text("session")?.unwrap_or_default();
    if record.get("message").is_some() {
        return Err(without_role(&session));
    }
    record = record.with_written("payload", members);
    let is_named_so = record.text("id")?.is_some_and(|id| id.starts_with(&format!("{session}/")));
    if let Some(vector) = members.text("vector")? {
        record = record.with("vector", &vector.into());
    }
    let mut line = RecordLine::checked(members.needed("collection")?, record.json())?;
    if let Some(settings) = members.get("settings") {
        settings.clone_into(&mut line.settings);
    }
    let is_in_session = is_named_so && !session.is_empty();
    Ok(if is_in_session { ArchiveLine::PerhapsMessage { session, record: line } } else { ArchiveLine::Record(line) })
}

fn queued(members: &Members) -> Result<ArchiveLine, String> {
    let item = members.object("item")?;
    let payload = item.get("payload").unwrap_or("null").to_owned();
    Ok(ArchiveLine::Queued { session: members.needed("session")?, payload })
}

fn blob(members: &Members) -> Result<BlobLine, String> {
    let line = members.object("blob")?;
    let data = STANDARD.decode(line.needed("data")?).map_err(|error| format!("\"data\" is not base64: {error}"))?;
    Ok(BlobLine {
        thread: line.needed("thread")?,
        namespace: line.text("namespace")?.unwrap_or_default(),
        channel: line.needed("channel")?,
        version: line.needed("version")?,
        kind: line.text("type")?.unwrap_or_default(),
        data,
    })
}

fn checkpoint(members: &Members, now: i64) -> Result<CheckpointLine, String> {
    let line = members.object("checkpoint")?;
    let own = line.object("checkpoint")?;
    let writes = match own.get("writes") {
        Some(_) => own.object("writes")?.entries(),
        None => Vec::new(),
    };
    let created_at = own.get("created_at").and_then(|n| n.parse().ok()).unwrap_or(0);
    // A state that is null is one.
    let state = own.get("state").unwrap_or("null");
    let mut body = format!("{{\"state\":{state}");
    for name in ["parent", "metadata"] {
        if let Some(json) = own.get(name) {
            body += &format!(",\"{name}\":{json}");
        }
    }
    if let Some(channels) = line.get("channels") {
        body += &format!(",\"channels\":{channels}");
    }
    if let Some(expires_at) = line.text("expires_at")? {
        let at = membox_memory::time_millis(&expires_at).ok_or("\"expires_at\" is not a time")?;
        body += &format!(",\"ttl_s\":{}", (at - now).max(0) / 1000);
    }
    body.push('}');
    let is_awaited = line.get("awaited") == Some("true");
    Ok(CheckpointLine {
        thread: line.needed("thread")?,
        namespace: line.text("namespace")?.unwrap_or_default(),
        id: line.needed("id")?,
        created_at,
        body: (!is_awaited).then_some(body),
        writes,
    })
}
