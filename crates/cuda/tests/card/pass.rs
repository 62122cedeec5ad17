//! Passes: what the model of the cost says is what kernels do, and what others leave behind is nothing to them.

use half::f16;
use membox_cuda::cost::{Dimensions, pass};
use membox_cuda::{Gpu, HostLayer, HostLinear, HostModel, HostNorm, Model, Pass, Request, ResidentRows, reference};
use membox_software_card::faults::{counts, set, traffic};
use membox_software_card::on_card;

const SHAPE: Dimensions = Dimensions { hidden: 128, head: 32, intermediate: 512, layers: 2 };
/// Full tiles of attention, and sizes that nothing is rounded up to.
const LENGTHS: [usize; 4] = [64; 4];
const VOCABULARY: usize = 300;

/// A batch of these lengths, run by a pass.
fn run(pass: &mut Pass<f16>) {
    let ids: Vec<u32> = (0..VOCABULARY as u32).take(LENGTHS.iter().sum()).collect();
    let positions: Vec<u32> = LENGTHS.iter().flat_map(|length| 0..*length as u32).collect();
    let offsets = reference::offsets(&LENGTHS);
    let mut vectors = vec![0.0; LENGTHS.len() * SHAPE.hidden];
    let (ids, positions, offsets, vectors) = (&ids[..], &positions[..], &offsets[..], Some(&mut vectors[..]));
    pass.run(Request { ids, positions, offsets, vectors, normalize: true, ..Request::default() }).expect("vectors");
}

fn with_pass(test: impl FnOnce(&Gpu, &mut Pass<f16>)) {
    let Dimensions { hidden, head, intermediate, layers } = SHAPE;
    let numbers = |seed, count| reference::numbers(seed, count, 0.1);
    let [qkv, square, up, down] =
        [3 * hidden, hidden, intermediate, intermediate].map(|width| numbers(1, width * hidden));
    let (bias, norms, words) = (numbers(2, 4 * hidden), numbers(3, hidden), numbers(4, VOCABULARY * hidden));
    let norm = HostNorm { gamma: &norms, beta: &norms };
    let layer = HostLayer {
        qkv: HostLinear { weight: &qkv, bias: &bias[..3 * hidden] },
        attention_output: HostLinear { weight: &square, bias: &bias[..hidden] },
        attention_norm: norm,
        intermediate: HostLinear { weight: &up, bias: &bias[..intermediate] },
        output: HostLinear { weight: &down, bias: &bias[..hidden] },
        output_norm: norm,
    };
    let host = HostModel {
        hidden,
        heads: hidden / head,
        intermediate,
        epsilon: 1e-12,
        word_embeddings: &words,
        positions: &words[..64 * hidden],
        embedding_norm: norm,
        layers: vec![layer; layers],
        keep: None,
    };
    let gpu = Gpu::find(0).expect("a software card");
    let model = Model::<f16>::upload(&gpu, &host, None).expect("a model");
    test(&gpu, &mut Pass::new(&model, false).expect("a pass"));
}

#[test]
fn a_pass_launches_what_the_model_says_and_from_the_third_time_on_one_graph() {
    on_card!("", || with_pass(|_, pass| {
        let [launches, products, graphs, ..] = counts();
        run(pass);
        let said: usize = pass_steps().iter().filter(|step| !step.name.starts_with("copy")).map(|s| s.launches).sum();
        assert_eq!(counts()[0] + counts()[1] - launches - products, said as u64);
        assert_eq!(counts()[2], graphs);
        run(pass);
        let [launches, products, graphs, allocations, _] = counts();
        run(pass);
        assert_eq!(counts()[..4], [launches, products, graphs + 1, allocations], "one graph and nothing beside it");
    }));
}

#[test]
fn no_kernel_moves_a_quarter_more_bytes_than_it_must() {
    on_card!("count_traffic=1", || with_pass(|_, pass| {
        run(pass);
        for step in pass_steps() {
            let (launches, bytes) = traffic(step.name);
            if launches == 0 {
                continue;
            }
            assert_eq!(launches, step.launches as u64, "{}", step.name);
            let ratio = bytes as f64 / step.bytes;
            println!("{}: {ratio:.3} of the bytes that it must move", step.name);
            assert!((0.9..1.25).contains(&ratio), "{}: {bytes} of {} bytes", step.name, step.bytes);
        }
        let seen = pass_steps().iter().filter(|step| traffic(step.name).0 > 0).count();
        assert_eq!(seen, 5, "each of our kernels");
    }));
}

fn pass_steps() -> Vec<membox_cuda::cost::Step> {
    pass(SHAPE, &LENGTHS)
}

#[test]
fn what_another_thread_could_not_free_fails_no_pass() {
    on_card!("", || with_pass(|gpu, pass| {
        run(pass);
        let rows = ResidentRows::new(gpu, 64, 100, None).expect("room");
        set("fail_free=1");
        // cudarc keeps the error for whoever calls next.
        drop(rows);
        run(pass);
    }));
}
