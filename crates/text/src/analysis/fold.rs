//! A text as folded characters, each with what it is: what differs in case, accents or width alone becomes the same.

use super::simplified::simplified;
use icu_properties::props::{DefaultIgnorableCodePoint, ExtendedPictographic, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// What a character is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A letter or digit of a script that puts blanks between words.
    Letter,
    /// A letter or digit of a script that does not.
    Unspaced,
    /// An emoji or another picture: a word of its own.
    Symbol,
    /// A currency, a degree, a per cent: a word of its own, and part of an amount.
    Unit,
    /// One of [`SIGNS`], which may belong to a word or join two.
    Sign,
    /// All else.
    Blank,
}

/// Apostrophes and hyphens of every form are `'` and `-` here.
const SIGNS: &[u8] = b".'-_&@+#/:,";

/// The folded characters of a text, one after another in a single buffer.
#[derive(Default)]
pub struct Folded {
    text: String,
    /// Of each character: what it is, and where it ends.
    places: Vec<(Kind, usize)>,
}

impl Folded {
    pub fn of(text: &str) -> Self {
        let mut folded = Self { text: String::with_capacity(text.len()), places: Vec::with_capacity(text.len()) };
        if text.is_ascii() {
            text.chars().for_each(|c| folded.push(c.to_ascii_lowercase()));
        } else {
            text.graphemes(true).for_each(|cluster| folded.push_cluster(cluster));
        }
        folded
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// What the character at a place is; after the end, nothing but blanks.
    pub fn kind(&self, at: usize) -> Kind {
        self.places.get(at).map_or(Kind::Blank, |place| place.0)
    }

    /// The characters from one place to another.
    pub fn slice(&self, from: usize, to: usize) -> &str {
        let end_before = |at: usize| at.checked_sub(1).and_then(|i| self.places.get(i)).map_or(0, |place| place.1);
        &self.text[end_before(from)..end_before(to)]
    }

    /// The sign at a place, if there is one.
    pub fn sign(&self, at: usize) -> Option<char> {
        if self.kind(at) == Kind::Sign { self.slice(at, at + 1).chars().next() } else { None }
    }

    /// The first place from `from` on that is of another kind.
    pub fn end_of_run(&self, from: usize) -> usize {
        let kind = self.kind(from);
        let rest = self.places.iter().skip(from);
        from + rest.take_while(|place| place.0 == kind).count()
    }

    fn push_cluster(&mut self, cluster: &str) {
        if is_emoji(cluster) {
            self.text.extend(cluster.chars().filter(|c| !matches!(c, '\u{fe0e}' | '\u{fe0f}')));
            self.places.push((Kind::Symbol, self.text.len()));
            return;
        }
        let is_one = cluster.chars().nth(1).is_none();
        if is_one && cluster.is_ascii() {
            cluster.chars().for_each(|c| self.push(c.to_ascii_lowercase()));
            return;
        }
        let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        let (mut base, begun) = (' ', self.places.len());
        let plain = cluster.nfkd().filter(|&c| {
            let is_mark = is_combining_mark(c);
            if !is_mark {
                base = c;
            }
            // Tatweel only makes an Arabic word longer.
            c != '\u{640}' && !ignorable.contains(c) && !(is_mark && is_dropped(base, c))
        });
        for c in plain.nfc().flat_map(char::to_lowercase) {
            // A character that stands for several is cut into them; letters that make up one character are not.
            let is_mark = is_combining_mark(c);
            let is_more = is_mark || (!is_one && is_unspaced(c) && self.places.len() > begun);
            let last = self.places.last_mut().filter(|last| matches!(last.0, Kind::Letter | Kind::Unspaced));
            match (last, spelled(c)) {
                (Some(last), _) if is_more => {
                    self.text.push(c);
                    last.1 = self.text.len();
                }
                _ if is_mark => {}
                (_, Some(letters)) => letters.chars().for_each(|c| self.push(c)),
                (_, None) => self.push(c),
            }
        }
    }

    fn push(&mut self, mut c: char) {
        let kind = match c {
            _ if c.is_alphanumeric() && is_unspaced(c) => {
                c = simplified(c);
                Kind::Unspaced
            }
            _ if c.is_alphanumeric() => Kind::Letter,
            _ if c.is_ascii() && SIGNS.contains(&(c as u8)) => Kind::Sign,
            _ => symbol(c),
        };
        self.text.push(c);
        self.places.push((kind, self.text.len()));
    }
}

/// Letters that have no decomposition and are searched for by others, and the forms of apostrophe and hyphen.
fn spelled(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        'ø' => "o",
        'ð' | 'đ' => "d",
        'ł' => "l",
        'ħ' => "h",
        'ı' => "i",
        'ς' => "σ",
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => "'",
        '\u{2010}'..='\u{2013}' | '\u{2212}' => "-",
        _ => return None,
    })
}

/// Whether a mark does not make another letter: accents of Latin and Greek, stress in Cyrillic, vowel points of
/// Hebrew and Arabic. The signs of Indic and other scripts are letters' own vowels, and stay.
fn is_dropped(base: char, mark: char) -> bool {
    match mark {
        // й, ї, ў, ѓ and ќ are letters; ё is written е as well.
        '\u{300}'..='\u{36f}' if is_cyrillic(base) => match mark {
            '\u{306}' => false,
            '\u{308}' => matches!(base, 'е' | 'Е'),
            '\u{301}' => !matches!(base, 'г' | 'Г' | 'к' | 'К'),
            _ => true,
        },
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' => true,
        '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' => true,
        '\u{591}'..='\u{5c7}' => true,
        '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{652}' | '\u{656}'..='\u{65f}' | '\u{670}' => true,
        '\u{6d6}'..='\u{6ed}' => true,
        _ => false,
    }
}

fn is_cyrillic(c: char) -> bool {
    ('\u{400}'..='\u{52f}').contains(&c)
}

/// Han, kana, bopomofo and hangul; Thai, Lao, Khmer, Burmese, Javanese and their neighbours.
fn is_unspaced(c: char) -> bool {
    matches!(c as u32,
        0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3040..=0x30FF | 0x3100..=0x312F | 0x31A0..=0x31BF | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF
        | 0x1100..=0x11FF
        | 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x1950..=0x19FF | 0x1A20..=0x1AAF
        | 0x1B00..=0x1B7F | 0xA980..=0xA9FF | 0xAA60..=0xAADF)
}

/// Whether a character, as it is seen, is an emoji.
fn is_emoji(cluster: &str) -> bool {
    let Some(first) = cluster.chars().next() else { return false };
    let is_picture = !first.is_ascii() && CodePointSetData::new::<ExtendedPictographic>().contains(first);
    is_picture || is_flag(first) || (cluster.contains('\u{20e3}') && first != '\u{20e3}')
}

fn is_flag(c: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&c)
}

/// What a character is that is no letter and no sign. Lines of boxes are no words.
fn symbol(c: char) -> Kind {
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        _ if matches!(c, '%' | '‰' | '°') => Kind::Unit,
        GeneralCategory::CurrencySymbol => Kind::Unit,
        GeneralCategory::OtherSymbol if !matches!(c, '\u{2500}'..='\u{259f}' | '\u{2800}'..='\u{28ff}') => Kind::Symbol,
        // An emoji's colour of skin.
        GeneralCategory::ModifierSymbol if ('\u{1f3fb}'..='\u{1f3ff}').contains(&c) => Kind::Symbol,
        _ => Kind::Blank,
    }
}
