//! `membox embed`: lines of text to vectors, without a server.

use crate::config::Config;
use crate::output::NewFile;
use crate::progress;
use crate::text::text_of;
use anyhow::{Context, Result, bail};
use clap::Args;
use membox_memory::encoder::{Embeddings, Encoder, EncoderError, Inputs, Lane, Purpose, Request, Wanted};
use std::collections::VecDeque;
use std::io::{BufRead, BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

/// Lines that make one request.
const LINES: usize = 256;
/// Requests under way at the same time.
const UNDER_WAY: usize = 8;
/// A fixed header, so that the number of rows can be filled in at the end.
const NPY_HEADER: usize = 128;

/// Embed lines of text from stdin: `membox embed --out vectors.npy < texts.txt`.
///
/// The file has its name once it is whole; until then it is FILE.npy.partial. What ends the command before (a signal,
/// a full disk) leaves a file that was there under that name as it was.
#[derive(Args)]
pub struct EmbedArgs {
    /// A .npy file of f32, one row a line of input; JSON lines go to stdout without it.
    #[arg(long, value_name = "FILE.npy")]
    out: Option<PathBuf>,
    /// Tokens kept of each line [default: as many as the model's folder says, or 256].
    #[arg(long)]
    max_tokens: Option<usize>,
    /// The model's prompt before each line: one of its config_sentence_transformers.json, such as query or passage
    /// [default: its default one, or none].
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
}

/// Runs `membox embed`.
pub fn run(config: &Config, args: &EmbedArgs) -> Result<()> {
    let encoder = config.load_encoder(&config.start_scheduler()?)?;
    let max_tokens = args.max_tokens.unwrap_or(encoder.max_tokens());
    if !(3..=encoder.engine().max_sequence()).contains(&max_tokens) {
        bail!("--max-tokens is 3 to {}", encoder.engine().max_sequence());
    }
    let prompts = encoder.prompts();
    let prompt = match &args.prompt {
        Some(name) => prompts.get(name).with_context(|| {
            let names: Vec<&str> = prompts.by_name.keys().map(String::as_str).collect();
            format!("the model has no prompt {name:?} but {names:?}")
        })?,
        None => prompts.of(Purpose::Plain),
    };
    let mut sink = Sink::open(args, encoder.dimension())?;
    let bar = progress::items(0, "texts").with_message("embedding");
    bar.unset_length();
    let mut under_way = VecDeque::new();
    let mut lines = text_of(std::io::stdin().lock())?.lines();
    let mut tokens = 0;
    loop {
        let texts: Vec<String> =
            lines.by_ref().take(LINES).collect::<Result<_, _>>().context("stdin is not UTF-8 text")?;
        let texts: Vec<String> = texts.into_iter().map(|text| [prompt, &text].concat()).collect();
        let ended = texts.is_empty();
        if !ended {
            under_way.push_back(submit(&encoder, texts, max_tokens)?);
        }
        while under_way.len() >= UNDER_WAY || ended && !under_way.is_empty() {
            let Some((answer, _pending)) = under_way.pop_front() else { break };
            let embeddings = answer.recv().unwrap_or(Err(EncoderError::Stopped))?;
            tokens += embeddings.tokens;
            bar.inc(embeddings.rows().len() as u64);
            sink.write(&embeddings)?;
        }
        if ended {
            break;
        }
    }
    let rows = sink.finish()?;
    bar.finish_and_clear();
    let seconds = bar.elapsed().as_secs_f64();
    eprintln!(
        "{rows} texts, {tokens} tokens in {seconds:.1} s ({:.0} texts/s, {:.0} tokens/s)",
        rows as f64 / seconds,
        tokens as f64 / seconds
    );
    Ok(())
}

type UnderWay = (Receiver<Result<Embeddings, EncoderError>>, membox_memory::encoder::Pending);

fn submit(encoder: &Encoder, texts: Vec<String>, max_tokens: usize) -> Result<UnderWay> {
    let (sender, receiver) = channel();
    let reply = Box::new(move |answer| drop(sender.send(answer)));
    let request = Request { inputs: Inputs::Texts(texts), max_tokens, wanted: Wanted::vectors(true), lane: Lane::Bulk };
    let pending = encoder.submit(request, reply)?;
    Ok((receiver, pending))
}

enum Sink {
    Npy { file: NewFile, rows: u64, dimension: usize },
    Lines { out: BufWriter<std::io::Stdout>, rows: u64 },
}

impl Sink {
    fn open(args: &EmbedArgs, dimension: usize) -> Result<Self> {
        let Some(path) = &args.out else {
            return Ok(Self::Lines { out: BufWriter::new(std::io::stdout()), rows: 0 });
        };
        let file = NewFile::create(path)?;
        file.file().write_all(&[0; NPY_HEADER]).context("cannot write the vectors")?;
        Ok(Self::Npy { file, rows: 0, dimension })
    }

    fn write(&mut self, embeddings: &Embeddings) -> Result<()> {
        match self {
            Self::Npy { file, rows, .. } => {
                let bytes: Vec<u8> = embeddings.vectors.iter().flat_map(|x| x.to_le_bytes()).collect();
                file.file().write_all(&bytes).context("cannot write the vectors")?;
                *rows += embeddings.rows().len() as u64;
            }
            Self::Lines { out, rows } => {
                for row in embeddings.rows() {
                    serde_json::to_writer(&mut *out, &serde_json::json!({"index": rows, "embedding": row}))?;
                    out.write_all(b"\n")?;
                    *rows += 1;
                }
            }
        }
        Ok(())
    }

    /// Fills in the header and gives the number of rows.
    fn finish(self) -> Result<u64> {
        match self {
            Self::Npy { file, rows, dimension } => {
                file.file().seek(SeekFrom::Start(0))?;
                file.file().write_all(&npy_header(rows, dimension))?;
                file.finish()?;
                Ok(rows)
            }
            Self::Lines { mut out, rows } => {
                out.flush()?;
                Ok(rows)
            }
        }
    }
}

/// The header of a .npy file, format version 1.0.
fn npy_header(rows: u64, dimension: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(((NPY_HEADER - 10) as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header.resize(NPY_HEADER - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_npy_header_is_as_long_as_it_says() {
        let header = super::npy_header(123_456_789_012, 384);
        assert_eq!((header.len(), header[8], header[127]), (128, 118, b'\n'));
        assert!(String::from_utf8_lossy(&header).contains("'shape': (123456789012, 384)"));
    }
}
