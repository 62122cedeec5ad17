//! Personal data in text: found, checked, and made unreadable.
//!
//! E-mail addresses, phone numbers (Chinese mobile and E.164), Chinese resident identity numbers, payment cards, IP
//! addresses and account numbers (IBAN), in English and Chinese text. [`find()`] says where they are; [`Redaction`] is
//! a policy that says what is done with them.
//!
//! This crate does not know records, tenants or logs, and remembers nothing of what it saw.
//!
//! # What is read
//!
//! Values are looked for in the text as it reads, not as it is written, and what is found is taken out of the text as
//! whole graphemes (UAX #29).
//!
//! | written | read as | after |
//! |---|---|---|
//! | full-width, mathematical, circled and raised characters, ligatures | what they stand for | NFKD, UAX #15 |
//! | digits of any script | ASCII digits | general category Nd |
//! | zero-width and other characters that are not seen, soft hyphens, accents | nothing | UAX #44 |
//! | blanks of any width, separators of lines, hyphens and dashes | a blank, a line feed, a hyphen or dash | UAX #44 |
//! | `example。com` | `example.com` | UTS #46 |
//! | `%40`, `%2540` | `@` | RFC 3986 |
//! | `&#64;`, `&#x40;`, `&commat;`, `&amp;#64;` | `@` | HTML |
//! | `\u0040`, `\\u0040`, `\/` | `@`, `@`, `/` | RFC 8259 |
//! | `[at]`, `(dot)`, `[.]`; ` at ` where ` dot ` follows | `@`, `.` | |
//!
//! Up to six escapes within each other are read. The text with its escapes unread is looked at as well: `5%13812345678`
//! is a percentage and a number. Look-alike letters of other scripts stay what they are, and are letters of a name.
//!
//! # What is found
//!
//! | kind | forms | what decides |
//! |---|---|---|
//! | e-mail | RFC 5321, RFC 6531, punycode | a domain of two labels or more that ends as domains do |
//! | phone | Chinese mobile numbers; E.164 behind `+` or `00`; RFC 3966 | digits, groups, what stands beside |
//! | card | 13 to 19 digits, in one or in a card's groups | the network's prefix and length, Luhn's digit |
//! | resident id | 18 characters, in any groups | province, birthday, check character (GB 11643) |
//! | IP address | RFC 4291, with zone (RFC 4007) | a parser; no versions, no times |
//! | account | ISO 13616, in one or in groups of four | the country's length, modulo 97 |
//!
//! E-mail addresses may have quoted names, address literals, and names and domains of any script. Chinese mobile
//! numbers are in groups of 3, 4 and 4. E.164 numbers may have extensions.
//!
//! Between groups may stand blanks, a hyphen, a dot, a slash, or one end of a line. A number that goes on in the next
//! line is one only if no other number stands before or behind it: a column of numbers is none.
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
mod decode;
mod email;
mod find;
mod fold;
mod ip;
mod numbers;
mod papers;
mod phone;
mod policy;
mod shadow;

pub use find::{Found, Kind, find};
pub use policy::{Counts, Mode, Redaction, without_placeholders};
