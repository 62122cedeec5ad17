//! Every kernel, compiled as for a card and run by the software card, against the references.

use membox_cuda::{CHECKED_SHAPES, Gpu, Half, check_kernels};
use membox_software_card::faults::counts;
use membox_software_card::on_card;

fn all_are_right(half: Half) {
    let gpu = Gpu::find(0).expect("a card");
    let checked = check_kernels(&gpu, half, &[(64, 32)], None).expect("kernels");
    for one in &checked {
        println!("{one:?}");
        assert!(one.is_right(), "{one:?}");
    }
    assert_eq!(checked.len(), 18, "seventeen kernels, of which two are held together");
    assert_eq!(counts()[4], 0, "nothing to complain of");
}

#[test]
fn those_of_hopper_are_right() {
    on_card!("capability=90", || all_are_right(Half::F16));
}

#[test]
fn those_of_turing_are_right() {
    on_card!("capability=75", || all_are_right(Half::F16));
}

#[test]
fn those_of_bf16_are_right() {
    on_card!("capability=80", || all_are_right(Half::Bf16));
}

#[test]
#[ignore = "wants NVIDIA's compiler: `make kernels`"]
fn those_of_real_models_are_right() {
    on_card!("capability=90", || {
        let gpu = Gpu::find(0).expect("a card");
        for half in [Half::F16, Half::Bf16] {
            let checked = check_kernels(&gpu, half, &CHECKED_SHAPES, None).expect("kernels");
            let wrong: Vec<_> = checked.iter().filter(|one| !one.is_right()).collect();
            assert!(checked.len() == 40 && wrong.is_empty(), "{} are known, and wrong are {wrong:?}", checked.len());
        }
    });
}

#[test]
fn a_copy_within_the_card_takes_time() {
    on_card!("", || assert!(Gpu::find(0).expect("a card").copy_seconds(1 << 16).expect("a copy") > 0.0));
}
