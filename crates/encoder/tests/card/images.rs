//! Kernels come to the card in a form that its driver takes, whatever is newer than what.

use crate::common::{Shape, write_model};
use crate::small::{SHAPE, VectorsOfBoth, load, model};
use membox_encoder::{Device, Precision};
use membox_software_card::on_card;
use membox_software_card::process::LIBRARIES;

/// Vectors come from the card, and are right.
fn computes() {
    let both = VectorsOfBoth::new();
    assert_eq!(both.card.engine().name(), "cuda Software Card 0 f16");
    both.agree(&[1, 17, 64]);
}

fn why_not(device: Device) -> String {
    let folder = model();
    match load(folder.path(), device, Precision::Int8, 1) {
        Ok(encoder) => encoder.why_not_cuda().expect("a reason").to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn machine_code_is_taken_by_a_driver_that_is_older_than_the_compiler() {
    // NVRTC 13.5 writes PTX 9.5, which a driver of CUDA 13.0 does not know.
    on_card!("driver=13000 nvrtc=13.5", computes);
}

#[test]
fn where_machine_code_of_another_major_release_is_refused_so_ptx_says_that_it_is_older() {
    on_card!("driver=12040 nvrtc=13.5", computes);
}

#[test]
fn a_card_that_is_newer_than_the_compiler_gets_ptx_for_the_newest_that_this_knows() {
    on_card!("driver=13000 nvrtc=12.9 capability=100 known=75,80,90", computes);
}

#[test]
fn cards_of_ampere_and_turing_run_what_is_compiled_for_them() {
    on_card!("capability=80", computes);
}

#[test]
fn before_ampere_tiles_are_half_as_deep() {
    on_card!("capability=75", computes);
}

#[test]
fn a_card_without_memory_pools_computes_the_same() {
    on_card!("pools=0", computes);
}

#[test]
fn compiled_kernels_are_kept_and_compiled_anew_where_they_are_damaged() {
    on_card!("", || {
        let folder = model();
        let load = || load(folder.path(), Device::Cuda(0), Precision::Int8, 1).expect("a card");
        drop(load());
        let kept = || -> Vec<_> {
            let files = folder.path().join("kernels").read_dir().expect("kernels").flatten();
            files.map(|file| (file.path(), file.metadata().expect("a file").modified().expect("a time"))).collect()
        };
        let first = kept();
        assert_eq!(first.len(), 4, "norm, gelu, heads and attention: {first:?}");
        drop(load());
        assert_eq!(kept(), first, "they are read and not written");
        std::fs::write(&first[0].0, "not a kernel\0").expect("a write");
        drop(load());
        assert_ne!(std::fs::read(&first[0].0).expect("a kernel"), b"not a kernel\0");
    });
}

#[test]
fn what_no_driver_takes_names_what_is_installed_and_the_package_that_suits() {
    on_card!("driver=12040 nvrtc=13.5 refuse_images=1", || {
        let why = why_not(Device::Auto);
        for part in ["driver for CUDA 12.4", "NVRTC 13.5", "cuBLASLt 13.5", "nvidia-cuda-nvrtc-cu12", "222"] {
            assert!(why.contains(part) || part == "222" && why.contains("UNSUPPORTED_PTX_VERSION"), "{part}: {why}");
        }
    });
}

#[test]
fn a_library_that_is_missing_is_named_with_its_package() {
    on_card!("driver=12040", &["libcuda.so"], || {
        for (device, begin) in [(Device::Auto, "libnvrtc is not found"), (Device::Cuda(0), "device = cuda:0 cannot")] {
            let why = why_not(device);
            assert!(why.starts_with(begin) && why.contains("pip install nvidia-cuda-nvrtc-cu12"), "{why}");
        }
    });
}

#[test]
fn products_have_a_library_of_their_own() {
    on_card!("driver=13000", &["libcuda.so", "libnvrtc.so"], || {
        let why = why_not(Device::Auto);
        assert!(why.starts_with("libcublasLt is not found: `pip install nvidia-cublas`"), "{why}");
    });
}

#[test]
fn without_a_driver_the_cpu_computes() {
    on_card!("", &LIBRARIES[1..], || assert!(why_not(Device::Auto).starts_with("no CUDA driver")));
}

#[test]
fn a_driver_without_cards_leads_to_the_cpu() {
    on_card!("cards=0", || assert_eq!(why_not(Device::Auto), "no card 0: the driver shows 0"));
}

#[test]
fn a_card_before_turing_is_left_alone() {
    on_card!("capability=70", || {
        assert_eq!(why_not(Device::Auto), "Software Card 0 is of compute capability 7.0; at least 7.5 is wanted");
    });
}

#[test]
fn a_compiler_that_knows_none_of_a_card_says_so_in_its_own_words() {
    on_card!("capability=90 known=100", || {
        let why = why_not(Device::Auto);
        let begin = "kernels/norm.cu does not compile for compute_90: nvrtc: error: invalid value";
        assert!(why.starts_with(begin), "{why}");
    });
}

#[test]
fn a_model_of_a_shape_that_the_kernels_do_not_know_goes_by_the_cpu() {
    on_card!("", || {
        let folder = model();
        let narrow = Shape { heads: 4, ..SHAPE };
        write_model(folder.path(), narrow);
        let encoder = load(folder.path(), Device::Auto, Precision::F32, 1).expect("the CPU");
        let why = encoder.why_not_cuda().expect("a reason");
        assert_eq!(why, "4 heads over a hidden size of 64: the kernels know heads of 32 and 64 and multiples of 64");
        write_model(folder.path(), Shape { intermediate: 100, ..SHAPE });
        let encoder = load(folder.path(), Device::Auto, Precision::F32, 1).expect("the CPU");
        let why = encoder.why_not_cuda().expect("a reason");
        assert_eq!(why, "feed-forward layers 100 wide: the kernels know multiples of 8");
    });
}
