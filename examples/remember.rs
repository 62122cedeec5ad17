//! A memory within the program: remember, recall, forget, and no server.
//!
//! ```text
//! $ cargo run --release --bin remember -- data/models/all-MiniLM-L6-v2 notes "Where is the spare key?"
//! 1.000 The spare key is under the blue pot by the shed.
//! ```
//!
//! - [`MemoryBox::open`] opens a data folder, or makes one. One process has it open at a time; others are refused.
//! - A collection belongs to a tenant, here `default`, and holds records: a text, its vector, and metadata to filter
//!   by. A record that is written again under its id replaces the one before.
//! - [`MemoryBox::records`] writes, reads and deletes them. When `upsert` returns, they are on the disk and the next
//!   recall finds them; what `delete` was told of is in no answer from then on.
//! - [`MemoryBox::recall`] finds by meaning and by words together, unless its `mode` says otherwise. A hit that leads
//!   in both has a score of 1.
//!
//! Dropping the box ends its threads, after the last write.

use membox_encoder::{Encoder, EncoderConfig, Scheduler, SchedulerConfig};
use membox_memory::{CollectionSettings, MemoryBox, MemoryConfig, Models, NewRecord, RecallRequest};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

const NOTES: [(&str, &str); 3] = [
    ("key", "The spare key is under the blue pot by the shed."),
    ("car", "We parked on the second level, near the lift."),
    ("cat", "Mia wants her cat fed at seven and at five."),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(data), Some(question)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: remember MODEL_FOLDER DATA_FOLDER QUESTION".into());
    };
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default())?);
    let encoder = Encoder::load("all-MiniLM-L6-v2", model.as_ref(), EncoderConfig::default(), &scheduler)?;
    let models = Models { encoder: Some(Arc::new(encoder)), ..Models::default() };
    let memory = MemoryBox::open(&MemoryConfig::new(Path::new(&data)), models)?;

    memory.collections().create_collection("default", "notes", &CollectionSettings::default())?;
    let note = |(id, text): (&str, &str)| NewRecord { id: Some(id.into()), text: text.into(), ..NewRecord::default() };
    memory.records().upsert("default", "notes", NOTES.map(note).into())?;

    let request = RecallRequest { query: Some(question), k: 1, ..RecallRequest::default() };
    for hit in memory.recall("default", "notes", &request)?.hits {
        println!("{:.3} {}", hit.score, hit.text.unwrap_or_default());
    }

    memory.records().delete("default", "example", "notes", vec![("cat".into(), None)])?;
    Ok(())
}
