//! Personal data in text: found, checked, and made unreadable.
//!
//! E-mail addresses, phone numbers (Chinese mobile and E.164), Chinese resident identity numbers, payment cards and IP addresses, in English and Chinese text.
//! [`find()`] says where they are; [`Redaction`] is a policy that says what is done with them.
//!
//! This crate does not know records, tenants or logs, and remembers nothing of what it saw.
//!
//! # Example
//!
//! ```
//! use membox_redaction::{Counts, Kind, Mode, Redaction};
//!
//! let redaction = Redaction { mode: Mode::Full, kinds: None };
//! let mut counts = Counts::new();
//! let text = redaction.apply("我的手机号13800138000,邮箱alice@example.com吧", &mut counts);
//! assert_eq!(text, "我的手机号[PHONE_REDACTED],邮箱[EMAIL_REDACTED]吧");
//! assert_eq!(counts[&Kind::Phone], 1);
//! ```

pub mod checks;
mod find;
mod policy;

pub use find::{Found, Kind, find};
pub use policy::{Counts, Mode, Redaction, without_placeholders};
