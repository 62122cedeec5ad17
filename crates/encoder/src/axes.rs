//! Token axes: what token states are turned to, to be kept beside a text's one vector.
//!
//! Late interaction (ColBERT, Khattab and Zaharia 2020) compares a question and a text token by token. A state of the
//! last layer has as many numbers as a vector (384), of which a few directions say nearly everything: the axes of a
//! principal component analysis. Of a token's state `s` is kept, at unit length,
//!
//! ```text
//! y[a] = (s / |s| − mean) · axis[a],   for the first 32, 48 or 64 axes, in the order of their variance
//! ```
//!
//! Axes are of one model, whose weights they name: for another they mean nothing. Those of all-MiniLM-L6-v2 are built
//! in (`models/token-axes`, made by `membox models axes`); a model folder may have its own.

use crate::EncoderError;
use crate::checksums::{Hex, ModelFiles};
use crate::cpu::{Isa, PackedF32, unit_projections};
use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Axes that a file has: the most dimensions of a token's vector.
pub const MAX_TOKEN_DIMENSION: usize = 64;
/// Dimensions that a token's vector may have.
pub const TOKEN_DIMENSIONS: [usize; 3] = [32, 48, MAX_TOKEN_DIMENSION];

/// The axes of a model folder that has its own.
pub const TOKEN_AXES_FILE: &str = "token_axes.safetensors";
/// Whose axes they are: SHA-256 of `model.safetensors`, in the file's metadata, as 64 hexadecimal digits.
const MODEL_KEY: &str = "model_sha256";
/// Axes that every membox has.
const BUILT_IN: [&[u8]; 2] = [
    include_bytes!("../../../models/token-axes/all-MiniLM-L6-v2.safetensors"),
    include_bytes!("../../../models/token-axes/multilingual-e5-small.safetensors"),
];

/// The directions that token vectors are made of.
pub struct TokenAxes {
    id: [u8; 16],
    model_sha256: String,
    mean: Vec<f32>,
    axes: Vec<f32>,
    packed: PackedF32,
    /// `−mean · axis` of each axis.
    shift: Vec<f32>,
    isa: Isa,
}

impl TokenAxes {
    /// Reads a safetensors file: `mean` `[hidden]` and `axes` `[64, hidden]`, in f32 or f16, and `model_sha256` in its
    /// metadata.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let model_sha256 = header.metadata().as_ref().and_then(|said| said.get(MODEL_KEY)).cloned();
        let model_sha256 = model_sha256.ok_or_else(|| format!("its metadata has no {MODEL_KEY}"))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let mean = numbers(&file, "mean")?;
        let axes = numbers(&file, "axes")?;
        let shape = file.tensor("axes").map_err(|e| e.to_string())?.shape().to_vec();
        if mean.is_empty() || shape != [MAX_TOKEN_DIMENSION, mean.len()] {
            return Err(format!("axes is {shape:?}, not [{MAX_TOKEN_DIMENSION}, {}]", mean.len()));
        }
        let dot = |axis: &[f32]| -> f32 {
            let sum: f64 = axis.iter().zip(&mean).map(|(a, m)| f64::from(*a) * f64::from(*m)).sum();
            -sum as f32
        };
        let shift = axes.chunks_exact(mean.len()).map(dot).collect();
        let packed = PackedF32::new(&axes, &[0.0; MAX_TOKEN_DIMENSION], MAX_TOKEN_DIMENSION, mean.len());
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Ok(Self { id, model_sha256, mean, axes, packed, shift, isa: Isa::detect() })
    }

    /// The file of axes: `mean` is `[hidden]` and stays in f32, `axes` is `[64, hidden]` and is kept in f16.
    ///
    /// # Errors
    /// The numbers are not as many.
    pub fn to_safetensors(mean: &[f32], axes: &[f32], model_sha256: &str) -> Result<Vec<u8>, String> {
        let mean_bytes: Vec<u8> = mean.iter().flat_map(|x| x.to_le_bytes()).collect();
        let axes_bytes: Vec<u8> = axes.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        let write = || -> Result<Vec<u8>, SafeTensorError> {
            let mean = TensorView::new(Dtype::F32, vec![mean.len()], &mean_bytes)?;
            let axes =
                TensorView::new(Dtype::F16, vec![MAX_TOKEN_DIMENSION, axes.len() / MAX_TOKEN_DIMENSION], &axes_bytes)?;
            let said = HashMap::from([(MODEL_KEY.to_owned(), model_sha256.to_owned())]);
            safetensors::serialize([("mean", mean), ("axes", axes)], Some(said))
        };
        let bytes = write().map_err(|e| e.to_string())?;
        Self::from_safetensors(&bytes).map(|_| bytes)
    }

    /// The axes of a model: those in its folder, or else those that are built in for its weights.
    pub(crate) fn find(files: &ModelFiles, model_sha256: &[u8], hidden: usize) -> Result<Option<Self>, EncoderError> {
        let model = Hex(model_sha256).to_string();
        let path = files.path(TOKEN_AXES_FILE);
        if path.exists() {
            let bytes = files.read(TOKEN_AXES_FILE)?;
            return Self::of_model(&bytes, &model, hidden).map(Some).map_err(|reason| bad(&path, reason));
        }
        for bytes in BUILT_IN {
            let axes = Self::from_safetensors(bytes).map_err(|reason| bad(Path::new("built-in token axes"), reason))?;
            if axes.model_sha256 == model {
                return Ok(Some(axes));
            }
        }
        Ok(None)
    }

    fn of_model(bytes: &[u8], model: &str, hidden: usize) -> Result<Self, String> {
        let axes = Self::from_safetensors(bytes)?;
        if axes.model_sha256 != model {
            return Err(format!(
                "it is made for the weights {}, and these are {model}: run `membox models axes`",
                axes.model_sha256
            ));
        }
        if axes.hidden() != hidden {
            return Err(format!("its axes have {} numbers, and a state has {hidden}", axes.hidden()));
        }
        Ok(axes)
    }

    /// What names these axes wherever token vectors are kept: the first 16 bytes of their file's SHA-256. Vectors by
    /// other axes cannot be compared with them.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// SHA-256 of the weights that they belong to, as 64 hexadecimal digits.
    pub fn model_sha256(&self) -> &str {
        &self.model_sha256
    }

    /// Numbers of a state.
    pub fn hidden(&self) -> usize {
        self.mean.len()
    }

    /// The mean of the states at unit length, `[hidden]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The axes, `[64, hidden]`.
    pub fn axes(&self) -> &[f32] {
        &self.axes
    }

    /// The vectors of some tokens of a batch, `[range, dimension]`, from the states of all, `[tokens, hidden]`, and
    /// what [`Self::multiply`] made of them.
    pub(crate) fn vectors(&self, states: &[f32], products: &[f32], tokens: Range<usize>, dimension: usize) -> Vec<f32> {
        let mut out = vec![0.0; tokens.len() * dimension];
        let states = &states[tokens.start * self.hidden()..tokens.end * self.hidden()];
        let products = &products[tokens.start * MAX_TOKEN_DIMENSION..tokens.end * MAX_TOKEN_DIMENSION];
        unit_projections(self.isa, states, self.hidden(), products, &self.shift, dimension, &mut out);
        out
    }

    /// `states · axes`, `[tokens, 64]`, for [`Self::vectors`].
    pub(crate) fn multiply(&self, states: &[f32], products: &mut Vec<f32>) {
        products.resize(states.len() / self.hidden() * MAX_TOKEN_DIMENSION, 0.0);
        self.packed.multiply(self.isa, states, products);
    }
}

impl fmt::Debug for TokenAxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAxes").field("id", &Hex(&self.id).to_string()).finish_non_exhaustive()
    }
}

fn bad(path: &Path, reason: String) -> EncoderError {
    EncoderError::BadModel { path: path.to_owned(), reason }
}

fn numbers(file: &SafeTensors, name: &str) -> Result<Vec<f32>, String> {
    let tensor = file.tensor(name).map_err(|e| e.to_string())?;
    let data = tensor.data();
    let numbers: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        other => return Err(format!("{name} is {other:?}, neither F32 nor F16")),
    };
    if numbers.iter().any(|x| !x.is_finite()) {
        return Err(format!("{name} has a number that is none"));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> TokenAxes {
        TokenAxes::from_safetensors(BUILT_IN[0]).expect("axes")
    }

    #[test]
    fn the_built_in_axes_are_orthonormal_and_belong_to_the_pinned_model() {
        let axes = built_in();
        let row = |a: usize| &axes.axes()[a * axes.hidden()..(a + 1) * axes.hidden()];
        for a in 0..MAX_TOKEN_DIMENSION {
            for b in 0..=a {
                let dot: f64 = row(a).iter().zip(row(b)).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                let wanted = if a == b { 1.0 } else { 0.0 };
                assert!((dot - wanted).abs() < 1e-3, "axes {a} and {b}: {dot}");
            }
        }
        let manifest = include_str!("../../../models/manifest.toml");
        let pinned = manifest.split("\n[[model]]").find(|model| model.contains("name = \"all-MiniLM-L6-v2\""));
        let of_weights =
            pinned.and_then(|model| model.split_once("name = \"model.safetensors\"")).expect("the model").1;
        let sha256 =
            of_weights.split_once("sha256 = \"").and_then(|(_, rest)| rest.split_once('"')).expect("its checksum");
        assert_eq!(axes.model_sha256(), sha256.0);
        assert_eq!(axes.hidden(), 384);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_one_that_is_not_of_the_model_says_so() {
        let axes = built_in();
        let bytes = TokenAxes::to_safetensors(axes.mean(), axes.axes(), axes.model_sha256()).expect("a file");
        assert_eq!(bytes, BUILT_IN[0], "the same numbers make the same file");
        let of = |model: &str, hidden| TokenAxes::of_model(&bytes, model, hidden).map(|axes| axes.id());
        assert_eq!(of(axes.model_sha256(), 384), Ok(axes.id()));
        let refused = of(&"0".repeat(64), 384).expect_err("another model");
        assert!(refused.contains(axes.model_sha256()) && refused.contains("membox models axes"), "{refused}");
        assert!(of(axes.model_sha256(), 768).expect_err("another width").contains("384 numbers"));
        assert!(TokenAxes::from_safetensors(&bytes[..bytes.len() / 2]).is_err());
        let few = TokenAxes::to_safetensors(axes.mean(), &axes.axes()[..384 * 32], axes.model_sha256());
        assert!(few.expect_err("too few axes").contains("axes is"), "it says what is wrong");
    }
}
