//! The engines compute what candle's BERT computes, on small models of many shapes and on the real MiniLM.

use crate::common::{Shape, cosine, numbers, real_model, write_model};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use membox_encoder::cpu::{CpuEngine, isa::Isa};
use membox_encoder::{EncoderWeights, Engine, Outputs, PackedBatch, Precision, Tokenizer};
use std::path::Path;
use std::sync::Arc;

/// Mean-pooled, normalised vectors of sequences, one at a time, by candle.
fn reference(folder: &Path, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let config: Config =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).expect("config")).expect("config");
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("weights");
    let vb = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu).expect("weights");
    let model = BertModel::load(vb, &config).expect("a model");
    let embed = |ids: &Vec<u32>| -> candle_core::Result<Vec<f32>> {
        let ids = Tensor::new(ids.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
        let states = model.forward(&ids, &ids.zeros_like()?, None)?.squeeze(0)?;
        let mean = states.mean(0)?;
        mean.broadcast_div(&mean.sqr()?.sum_all()?.sqrt()?)?.to_vec1()
    };
    sequences.iter().map(|s| embed(s).expect("a forward pass")).collect()
}

fn ours(folder: &Path, precision: Precision, isa: Isa, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let engine = Arc::new(CpuEngine::with_isa(EncoderWeights::load(folder).expect("weights"), precision, isa));
    let mut batch = PackedBatch::new();
    sequences.iter().for_each(|s| batch.push(s));
    let mut out = vec![0.0; sequences.len() * engine.dimension()];
    let mut session = engine.clone().session();
    let mut pauses = 0;
    session.run(&batch, vectors(&mut out), 0, &mut || pauses += 1);
    assert!(pauses > 3, "urgent work gets its chances");
    let first = out.clone();
    session.run(&batch, vectors(&mut out), 3, &mut || ());
    let apart = first.iter().zip(&out).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(apart < 1e-5, "several threads, and a session that was used before, compute the same: {apart}");
    out.chunks_exact(engine.dimension()).map(<[f32]>::to_vec).collect()
}

fn vectors(out: &mut [f32]) -> Outputs<'_> {
    Outputs { vectors: Some(out), normalize: true, ..Outputs::default() }
}

fn sequences(lengths: &[usize], vocabulary: usize) -> Vec<Vec<u32>> {
    let ids = |(i, &n): (usize, &usize)| {
        numbers(i as u64 + 7, n).iter().map(|x| ((x + 1.0) * 0.499 * vocabulary as f32) as u32).collect()
    };
    lengths.iter().enumerate().map(ids).collect()
}

#[test]
fn every_level_and_precision_computes_what_candle_computes() {
    let shapes = [
        Shape { hidden: 64, heads: 2, layers: 2, intermediate: 128, positions: 512 },
        Shape { hidden: 128, heads: 2, layers: 3, intermediate: 256, positions: 512 },
        Shape { hidden: 96, heads: 3, layers: 1, intermediate: 32, positions: 512 },
        // As narrow as TinyBERT's heads, and nothing a multiple of 32.
        Shape { hidden: 78, heads: 3, layers: 2, intermediate: 100, positions: 512 },
        Shape { hidden: 120, heads: 3, layers: 2, intermediate: 250, positions: 512 },
    ];
    let lengths = [1, 2, 3, 15, 16, 17, 33, 64, 100, 511, 512];
    for shape in shapes {
        let folder = tempfile::tempdir().expect("a folder");
        write_model(folder.path(), shape);
        let sequences = sequences(&lengths, crate::common::VOCABULARY);
        let want = reference(folder.path(), &sequences);
        for isa in Isa::available() {
            for (precision, least) in [(Precision::F32, 0.999_99), (Precision::Int8, 0.98)] {
                let got = ours(folder.path(), precision, isa, &sequences);
                for ((got, want), length) in got.iter().zip(&want).zip(lengths) {
                    let c = cosine(got, want);
                    assert!(
                        c >= least,
                        "{} {precision}, {} wide, {length} tokens: cosine {c}",
                        isa.name(),
                        shape.hidden
                    );
                }
            }
        }
    }
}

#[test]
fn a_vector_does_not_depend_on_what_else_is_in_the_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), Shape { hidden: 64, heads: 2, layers: 2, intermediate: 128, positions: 512 });
    let all = sequences(&[5, 40, 1, 300, 17], crate::common::VOCABULARY);
    for precision in [Precision::F32, Precision::Int8] {
        let together = ours(folder.path(), precision, Isa::detect(), &all);
        for (sequence, together) in all.iter().zip(&together) {
            let alone = ours(folder.path(), precision, Isa::detect(), std::slice::from_ref(sequence));
            assert!(cosine(&alone[0], together) > 0.999_999);
        }
    }
}

const TEXTS: [&str; 8] = [
    "Where did we park?",
    "Melanie: Hey Caroline! Good to see you! I'm swamped with the kids & work.",
    "我们昨天在公园里见面了。",
    "def encode(texts): return model(tokenizer(texts))",
    "a",
    "🙂🙃 emoji and ünïcödé",
    "4111 1111 1111 1111, 2023-05-08T13:56:00Z, https://example.org/?q=1",
    "The garden needs water twice a week in summer, and once in spring; last year we forgot, and the tomatoes did \
     not survive August.",
];

#[test]
fn the_real_model_agrees_with_candle() {
    let folder = real_model();
    let tokenizer = Tokenizer::load(&folder).expect("a tokenizer");
    let long = "the quick brown fox jumps over the lazy dog ".repeat(80);
    let texts = TEXTS.iter().copied().chain([long.as_str()]);
    let sequences: Vec<Vec<u32>> = texts.map(|t| tokenizer.encode(t, 256).expect("tokens").ids).collect();
    assert_eq!(sequences.last().map(Vec::len), Some(256));
    let want = reference(&folder, &sequences);
    for isa in Isa::available() {
        for (precision, least) in [(Precision::F32, 0.9999), (Precision::Int8, 0.98)] {
            for (got, want) in ours(&folder, precision, isa, &sequences).iter().zip(&want) {
                let c = cosine(got, want);
                assert!(c >= least, "{} {precision}: cosine {c}", isa.name());
            }
        }
    }
}

#[test]
fn texts_are_cut_as_sentence_transformers_cuts_them() {
    let tokenizer = Tokenizer::load(&real_model()).expect("a tokenizer");
    let whole = tokenizer.encode("hello world", 256).expect("tokens");
    assert_eq!((whole.ids.as_slice(), whole.truncated), ([101, 7592, 2088, 102].as_slice(), false));
    let cut = tokenizer.encode("hello world again", 4).expect("tokens");
    assert_eq!((cut.ids.as_slice(), cut.truncated), ([101, 7592, 2088, 102].as_slice(), true));
    let huge = "word ".repeat(1_000_000);
    let cut = tokenizer.encode(&huge, 512).expect("tokens");
    assert_eq!((cut.ids.len(), cut.ids[511], cut.truncated), (512, 102, true));
    let chinese = "世".repeat(100_000);
    assert_eq!(tokenizer.encode(&chinese, 512).expect("tokens").ids.len(), 512);
}

#[test]
fn a_model_that_is_missing_or_damaged_says_which_file_and_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = |f: &Path| EncoderWeights::load(f).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error(folder.path()).contains("config.json is missing: run `membox models pull`"));
    write_model(folder.path(), Shape { hidden: 64, heads: 2, layers: 1, intermediate: 64, positions: 8 });
    let weights = folder.path().join("model.safetensors");
    let whole = std::fs::read(&weights).expect("weights");
    std::fs::write(&weights, &whole[..whole.len() / 2]).expect("a write");
    assert!(error(folder.path()).contains("model.safetensors is not a usable model file"));
    std::fs::write(&weights, whole).expect("a write");
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).expect("config");
    std::fs::write(&config, text.replace("\"gelu\"", "\"gelu_10\"")).expect("a write");
    assert!(error(folder.path()).contains("hidden_act \"gelu_10\""));
    std::fs::write(&config, text.replace("\"num_attention_heads\":2", "\"num_attention_heads\":0")).expect("a write");
    assert!(error(folder.path()).contains("0 heads"));
}

/// The attention of a layer, by candle: its own weights over the states that a model of one layer less gives.
fn reference_attention(folder: &Path, shape: Shape, ids: &[u32]) -> Vec<f32> {
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("weights");
    let vb = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu).expect("weights");
    let config: Config =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).expect("config")).expect("config");
    let (heads, width) = (shape.heads, shape.hidden / shape.heads);
    let attention = |layer: usize| -> candle_core::Result<Tensor> {
        let below = Config { num_hidden_layers: layer, ..config.clone() };
        let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let states = BertModel::load(vb.clone(), &below)?.forward(&ids, &ids.zeros_like()?, None)?.squeeze(0)?;
        let own = vb.pp(format!("encoder.layer.{layer}.attention.self"));
        let project = |name: &str| -> candle_core::Result<Tensor> {
            let linear = candle_nn::linear(shape.hidden, shape.hidden, own.pp(name))?;
            candle_nn::Module::forward(&linear, &states)?.reshape(((), heads, width))?.transpose(0, 1)?.contiguous()
        };
        let scores = (project("query")?.matmul(&project("key")?.t()?.contiguous()?)? / (width as f64).sqrt())?;
        candle_nn::ops::softmax_last_dim(&scores)?.mean(0)
    };
    let watched = shape.layers - shape.layers.div_ceil(3)..shape.layers;
    let count = watched.len() as f64;
    let sum = watched.map(|layer| attention(layer).expect("a forward pass")).reduce(|a, b| (a + b).expect("a sum"));
    let mean = (sum.expect("a layer") / count).and_then(|mean| mean.flatten_all()).expect("a mean");
    mean.to_vec1().expect("numbers")
}

#[test]
fn the_attention_that_tokens_pay_is_the_mean_over_the_heads_of_the_last_layers() {
    let shapes = [
        Shape { hidden: 64, heads: 2, layers: 4, intermediate: 128, positions: 512 },
        Shape { hidden: 128, heads: 2, layers: 3, intermediate: 256, positions: 512 },
    ];
    for shape in shapes {
        let folder = tempfile::tempdir().expect("a folder");
        write_model(folder.path(), shape);
        let sequences = sequences(&[1, 5, 16, 37, 130], crate::common::VOCABULARY);
        let mut batch = PackedBatch::new();
        sequences.iter().for_each(|s| batch.push(s));
        for isa in Isa::available() {
            let weights = EncoderWeights::load(folder.path()).expect("weights");
            let engine = Arc::new(CpuEngine::with_isa(weights, Precision::F32, isa));
            let mut attention = vec![9.0; batch.squares()];
            let outputs = Outputs { attention: Some(&mut attention), ..Outputs::default() };
            engine.session().run(&batch, outputs, 1, &mut || ());
            let mut rest = attention.as_slice();
            for ids in &sequences {
                let (own, others) = rest.split_at(ids.len() * ids.len());
                rest = others;
                let apart = own.iter().zip(reference_attention(folder.path(), shape, ids));
                let apart = apart.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                assert!(apart < 1e-4, "{isa:?}, {} tokens: {apart}", ids.len());
            }
        }
    }
}
