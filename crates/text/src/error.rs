/// What can go wrong in the text index. It is derived: one that fails can be built anew.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// tantivy refused.
    #[error("the text index failed: {0}")]
    Tantivy(#[from] tantivy::TantivyError),
    /// Files of the index are damaged, or of another state than is wanted.
    #[error("the record store holds a damaged value: {0}")]
    Damaged(String),
}
