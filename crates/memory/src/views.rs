//! What is stored, as it is given out.

use crate::fields::message_tokens;
use crate::time_text;
use membox_api::{CollectionView, IndexView, MediaView, MessageView, RecordView, SummaryView};
use membox_store::{Description, Media, OpaqueJson, StoredRecord, Summary};

/// A record with its payload.
pub(crate) fn record_with_payload(mut stored: StoredRecord) -> RecordView {
    let payload = stored.record.payload.take().map(OpaqueJson::into_written);
    RecordView { payload, ..record_view(stored) }
}

/// A record without its payload.
pub(crate) fn record_view(stored: StoredRecord) -> RecordView {
    let r = stored.record;
    RecordView {
        id: r.id,
        text: r.text,
        metadata: r.metadata,
        payload: None,
        created_at: time_text(r.created_at),
        updated_at: r.updated_at.map(time_text),
        expires_at: r.expires_at.map(time_text),
        importance: r.importance,
        user: r.user,
        session: r.session,
        message: r.message.map(|message| message.id),
        kind: r.kind,
        version: stored.version,
    }
}

/// A message of a session.
pub(crate) fn message_view(stored: StoredRecord) -> MessageView {
    let message = stored.record.message.unwrap_or_default();
    let tokens = message_tokens(&message);
    MessageView {
        id: message.id,
        seq: message.position,
        role: message.role,
        kind: message.kind,
        content: stored.record.text,
        media: message.media.map(media_view),
        name: message.name,
        tool_call_id: message.tool_call_id,
        tool_calls: message.tool_calls,
        metadata: stored.record.metadata,
        payload: stored.record.payload.map(OpaqueJson::into_written),
        tokens,
        created_at: time_text(stored.record.created_at),
        updated_at: message.updated_at.map(time_text),
        version: stored.version,
    }
}

fn media_view(media: Media) -> MediaView {
    MediaView {
        content_type: media.content_type,
        bytes: media.bytes,
        sha256: media.sha256,
        width: media.width,
        height: media.height,
        seconds: media.milliseconds.map(|ms| ms as f64 / 1000.0),
        language: media.language,
    }
}

/// A summary of a session's first messages.
pub(crate) fn summary_view(s: Summary) -> SummaryView {
    SummaryView { text: s.text, messages: s.messages, version: s.version, model: s.model }
}

/// A collection.
pub(crate) fn collection_view(d: Description) -> CollectionView {
    CollectionView {
        name: d.name,
        created_at: time_text(d.created_at),
        settings: d.settings,
        records: d.records,
        vectors: d.vectors,
        rows: d.rows,
        vector_bytes: d.vector_bytes,
        index: IndexView {
            kind: d.index.kind.to_owned(),
            ef_search: d.index.ef_search,
            nprobe: d.index.nprobe,
            covered_rows: d.index.covered_rows,
            building_rows: d.index.building_rows,
            text_covered_rows: d.index.text_covered_rows,
        },
        token_vectors: d.token_vectors,
    }
}
