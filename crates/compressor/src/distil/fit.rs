//! The training of a head on token states.

use super::{DistilConfig, Examples, OnProgress, Stage, training};
use crate::CompressorError;
use candle_core::{DType, Device, Tensor, safetensors};
use candle_nn::{AdamW, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Mean and deviation of each number of the states. The states of some models, E5's among them, have much in common
/// that tells no token from another: a head learns little from them as they are.
struct Scale {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Scale {
    const MIN_DEVIATION: f32 = 1e-6;

    fn of(states: &[f32], hidden: usize) -> Self {
        let count = (states.len() / hidden).max(1) as f64;
        let mean_of = |value: &dyn Fn(usize, f32) -> f64| {
            let mut sums = vec![0f64; hidden];
            for state in states.chunks_exact(hidden) {
                sums.iter_mut().zip(state).enumerate().for_each(|(i, (sum, x))| *sum += value(i, *x));
            }
            sums.into_iter().map(|sum| (sum / count) as f32).collect::<Vec<f32>>()
        };
        let mean = mean_of(&|_, x| f64::from(x));
        let variance = mean_of(&|i, x| f64::from(x - mean[i]).powi(2));
        let deviation = variance.into_iter().map(|v| v.sqrt().max(Self::MIN_DEVIATION)).collect();
        Self { mean, deviation }
    }

    /// Each number with mean 0 and deviation 1.
    fn apply(&self, states: &mut [f32]) {
        for state in states.chunks_exact_mut(self.mean.len()) {
            let scale = self.mean.iter().zip(&self.deviation);
            state.iter_mut().zip(scale).for_each(|(x, (mean, deviation))| *x = (*x - mean) / deviation);
        }
    }

    /// Makes a layer that was trained on scaled states one of states as they are.
    fn fold_into(&self, weight: &Tensor, bias: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let of = |numbers: &[f32]| Tensor::from_slice(numbers, numbers.len(), &Device::Cpu);
        let weight = weight.broadcast_div(&of(&self.deviation)?)?;
        let bias = (bias - weight.matmul(&of(&self.mean)?.unsqueeze(1)?)?.squeeze(1)?)?;
        Ok((weight, bias))
    }
}

struct Head {
    inner: candle_nn::Linear,
    output: candle_nn::Linear,
}

impl Head {
    fn logits(&self, states: &Tensor) -> candle_core::Result<Tensor> {
        self.output.forward(&self.inner.forward(states)?.gelu_erf()?)?.squeeze(1)
    }
}

/// `[loss and agreement]` of the head over all examples.
fn measure(head: &Head, hidden: usize, examples: &Examples) -> candle_core::Result<(f32, f32)> {
    let count = examples.targets.len();
    let states = Tensor::from_slice(&examples.states, (count, hidden), &Device::Cpu)?;
    let logits = head.logits(&states)?;
    let targets = Tensor::from_slice(&examples.targets, count, &Device::Cpu)?;
    let loss = candle_nn::loss::binary_cross_entropy_with_logit(&logits, &targets)?.to_scalar::<f32>()?;
    let logits = logits.to_vec1::<f32>()?;
    let middle = |values: &[f32]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        sorted[sorted.len() / 2]
    };
    let (ours, theirs) = (middle(&logits), middle(&examples.targets));
    let same = logits.iter().zip(&examples.targets).filter(|(l, t)| (**l > ours) == (**t > theirs)).count();
    Ok((loss, same as f32 / count as f32))
}

/// Trains, and gives the loss on what was held out before and after, and the agreement.
pub(super) fn fit(
    hidden: usize,
    mut train: Examples,
    mut test: Examples,
    config: &DistilConfig,
    work: &Path,
    out: &Path,
    progress: &mut OnProgress<'_>,
) -> Result<((f32, f32), f32), CompressorError> {
    const EXAMPLES: usize = 256;
    let scale = Scale::of(&train.states, hidden);
    scale.apply(&mut train.states);
    scale.apply(&mut test.states);
    let mut variables = VarMap::new();
    let build = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let head = Head {
        inner: candle_nn::linear(hidden, config.width, build.pp("inner")).map_err(training)?,
        output: candle_nn::linear(config.width, 1, build.pp("output")).map_err(training)?,
    };
    begin_alike(&variables, config.seed).map_err(training)?;
    let (before, _) = measure(&head, hidden, &test).map_err(training)?;
    // Of another configuration or other examples, a checkpoint is of no use.
    let run =
        fingerprint(&(format!("{config:?}, scaled"), train.targets.iter().map(|t| t.to_bits()).collect::<Vec<_>>()));
    let checkpoint = |epoch: usize| -> PathBuf { work.join(format!("run-{run:016x}-epoch-{epoch}.safetensors")) };
    let done = (1..=config.epochs).rev().find(|&epoch| variables.load(checkpoint(epoch)).is_ok()).unwrap_or(0);
    let parameters = ParamsAdamW { lr: config.learning_rate, weight_decay: 0.01, ..ParamsAdamW::default() };
    let mut order: Vec<usize> = (0..train.targets.len()).collect();
    let mut rng = StdRng::seed_from_u64(config.seed);
    let steps_of_epoch = order.len().div_ceil(EXAMPLES);
    let steps = steps_of_epoch * config.epochs;
    for epoch in 0..config.epochs {
        // Also for epochs that are done, so that a run that was interrupted sees the same order.
        order.shuffle(&mut rng);
        if epoch < done {
            continue;
        }
        // Begun anew with each epoch, so that a run that goes on from a checkpoint, which holds no moments, ends as
        // one that was never interrupted.
        let mut optimizer = AdamW::new(variables.all_vars(), parameters.clone()).map_err(training)?;
        for (i, batch) in order.chunks(EXAMPLES).enumerate() {
            let step = epoch * steps_of_epoch + i;
            progress(Stage::Train, step, steps);
            optimizer.set_learning_rate(config.learning_rate * (1.0 - step as f64 / steps as f64));
            let mut states = Vec::with_capacity(batch.len() * hidden);
            for &example in batch {
                states.extend_from_slice(&train.states[example * hidden..(example + 1) * hidden]);
            }
            let targets: Vec<f32> = batch.iter().map(|&example| train.targets[example]).collect();
            let mut step = || -> candle_core::Result<()> {
                let states = Tensor::from_slice(&states, (batch.len(), hidden), &Device::Cpu)?;
                let targets = Tensor::from_slice(&targets, batch.len(), &Device::Cpu)?;
                let loss = candle_nn::loss::binary_cross_entropy_with_logit(&head.logits(&states)?, &targets)?;
                optimizer.backward_step(&loss)
            };
            step().map_err(training)?;
        }
        variables.save(checkpoint(epoch + 1)).map_err(training)?;
    }
    let (after, agreement) = measure(&head, hidden, &test).map_err(training)?;
    let mut tensors: HashMap<String, Tensor> = variables
        .data()
        .lock()
        .map_err(training)?
        .iter()
        .map(|(name, variable)| (name.clone(), variable.as_tensor().clone()))
        .collect();
    let (weight, bias) = ("inner.weight".to_owned(), "inner.bias".to_owned());
    let folded = scale.fold_into(&tensors[&weight], &tensors[&bias]).map_err(training)?;
    tensors.extend([(weight, folded.0), (bias, folded.1)]);
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(training)?;
    }
    safetensors::save(&tensors, out).map_err(training)?;
    Ok(((before, after), agreement))
}

fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Begins every run with the same weights: candle's own initialisation has no seed on the CPU.
fn begin_alike(variables: &VarMap, seed: u64) -> candle_core::Result<()> {
    let data = variables.data().lock().map_err(|e| candle_core::Error::Msg(e.to_string()))?;
    let mut names: Vec<&String> = data.keys().collect();
    names.sort();
    let mut rng = StdRng::seed_from_u64(seed);
    for name in names {
        let variable = &data[name];
        let inputs = *variable.dims().last().unwrap_or(&1) as f32;
        let spread = if name.ends_with("bias") { 0.0 } else { 1.0 / inputs.sqrt() };
        let values: Vec<f32> = (0..variable.elem_count()).map(|_| rng.random_range(-1.0..1.0f32) * spread).collect();
        variable.set(&Tensor::from_vec(values, variable.dims(), &Device::Cpu)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_was_trained_on_scaled_states_says_the_same_of_states_as_they_are() {
        let states = [5.0f32, 100.0, 7.0, 104.0, 6.0, 90.0];
        let scale = Scale::of(&states, 2);
        let mut scaled = states;
        scale.apply(&mut scaled);
        for number in 0..2 {
            let of: Vec<f32> = scaled.iter().skip(number).step_by(2).copied().collect();
            assert!(of.iter().sum::<f32>().abs() < 1e-5, "mean 0: {of:?}");
            assert!((of.iter().map(|x| x * x).sum::<f32>() / 3.0 - 1.0).abs() < 1e-5, "deviation 1: {of:?}");
        }
        let tensor =
            |numbers: &[f32], shape: (usize, usize)| Tensor::from_slice(numbers, shape, &Device::Cpu).expect("numbers");
        let (weight, bias) =
            (tensor(&[0.5, -1.0, 2.0, 0.25], (2, 2)), tensor(&[0.1, -0.2], (1, 2)).squeeze(0).expect("a vector"));
        let (folded, folded_bias) = scale.fold_into(&weight, &bias).expect("a layer");
        let said = |weight: &Tensor, bias: &Tensor, states: &[f32]| -> Vec<Vec<f32>> {
            let states = tensor(states, (3, 2));
            let all = weight.t().and_then(|weight| states.matmul(&weight)?.broadcast_add(bias)?.to_vec2());
            all.expect("what the layer says")
        };
        let (before, after) = (said(&weight, &bias, &scaled), said(&folded, &folded_bias, &states));
        for (a, b) in before.iter().flatten().zip(after.iter().flatten()) {
            assert!((a - b).abs() < 1e-4, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_number_that_is_always_the_same_divides_nothing_by_zero() {
        let mut states = [3.0f32, 3.0];
        Scale::of(&states, 1).apply(&mut states);
        assert_eq!(states, [0.0, 0.0]);
    }
}
