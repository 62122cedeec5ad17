//! How a family names its tensors.

/// Names of the tensors of a family, without a prefix and without `.weight` and `.bias`. Those of a layer stand behind
/// `layer` and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// What all of them may have before them.
    pub prefixes: &'static [&'static str],
    pub words: &'static str,
    pub positions: &'static str,
    pub types: &'static str,
    pub embedding_norm: &'static str,
    pub layer: &'static str,
    pub qkv: QkvNames,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub feed_forward: FeedForwardNames,
    pub output: &'static str,
    pub output_norm: &'static str,
    pub final_norm: &'static str,
}

/// Queries, keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QkvNames {
    Apart([&'static str; 3]),
    Together(&'static str),
}

/// The first product of the feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeedForwardNames {
    One(&'static str),
    /// Both halves of a gated one in one product.
    Together(&'static str, Halves),
    /// The half that is activated, and the one that it is multiplied by.
    Apart(&'static str, &'static str),
}

/// Which half of a gated product is activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halves {
    First,
    Second,
}
