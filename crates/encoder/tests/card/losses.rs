//! What fails on a card: what is its end, and what is not.

use crate::small::VectorsOfBoth;
use membox_software_card::faults::{counts, set};
use membox_software_card::on_card;

#[test]
fn a_launch_that_is_refused_costs_one_batch_and_not_the_card() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        for nth in [1, 3, 9] {
            set(&format!("fail_launch={nth}"));
            both.agree(&[3, 40, 7]);
            both.agree(&[5]);
            set("fail_launch=0");
            assert!(!both.card.engine().is_degraded());
            assert!(both.is_on_card(&[3, 40, 7]));
        }
    });
}

#[test]
fn an_error_of_the_library_alone_is_no_loss() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        for status in [7, 13, 14, 15] {
            set(&format!("product_status={status}"));
            both.agree(&[3, 40, 7]);
            assert!(!both.card.engine().is_degraded(), "{status}");
        }
        assert!(both.is_on_card(&[3, 40, 7]));
    });
}

/// Loses the card at its nth piece of work.
fn loses_it_at(nth: usize) {
    let both = VectorsOfBoth::new();
    // Recordings, too, are dropped with the card.
    both.agree(&[5]);
    set(&format!("lose={nth}"));
    both.agree(&[3, 40, 7]);
    both.agree(&[5]);
    assert!(both.card.engine().is_degraded());
    assert!(both.card.engine().name().ends_with("(the card is lost)"), "{}", both.card.engine().name());
    assert!(!both.is_on_card(&[3]));
    assert_eq!(both.card.engine().batch_tokens(), None);
    // Its worker still answers; and what is dropped now does not panic.
    both.agree(&[8, 8]);
}

#[test]
fn a_card_that_is_lost_at_the_first_copy_leaves_its_work_to_the_cpu() {
    on_card!("", || loses_it_at(1));
}

#[test]
fn a_card_that_is_lost_between_kernels_leaves_its_work_to_the_cpu() {
    on_card!("", || loses_it_at(11));
}

#[test]
fn a_card_that_is_lost_while_it_answers_leaves_its_work_to_the_cpu() {
    on_card!("", || loses_it_at(25));
}

#[test]
fn a_card_that_is_lost_leaves_its_work_to_the_others() {
    on_card!("cards=3", || {
        let both = VectorsOfBoth::new();
        assert_eq!(both.card.engine().name(), "cuda 3 x Software Card 0 f16");
        set("lose=3");
        assert!(both.is_on_card(&[3, 40, 7]));
        assert!(both.card.engine().is_degraded());
        assert!(both.card.engine().name().starts_with("cuda 2 of 3 x"), "{}", both.card.engine().name());
        assert!(both.is_on_card(&[3, 40, 7]) && both.is_on_card(&[5]));
        assert!(both.card.engine().batch_tokens().is_some());
        set("lose=1");
        assert!(both.is_on_card(&[9]));
        set("lose=1");
        both.agree(&[9]);
        assert!(!both.is_on_card(&[9]), "none is left");
        assert_eq!(counts()[4], 3, "as often as it was asked for");
    });
}
