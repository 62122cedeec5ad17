//! What tells a number that means somebody from one that only looks like it.

/// The check digit of payment cards (ISO/IEC 7812-1, Luhn). `digits` holds ASCII digits alone.
pub fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether a number begins as those of a card network do, and is as long as theirs.
pub fn is_of_card_network(digits: &str) -> bool {
    let first = |count: usize| digits.get(..count).and_then(|d| d.parse::<u32>().ok()).unwrap_or(0);
    match digits.len() {
        13 => first(1) == 4,
        // Diners Club.
        14 => (300..=305).contains(&first(3)) || matches!(first(2), 36 | 38 | 39),
        // American Express.
        15 => matches!(first(2), 34 | 37),
        16 => {
            let (two, four) = (first(2), first(4));
            // Visa; Mastercard; UnionPay; JCB; Discover.
            first(1) == 4
                || (51..=55).contains(&two)
                || (2221..=2720).contains(&four)
                || matches!(two, 62 | 65 | 81)
                || (3528..=3589).contains(&four)
                || four == 6011
                || (644..=649).contains(&first(3))
        }
        // UnionPay, and Visa's long ones.
        17 | 18 => first(2) == 62,
        19 => first(2) == 62 || first(1) == 4,
        _ => false,
    }
}

/// The first two digits of provinces (GB/T 2260).
const PROVINCES: [u32; 35] = [
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52, 53, 54, 61, 62, 63,
    64, 65, 71, 81, 82, 83,
];
/// Weights of the first seventeen digits.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// Check characters by the weighted sum's remainder by 11.
const CHECKS: &[u8; 11] = b"10X98765432";

/// A Chinese resident identity number of 18 characters (GB 11643-1999): a province, a day of birth, and the check
/// character.
pub fn resident_id(number: &str) -> bool {
    let bytes = number.as_bytes();
    if bytes.len() != 18 || !bytes[..17].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let part = |from: usize, to: usize| bytes[from..to].iter().fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    let sum: u32 = bytes[..17].iter().zip(WEIGHTS).map(|(b, weight)| u32::from(b - b'0') * weight).sum();
    PROVINCES.contains(&part(0, 2))
        && is_day(part(6, 10), part(10, 12), part(12, 14))
        && bytes[17].to_ascii_uppercase() == CHECKS[(sum % 11) as usize]
}

/// Whether there is such a day, from 1900 to 2099.
pub(crate) fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1900..2100).contains(&year) && (1..=days).contains(&day)
}

/// Countries and how many characters an account's number has there (the registry of ISO 13616).
const ACCOUNTS: &str = "\
    AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18\
    FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21\
    LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24\
    SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// Characters of an account's number (IBAN) in a country, which is two letters in any case.
pub fn iban_length(country: &[u8]) -> Option<usize> {
    let is_country = |entry: &&[u8]| entry[..2].eq_ignore_ascii_case(country);
    let entry = ACCOUNTS.as_bytes().chunks_exact(4).find(is_country)?;
    Some(usize::from(entry[2] - b'0') * 10 + usize::from(entry[3] - b'0'))
}

/// The check digits of an account's number (ISO 7064, modulo 97). `number` holds letters and digits of ASCII.
pub fn iban(number: &str) -> bool {
    let Some((lead, rest)) = number.split_at_checked(4) else { return false };
    let is_checked = lead.bytes().skip(2).all(|b| b.is_ascii_digit());
    let step = |rest: u32, c: char| match c.to_digit(36) {
        Some(value) if value < 10 => (rest * 10 + value) % 97,
        value => (rest * 100 + value.unwrap_or(0)) % 97,
    };
    is_checked && rest.chars().chain(lead.chars()).fold(0, step) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_pass_and_every_single_wrong_digit_fails() {
        for card in ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "3530111333300000"]
        {
            assert!(luhn(card) && is_of_card_network(card), "{card}");
            for at in 0..card.len() {
                let mut wrong = card.as_bytes().to_vec();
                wrong[at] = b'0' + (wrong[at] - b'0' + 1) % 10;
                assert!(!luhn(std::str::from_utf8(&wrong).expect("digits")), "{card} changed at {at}");
            }
        }
        // The example of GB 11643.
        for id in ["11010519491231002X", "11010519491231002x", "440524188001010014"] {
            assert_eq!(resident_id(id), !id.contains("1880"), "{id}");
        }
        for at in 0..17 {
            let mut wrong = b"11010519491231002X".to_vec();
            wrong[at] = b'0' + (wrong[at] - b'0' + 1) % 10;
            assert!(!resident_id(std::str::from_utf8(&wrong).expect("digits")), "changed at {at}");
        }
    }

    #[test]
    fn accounts_have_their_countrys_length_and_check_digits() {
        // Examples of the registry.
        for number in
            ["DE89370400440532013000", "GB29NWBK60161331926819", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"]
        {
            assert_eq!(iban_length(&number.as_bytes()[..2]), Some(number.len()));
            assert!(iban(number) && iban(&number.to_lowercase()), "{number}");
            for at in 4..number.len() {
                let mut wrong = number.as_bytes().to_vec();
                wrong[at] = if wrong[at] == b'7' { b'8' } else { b'7' };
                assert!(!iban(std::str::from_utf8(&wrong).expect("ASCII")), "{number} changed at {at}");
            }
        }
        assert_eq!((iban_length(b"US"), iban_length(b"4D")), (None, None));
        assert!(ACCOUNTS.len().is_multiple_of(4) && !iban("DE8"));
    }

    #[test]
    fn days_of_birth_are_days() {
        assert!(is_day(2000, 2, 29) && is_day(2024, 2, 29) && is_day(1999, 12, 31));
        assert!(!is_day(1900, 2, 29) && !is_day(2023, 2, 29) && !is_day(2023, 13, 1) && !is_day(2023, 4, 31));
    }
}
