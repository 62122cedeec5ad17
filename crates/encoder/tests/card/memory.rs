//! A card's memory that runs out, anywhere: the request is answered all the same, the worker lives, and the card is
//! not lost.

use crate::small::VectorsOfBoth;
use membox_software_card::faults::{counts, set};
use membox_software_card::on_card;

/// cuBLAS's `ALLOC_FAILED`.
const ALLOC_FAILED: u32 = 3;

fn is_sound(both: &VectorsOfBoth) {
    assert!(!both.card.engine().is_degraded());
    assert_eq!(both.card.engine().name(), "cuda Software Card 0 f16");
}

#[test]
fn without_room_for_its_workspace_the_library_does_without() {
    // The model and what a pass works in fit; 32 MiB do not, and 4 MiB do not.
    on_card!("memory=4000000", || {
        let both = VectorsOfBoth::new();
        assert!(both.is_on_card(&[5, 60]));
        is_sound(&both);
    });
}

#[test]
fn whichever_allocation_fails_the_answer_is_right_and_the_card_stays() {
    on_card!("", || {
        // Of the workspace, of the first and the last of what a pass works in, and past them.
        for nth in [1, 2, 3, 8, 13, 14, 15] {
            let both = VectorsOfBoth::new();
            set(&format!("fail_allocation={nth}"));
            both.agree(&[3, 40, 7]);
            both.agree(&[2]);
            set("fail_allocation=0");
            is_sound(&both);
        }
    });
}

#[test]
fn a_handle_that_cannot_be_had_is_no_loss() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        set(&format!("handle_status={ALLOC_FAILED}"));
        both.agree(&[3, 40, 7]);
        is_sound(&both);
    });
}

#[test]
fn a_product_without_room_is_done_by_halves() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        both.agree(&[3]);
        set(&format!("product_status={ALLOC_FAILED}"));
        assert!(both.is_on_card(&[30, 40, 7, 9]));
        is_sound(&both);
    });
}

#[test]
fn a_batch_that_does_not_fit_is_halved_and_what_fits_is_remembered() {
    // The model takes a tenth of it.
    on_card!("memory=3000000", || {
        let both = VectorsOfBoth::new();
        let batch = [200; 16];
        assert!(both.is_on_card(&batch));
        let allocations = counts()[3];
        assert!(both.is_on_card(&batch));
        assert_eq!(counts()[3], allocations, "the second time nothing is tried that does not fit");
        is_sound(&both);
    });
}

#[test]
fn a_sequence_that_does_not_fit_alone_goes_by_the_cpu_and_the_next_by_the_card() {
    on_card!("memory=600000", || {
        let both = VectorsOfBoth::new();
        assert!(!both.is_on_card(&[512]), "it has 512 tokens");
        is_sound(&both);
        assert!(both.is_on_card(&[60, 30]));
        assert!(!both.is_on_card(&[512]));
    });
}
