//! Passes: what the model of the cost says is what kernels do, and what others leave behind is nothing to them.

use half::f16;
use membox_cuda::cost::{Dimensions, Parts, Step, pass};
use membox_cuda::{
    Gpu, HostActivation, HostLayer, HostLinear, HostModel, HostNorm, Model, Pass, Request, ResidentRows, reference,
};
use membox_software_card::faults::{counts, set, traffic};
use membox_software_card::on_card;

const BERT: Dimensions = Dimensions { hidden: 128, head: 32, intermediate: 512, layers: 2, parts: Parts::BERT };
/// Rotary positions and gated feed-forward layers.
const NOMIC_BERT: Dimensions = Dimensions { hidden: 64, head: 32, intermediate: 256, layers: 2, parts: NOMIC_PARTS };
const NOMIC_PARTS: Parts = Parts { rotary: true, gated: true, ..Parts::BERT };
/// The same, with norms before each half of a layer, and a local layer whose windows end within tiles.
const MODERN_BERT: Dimensions =
    Dimensions { parts: Parts { pre_norm: true, local: (1, 16), ..NOMIC_PARTS }, ..NOMIC_BERT };
/// Full tiles of attention, and sizes that nothing is rounded up to.
const LENGTHS: [usize; 4] = [64; 4];
const VOCABULARY: usize = 300;
const LONGEST: usize = 64;

/// A batch of these lengths, run by a pass.
fn run(of: Dimensions, pass: &mut Pass<f16>) {
    let ids: Vec<u32> = (0..VOCABULARY as u32).take(LENGTHS.iter().sum()).collect();
    let positions: Vec<u32> = LENGTHS.iter().flat_map(|length| 0..*length as u32).collect();
    let offsets = reference::offsets(&LENGTHS);
    let mut vectors = vec![0.0; LENGTHS.len() * of.hidden];
    let (ids, positions, offsets, vectors) = (&ids[..], &positions[..], &offsets[..], Some(&mut vectors[..]));
    pass.run(Request { ids, positions, offsets, vectors, normalize: true, ..Request::default() }).expect("vectors");
}

fn with_pass(of: Dimensions, test: impl FnOnce(&Gpu, &mut Pass<f16>)) {
    let Dimensions { hidden, head, intermediate, layers, parts } = of;
    let before = if parts.gated { 2 * intermediate } else { intermediate };
    let numbers = |seed, count| reference::numbers(seed, count, 0.1);
    let [qkv, square, up, down] = [3 * hidden, hidden, before, intermediate].map(|width| numbers(1, width * hidden));
    let (bias, norms, words) = (numbers(2, 8 * hidden), numbers(3, hidden), numbers(4, VOCABULARY * hidden));
    let norm = HostNorm { gamma: &norms, beta: &norms };
    let layer = HostLayer {
        qkv: HostLinear { weight: &qkv, bias: &bias[..3 * hidden] },
        attention_output: HostLinear { weight: &square, bias: &bias[..hidden] },
        attention_norm: Some(norm),
        intermediate: HostLinear { weight: &up, bias: &bias[..before] },
        output: HostLinear { weight: &down, bias: &bias[..hidden] },
        output_norm: norm,
        angles: parts.rotary.then_some(0),
        window: None,
    };
    let layer_of = |index: usize| HostLayer {
        attention_norm: (index > 0 || !parts.pre_norm).then_some(norm),
        window: (index < parts.local.0).then_some(parts.local.1),
        ..layer
    };
    let host = HostModel {
        hidden,
        heads: hidden / head,
        intermediate,
        epsilon: 1e-12,
        word_embeddings: &words,
        positions: if parts.rotary { &[] } else { &words[..LONGEST * hidden] },
        longest: LONGEST,
        angles: if parts.rotary { vec![reference::angles(LONGEST, head)] } else { Vec::new() },
        activation: HostActivation::Gelu,
        gated: parts.gated,
        embedding_norm: norm,
        layers: (0..layers).map(layer_of).collect(),
        relative: None,
        final_norm: parts.pre_norm.then_some(norm),
        keep: None,
        masked_lm: None,
    };
    let gpu = Gpu::find(0).expect("a software card");
    let model = Model::<f16>::upload(&gpu, &host, None).expect("a model");
    test(&gpu, &mut Pass::new(&model, false).expect("a pass"));
}

#[test]
fn a_pass_launches_what_the_model_says_and_from_the_third_time_on_one_graph() {
    on_card!("", || {
        for of in [BERT, NOMIC_BERT, MODERN_BERT] {
            with_pass(of, |_, pass| {
                let [launches, products, graphs, ..] = counts();
                run(of, pass);
                let steps = steps(of);
                let said: usize = steps.iter().filter(|step| !step.name.starts_with("copy")).map(|s| s.launches).sum();
                assert_eq!(counts()[0] + counts()[1] - launches - products, said as u64);
                assert_eq!(counts()[2], graphs);
                run(of, pass);
                let [launches, products, graphs, allocations, _] = counts();
                run(of, pass);
                assert_eq!(
                    counts()[..4],
                    [launches, products, graphs + 1, allocations],
                    "one graph and nothing beside"
                );
            });
        }
    });
}

/// Holds the bytes that the kernels move against those that they must, and gives how many kernels there are.
fn moves_no_more_than_it_must(of: Dimensions) -> usize {
    with_pass(of, |_, pass| run(of, pass));
    let seen = |step: &&Step| {
        let (launches, bytes) = traffic(step.name);
        if launches == 0 {
            return false;
        }
        assert_eq!(launches, step.launches as u64, "{}", step.name);
        let ratio = bytes as f64 / step.bytes;
        println!("{}: {ratio:.3} of the bytes that it must move", step.name);
        assert!((0.9..1.25).contains(&ratio), "{}: {bytes} of {} bytes", step.name, step.bytes);
        true
    };
    steps(of).iter().filter(seen).count()
}

#[test]
fn no_kernel_moves_a_quarter_more_bytes_than_it_must() {
    on_card!("count_traffic=1", || assert_eq!(moves_no_more_than_it_must(BERT), 5, "each of its kernels"));
}

#[test]
fn no_kernel_of_another_family_moves_a_quarter_more_bytes_than_it_must() {
    on_card!("count_traffic=1", || assert_eq!(moves_no_more_than_it_must(NOMIC_BERT), 6, "each of its kernels"));
}

#[test]
fn no_kernel_with_norms_before_and_local_attention_moves_a_quarter_more_bytes_than_it_must() {
    on_card!("count_traffic=1", || assert_eq!(moves_no_more_than_it_must(MODERN_BERT), 7, "each of its kernels"));
}

fn steps(of: Dimensions) -> Vec<Step> {
    pass(of, &LENGTHS)
}

#[test]
fn what_another_thread_could_not_free_fails_no_pass() {
    on_card!("", || with_pass(BERT, |gpu, pass| {
        run(BERT, pass);
        let rows = ResidentRows::new(gpu, 64, 100, None).expect("room");
        set("fail_free=1");
        // cudarc keeps the error for whoever calls next.
        drop(rows);
        run(BERT, pass);
    }));
}
