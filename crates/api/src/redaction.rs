//! What is done with personal data.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalDataKind {
    /// An e-mail address.
    Email,
    /// A Chinese mobile number, or one in the international form of E.164.
    Phone,
    /// A Chinese resident identity number.
    ResidentId,
    /// The number of a payment card.
    PaymentCard,
    /// An IP address, version 4 or 6.
    IpAddress,
    /// The number of a bank account (IBAN).
    Iban,
}

/// What is done with personal data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedactionMode {
    /// Nothing is looked for.
    #[default]
    Off,
    /// The text stays, and what was found is counted.
    Mark,
    /// The first and the last two characters stay, as they read: `al***om`; of six or fewer none.
    Partial,
    /// The kind stands in its place: `[EMAIL_REDACTED]`.
    Full,
}

/// What is looked for, and what is done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Redaction {
    /// What is done.
    pub mode: RedactionMode,
    /// Which kinds; all when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<PersonalDataKind>>,
}
