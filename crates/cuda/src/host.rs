//! A model in the host's memory, as it is put on a GPU.

/// The activation of a feed-forward layer, by its number in gelu.cu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostActivation {
    /// The exact GELU, by erf.
    #[default]
    Gelu = 0,
    /// The one by tanh.
    GeluTanh = 1,
    /// What is above 0.
    Relu = 2,
    /// `x · σ(x)`.
    Silu = 3,
}

/// A linear layer in the host's memory: `weight` is `[outputs, inputs]`, row after row.
#[derive(Clone, Copy, Debug)]
pub struct HostLinear<'a> {
    /// `[outputs, inputs]`.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
}

/// Scale and shift of a LayerNorm in the host's memory, `[hidden]` each.
#[derive(Clone, Copy, Debug)]
pub struct HostNorm<'a> {
    /// Scale.
    pub gamma: &'a [f32],
    /// Shift.
    pub beta: &'a [f32],
}

/// One layer in the host's memory.
#[derive(Clone, Copy, Debug)]
pub struct HostLayer<'a> {
    /// `[3 · hidden, hidden]`: queries, already divided by the root of the head's width, keys and values.
    pub qkv: HostLinear<'a>,
    /// `[hidden, hidden]`.
    pub attention_output: HostLinear<'a>,
    /// After attention; before it where norms stand before, where the first layer has none.
    pub attention_norm: Option<HostNorm<'a>>,
    /// `[intermediate, hidden]`; of a gated layer the half that is activated, then the one that it is multiplied by.
    pub intermediate: HostLinear<'a>,
    /// `[hidden, intermediate]`.
    pub output: HostLinear<'a>,
    /// After the feed-forward half; before it where norms stand before.
    pub output_norm: HostNorm<'a>,
    /// Which of [`HostModel::angles`] its queries and keys are turned by, if by any.
    pub angles: Option<usize>,
    /// Tokens to each side that a token attends to; all where there is none.
    pub window: Option<usize>,
}

/// What attention adds to its scores by distance, in the host's memory.
#[derive(Clone, Copy, Debug)]
pub struct HostRelative<'a> {
    /// `[heads, 2 · reach + 1]`: from `reach` before a query to `reach` behind it.
    pub by_distance: &'a [f32],
    /// What is further off has the number of this distance.
    pub reach: usize,
}

/// The head that says how likely a token is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct HostKeep<'a> {
    /// A layer before it, with GELU; `[width, hidden]`.
    pub inner: Option<HostLinear<'a>>,
    /// `[1, width]`: one logit.
    pub output: HostLinear<'a>,
}

/// The head of masked-language models, in the host's memory.
#[derive(Clone, Copy, Debug)]
pub struct HostMaskedLm<'a> {
    /// `[hidden, hidden]`.
    pub dense: HostLinear<'a>,
    /// After it.
    pub activation: HostActivation,
    /// After the activation.
    pub norm: HostNorm<'a>,
    /// `[vocabulary, hidden]`.
    pub decoder: HostLinear<'a>,
}

/// A model in the host's memory.
#[derive(Clone, Debug)]
pub struct HostModel<'a> {
    /// Width of a token's state, a multiple of 64.
    pub hidden: usize,
    /// Attention heads, 32 or 64 wide.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Added to the variance by LayerNorm.
    pub epsilon: f32,
    /// `[vocabulary, hidden]`.
    pub word_embeddings: &'a [f32],
    /// `[longest sequence, hidden]`, with the token type's embedding added; empty where positions are none of a table.
    pub positions: &'a [f32],
    /// Longest sequence where there is no such table.
    pub longest: usize,
    /// Of each set of frequencies `[longest sequence, head / 2]` pairs of a cosine and a sine.
    pub angles: Vec<Vec<f32>>,
    /// That of the feed-forward layers.
    pub activation: HostActivation,
    /// Whether the activated half is multiplied by a second one.
    pub gated: bool,
    /// After the embeddings.
    pub embedding_norm: HostNorm<'a>,
    /// What attention adds to its scores, in all layers.
    pub relative: Option<HostRelative<'a>>,
    /// After the last layer, where norms stand before each half of a layer, and not after it.
    pub final_norm: Option<HostNorm<'a>>,
    /// The layers.
    pub layers: Vec<HostLayer<'a>>,
    /// The keep head, if it has one.
    pub keep: Option<HostKeep<'a>>,
    /// The head of masked-language models, if it has one.
    pub masked_lm: Option<HostMaskedLm<'a>>,
}
