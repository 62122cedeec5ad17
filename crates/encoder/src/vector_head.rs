//! What happens to a vector after pooling: sentence-transformers' dense layers, and the first numbers of a Matryoshka
//! model's. A pass of either engine ends with pooling; this is a fraction of a layer, and always on the CPU.

use crate::EncoderError;
use crate::checksums::ModelFiles;
use crate::pooling::to_unit_length;
use crate::sentence_transformer::ModelDescription;
use crate::weights::{Classifier, LinearWeights};
use candle_core::{DType, Device};

/// The activation of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DenseActivation {
    Identity,
    Tanh,
    Relu,
}

impl DenseActivation {
    /// By the name of PyTorch's class.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "Identity" => Ok(Self::Identity),
            "Tanh" => Ok(Self::Tanh),
            "ReLU" => Ok(Self::Relu),
            other => Err(format!("activation_function {other:?} of a module Dense is not computed")),
        }
    }

    fn activate(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
        }
    }
}

/// What a folder says of a dense layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DenseLayer {
    pub file: String,
    pub inputs: usize,
    pub outputs: usize,
    pub bias: bool,
    pub activation: DenseActivation,
}

struct Dense {
    weight: Vec<f32>,
    bias: Vec<f32>,
    layer: DenseLayer,
}

/// The layers over the vectors of an engine.
#[derive(Default)]
pub struct VectorHead {
    dense: Vec<Dense>,
    /// Numbers kept, where they are fewer.
    dimension: Option<usize>,
    /// How much further on in the table of positions the tokens of a second text are.
    pub(crate) segment: u32,
}

impl VectorHead {
    pub(crate) fn read(files: &ModelFiles, description: &ModelDescription) -> Result<Self, EncoderError> {
        let dense = description.dense.iter().map(|layer| read_dense(files, layer)).collect::<Result<Vec<_>, _>>()?;
        let whole = dense.last().map_or(description.architecture.hidden_size, |last| last.layer.outputs);
        Ok(Self { dense, dimension: (description.dimension < whole).then_some(description.dimension), segment: 0 })
    }

    /// That of a model that classifies sequences.
    pub(crate) fn classifier(classifier: Classifier) -> Self {
        let Classifier { inner, activation, output, segment } = classifier;
        let dense = |LinearWeights { weight, bias, outputs, inputs }, activation| {
            let layer = DenseLayer { file: String::new(), inputs, outputs, bias: true, activation };
            Dense { weight, bias, layer }
        };
        let dense = vec![dense(inner, activation), dense(output, DenseActivation::Identity)];
        Self { dense, dimension: None, segment }
    }

    /// Whether it does nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.dense.is_empty() && self.dimension.is_none()
    }

    /// Numbers of a vector, where those of an engine have so many.
    pub(crate) fn dimension(&self, of_engine: usize) -> usize {
        self.dimension.unwrap_or_else(|| self.dense.last().map_or(of_engine, |last| last.layer.outputs))
    }

    /// The vectors that become of an engine's, `[vectors, width]`, of unit length if asked.
    pub(crate) fn apply(&self, vectors: &[f32], width: usize, normalize: bool, out: &mut Vec<f32>) {
        out.clear();
        for vector in vectors.chunks_exact(width) {
            let mut vector = vector.to_vec();
            for Dense { weight, bias, layer } in &self.dense {
                let rows = weight.chunks_exact(layer.inputs).zip(bias);
                let product = |row: &[f32]| row.iter().zip(&vector).map(|(w, x)| w * x).sum::<f32>();
                vector = rows.map(|(row, bias)| layer.activation.activate(product(row) + bias)).collect();
            }
            vector.truncate(self.dimension.unwrap_or(vector.len()));
            if normalize {
                to_unit_length(&mut vector);
            }
            out.extend(vector);
        }
    }
}

fn read_dense(files: &ModelFiles, layer: &DenseLayer) -> Result<Dense, EncoderError> {
    let DenseLayer { inputs, outputs, .. } = *layer;
    let bytes = files.read(&layer.file)?;
    let read = || -> candle_core::Result<Dense> {
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
        let get = |name: &str, shape: &[usize]| -> candle_core::Result<Vec<f32>> {
            match tensors.get(name) {
                Some(found) if found.dims() == shape => found.to_dtype(DType::F32)?.flatten_all()?.to_vec1(),
                Some(found) => candle_core::bail!("the tensor {name} is {:?}, not {shape:?}", found.dims()),
                None => candle_core::bail!("the tensor {name} {shape:?} is missing"),
            }
        };
        let weight = get("linear.weight", &[outputs, inputs])?;
        let bias = if layer.bias { get("linear.bias", &[outputs])? } else { vec![0.0; outputs] };
        Ok(Dense { weight, bias, layer: layer.clone() })
    };
    read().map_err(|e| EncoderError::BadModel { path: files.path(&layer.file), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_goes_through_its_layers_and_is_cut_before_it_gets_its_length() {
        let layer = |activation| DenseLayer { file: String::new(), inputs: 2, outputs: 3, bias: true, activation };
        let (weight, bias) = (vec![1.0, 0.0, 0.0, 1.0, -1.0, -1.0], vec![0.0, 1.0, 0.0]);
        let dense = |activation| Dense { weight: weight.clone(), bias: bias.clone(), layer: layer(activation) };
        let mut out = Vec::new();
        let head = VectorHead { dense: vec![dense(DenseActivation::Relu)], dimension: None, segment: 0 };
        head.apply(&[3.0, 3.0, 1.0, 0.0], 2, false, &mut out);
        assert_eq!(out, [3.0, 4.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(head.dimension(2), 3);
        let head = VectorHead { dense: vec![dense(DenseActivation::Identity)], dimension: Some(2), segment: 0 };
        head.apply(&[3.0, 3.0], 2, true, &mut out);
        assert_eq!(out, [0.6, 0.8]);
        let head = VectorHead { dense: vec![dense(DenseActivation::Tanh)], dimension: Some(1), segment: 0 };
        head.apply(&[0.5, 0.0], 2, false, &mut out);
        assert_eq!(out, [0.5f32.tanh()]);
        assert!(VectorHead::default().is_empty() && !head.is_empty());
    }
}
