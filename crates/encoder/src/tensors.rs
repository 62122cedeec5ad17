//! The tensors of a model by their names: those of its safetensors files, or, where the names alone are wanted, a list.

use crate::EncoderError;
use crate::checksums::ModelFiles;
use candle_core::safetensors::{BufferedSafetensors, Load};
use candle_core::{DType, Device};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The weights in one file.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Which file has which tensor, where they are several.
pub const WEIGHTS_INDEX_FILE: &str = "model.safetensors.index.json";

/// Where tensors come from.
pub(crate) trait TensorSource {
    /// The numbers of a tensor, row after row; an error where it is missing or of another shape.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String>;
}

/// Writes down which tensors are asked for, and gives none of their numbers.
#[derive(Default)]
pub(crate) struct Recorder(RefCell<Vec<(String, Vec<usize>)>>);

impl Recorder {
    pub fn into_tensors(self) -> Vec<(String, Vec<usize>)> {
        self.0.into_inner()
    }
}

impl TensorSource for Recorder {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        self.0.borrow_mut().push((name.to_owned(), shape.to_vec()));
        Ok(Vec::new())
    }
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names.
///
/// # Errors
/// What is wrong with it.
pub fn weight_files(index: &[u8]) -> Result<BTreeSet<String>, String> {
    let index: Index = serde_json::from_slice(index).map_err(|e| e.to_string())?;
    let files: BTreeSet<String> = index.weight_map.into_values().collect();
    let is_plain = |name: &String| name.ends_with(".safetensors") && !name.contains(['/', '\\']);
    match files.iter().find(|name| !is_plain(name)) {
        Some(other) => Err(format!("it names {other:?}, which is no safetensors file beside it")),
        None if files.is_empty() => Err("it names no file".to_owned()),
        None => Ok(files),
    }
}

/// What a tensor is called today: those of norms had other names in the first BERTs.
fn today(name: &str) -> String {
    const OLD: [(&str, &str); 2] = [("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")];
    let renamed = OLD.iter().find_map(|(old, new)| Some(format!("{}LayerNorm.{new}", name.strip_suffix(old)?)));
    renamed.unwrap_or_else(|| name.to_owned())
}

/// Tensors of safetensors files, in whichever precision they are kept.
pub(crate) struct TensorFiles {
    files: Vec<BufferedSafetensors>,
    /// By its name in which file each is, and its shape.
    places: HashMap<String, (usize, String, Vec<usize>)>,
    prefix: &'static str,
    taken: RefCell<HashSet<String>>,
    /// Of the file, or of the checksums of all of them in the order of their names.
    pub sha256: [u8; 32],
}

impl TensorFiles {
    /// Reads `model.safetensors` of a folder, or the files that its index names.
    pub fn read(files: &ModelFiles) -> Result<Self, EncoderError> {
        let (path, index) = (files.path(WEIGHTS_FILE), files.path(WEIGHTS_INDEX_FILE));
        let names = if path.exists() || !index.exists() {
            BTreeSet::from([WEIGHTS_FILE.to_owned()])
        } else {
            let bad = |reason| EncoderError::BadModel { path: index.clone(), reason };
            weight_files(&files.read(WEIGHTS_INDEX_FILE)?).map_err(bad)?
        };
        let (mut all, mut hashes) = (Vec::new(), Vec::new());
        for name in &names {
            let (bytes, sha256) = files.read_hashed(name)?;
            let bad = |e: candle_core::Error| EncoderError::BadModel { path: files.path(name), reason: e.to_string() };
            all.push(BufferedSafetensors::new(bytes).map_err(bad)?);
            hashes.push(sha256);
        }
        let sha256 = match hashes.as_slice() {
            [one] => *one,
            several => Sha256::digest(several.concat()).into(),
        };
        Ok(Self::new(all, sha256))
    }

    fn new(files: Vec<BufferedSafetensors>, sha256: [u8; 32]) -> Self {
        let mut places = HashMap::new();
        for (index, file) in files.iter().enumerate() {
            let place = |(name, shape): (String, Vec<usize>)| (today(&name), (index, name, shape));
            places.extend(file.tensors().into_iter().map(|(name, view)| place((name, view.shape().to_vec()))));
        }
        Self { files, places, prefix: "", taken: RefCell::default(), sha256 }
    }

    /// Whether there is a tensor of this whole name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The shape of a tensor by its whole name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.places.get(name).map(|(_, _, shape)| shape.as_slice())
    }

    /// Reads names from now on with the one of these prefixes that `key` has in the files, if any.
    pub fn find_prefix(&mut self, prefixes: &[&'static str], key: &str) {
        self.prefix = prefixes.iter().find(|prefix| self.has(&format!("{prefix}{key}"))).copied().unwrap_or("");
    }

    /// The numbers of a tensor by its whole name.
    pub fn take_whole(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let Some((file, own, found)) = self.places.get(name) else {
            return Err(format!("the tensor {name} {shape:?} is missing"));
        };
        if found != shape {
            return Err(format!("the tensor {name} is {found:?}, not {shape:?}"));
        }
        self.taken.borrow_mut().insert(name.to_owned());
        self.files[*file].get(own).and_then(|view| numbers(&view)).map_err(|e| format!("the tensor {name}: {e}"))
    }

    /// Warns of the tensors that nobody took, other than the heads of training: they may mean that the model is not
    /// what its configuration says.
    pub fn warn_of_others(&self) {
        const HEADS: [&str; 12] = [
            "classifier",
            "pooler",
            "embeddings.position_ids",
            "cls.",
            "lm_head",
            "vocab_",
            "pre_classifier",
            "head.",
            "decoder.",
            "qa_outputs",
            "logit_scale",
            "encoder.rotary",
        ];
        let taken = self.taken.borrow();
        for name in self.places.keys().filter(|name| !taken.contains(*name)) {
            let own = name.strip_prefix(self.prefix).unwrap_or(name);
            if !HEADS.iter().any(|head| own.starts_with(head)) && !own.ends_with("inv_freq") {
                tracing::warn!(tensor = name, "the model file has a tensor that such a model does not use");
            }
        }
    }
}

/// The numbers of a tensor. Those of usual types are copied once: the table of words of a multilingual model is large.
fn numbers(view: &TensorView) -> candle_core::Result<Vec<f32>> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        _ => view.load(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?,
    })
}

impl TensorSource for TensorFiles {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        self.take_whole(&format!("{}{name}", self.prefix), shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_are_read() {
        let wanted = [1.5f32, -2.0, 0.25, 1024.0];
        let of = |dtype, bytes: Vec<u8>| {
            numbers(&TensorView::new(dtype, vec![2, 2], &bytes).expect("a view")).expect("numbers")
        };
        assert_eq!(of(Dtype::F32, wanted.iter().flat_map(|x| x.to_le_bytes()).collect()), wanted);
        assert_eq!(of(Dtype::F16, wanted.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()), wanted);
        assert_eq!(of(Dtype::BF16, wanted.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect()), wanted);
        assert_eq!(of(Dtype::F64, wanted.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect()), wanted);
    }

    #[test]
    fn an_index_names_files_beside_it_alone() {
        let of = |json: &str| weight_files(json.as_bytes());
        let two = of(r#"{"metadata": {}, "weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors"}}"#);
        assert_eq!(two.expect("files").into_iter().collect::<Vec<_>>(), ["m-1.safetensors", "m-2.safetensors"]);
        for bad in [r#"{"a": "../../etc/m.safetensors"}"#, r#"{"a": "pytorch_model.bin"}"#, "{}"] {
            assert!(of(&format!("{{\"weight_map\": {bad}}}")).is_err(), "{bad}");
        }
    }
}
