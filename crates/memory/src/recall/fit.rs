//! The texts of hits for a prompt, within a budget of tokens.

use super::hits::Chosen;
use super::joined::JoinedTexts;
use crate::convert::compression;
use crate::models::Models;
use crate::{MemoryError, token_counter};
use membox_api::{Budget, ContextText, HitOrder};
use membox_compressor::TokenCounter;
use membox_encoder::Lane;
use membox_threads::budget::{self, Cancelled};

/// Share of the texts below which compression leaves too little to be understood: rather fewer hits.
const READABLE: f64 = 0.4;

/// The texts of hits that fit a budget, compressed if need be and if the budget says so: of the best as many as fit,
/// in the order that is asked for.
pub(super) fn fit(
    models: &Models,
    chosen: &[Chosen],
    budget: &Budget,
    order: HitOrder,
) -> Result<ContextText, MemoryError> {
    let best: Vec<&Chosen> = chosen.iter().collect();
    let context = fit_in_order(models, &best, budget)?;
    if order == HitOrder::Score {
        return Ok(context);
    }
    let is_in = |hit: &&Chosen| !context.dropped.contains(&hit.stored.record.id);
    let mut kept: Vec<&Chosen> = best.into_iter().filter(is_in).collect();
    kept.sort_by_key(|hit| hit.stored.record.created_at);
    let in_time = fit_in_order(models, &kept, budget)?;
    Ok(ContextText { dropped: [context.dropped, in_time.dropped].concat(), ..in_time })
}

fn fit_in_order(models: &Models, chosen: &[&Chosen], budget: &Budget) -> Result<ContextText, MemoryError> {
    let counter = token_counter(budget.encoding.as_deref(), "/budget/encoding")?;
    let whole = fit_whole(chosen, budget.tokens, counter)?;
    if !budget.compress || whole.dropped.is_empty() || budget.tokens == 0 {
        return Ok(whole);
    }
    let counts: Vec<usize> = chosen.iter().map(|c| counter.count(&c.stored.record.text)).collect();
    let count = compressible(&counts, budget.tokens);
    let texts: Vec<String> = chosen[..count].iter().map(|c| c.stored.record.text.clone()).collect();
    let answer = models.compressor(None)?.fit(&texts, "\n", budget.tokens, counter, Lane::Interactive)?;
    let is_dropped = |i: usize| i >= count || answer.kept[i].is_empty();
    let dropped = (0..chosen.len()).filter(|&i| is_dropped(i)).map(|i| chosen[i].stored.record.id.clone()).collect();
    let compression = Some(compression(&answer));
    Ok(ContextText { tokens: answer.compressed_tokens, text: answer.compressed_prompt, dropped, compression })
}

/// Joins texts while they fit the budget, best first.
fn fit_whole(chosen: &[&Chosen], max_tokens: usize, counter: TokenCounter) -> Result<ContextText, Cancelled> {
    let mut joined = JoinedTexts::new(counter);
    let mut is_in = Vec::with_capacity(chosen.len());
    for candidate in chosen {
        budget::check()?;
        is_in.push(joined.push_within(&candidate.stored.record.text, max_tokens));
    }
    let (text, tokens, too_many) = joined.finish(max_tokens);
    let last = is_in.iter_mut().rev().filter(|is_in| **is_in).take(too_many);
    last.for_each(|is_in| *is_in = false);
    let dropped = chosen.iter().zip(is_in).filter(|(_, is_in)| !is_in);
    let dropped = dropped.map(|(candidate, _)| candidate.stored.record.id.clone()).collect();
    Ok(ContextText { text, tokens, dropped, compression: None })
}

/// How many of the first texts a budget is shared by, so that of each a share is left that can still be read.
fn compressible(counts: &[usize], budget: usize) -> usize {
    let mut sum = 0;
    let fits = |count: &usize| {
        sum += count;
        budget as f64 >= READABLE * sum as f64
    };
    counts.iter().map(fits).take_while(|fits| *fits).count().max(1).min(counts.len())
}
