//! Words that turn what is said into its opposite.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Of the languages that most texts are written in, in small letters. One that means something else in another
/// language is kept there too: that costs a word, and a lost negation costs the meaning.
#[rustfmt::skip]
const NEGATIONS: &[&str] = &[
    // English.
    "no", "not", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "cannot", "without", "hardly",
    "non", "dont", "cant", "wont", "isnt", "doesnt", "didnt",
    // German, Dutch, Swedish, Danish, Norwegian.
    "nicht", "kein", "keine", "keinen", "keinem", "keiner", "keines", "nie", "niemals", "niemand", "niemandem",
    "niemanden", "nichts", "weder", "ohne", "nein", "niet", "geen", "nooit", "niets", "zonder", "nee",
    "inte", "ikke", "aldrig", "aldri", "ingen", "inget", "ingenting", "utan", "uden", "uten", "nej", "nei",
    // French, Spanish, Portuguese, Italian, Romanian.
    "ne", "pas", "jamais", "rien", "aucun", "aucune", "ni", "sans", "nunca", "jamás", "nada", "nadie", "ningún",
    "ninguno", "ninguna", "tampoco", "sin", "não", "ninguém", "nenhum", "nenhuma", "nem", "sem", "mai", "niente",
    "nessuno", "nessuna", "né", "senza", "nulla", "nu", "nici", "niciodată", "nimic", "nimeni", "fără",
    // Polish, Czech, Russian, Ukrainian.
    "nigdy", "nikt", "nic", "żaden", "bez", "nikdy", "nikdo", "žádný", "не", "нет", "ни", "никогда", "ничего",
    "никто", "без", "нельзя", "ні", "ніколи", "нічого", "ніхто", "немає",
    // Finnish, Hungarian, Turkish, Greek.
    "ei", "eivät", "älä", "nincs", "soha", "senki", "semmi", "nélkül", "değil", "yok", "hayır", "hiç",
    "asla", "δεν", "δε", "μην", "όχι", "ποτέ", "χωρίς", "κανείς", "τίποτα",
    // Arabic, Hebrew, Persian, Urdu.
    "لا", "لم", "لن", "ليس", "ليست", "لست", "غير", "بدون", "לא", "אין", "בלי", "מעולם", "نه", "نیست", "هرگز", "هیچ",
    "نہیں", "نہ", "بغیر",
    // Hindi, Bengali, Tamil, Telugu.
    "नहीं", "न", "मत", "बिना", "না", "নেই", "নয়", "இல்லை", "లేదు", "కాదు",
    // Vietnamese, Indonesian, Thai, Korean.
    "không", "chưa", "đừng", "chẳng", "tidak", "bukan", "jangan", "tanpa", "belum", "ไม่", "ไม่ได้", "ไม่มี",
    "อย่า", "ห้าม", "안", "못", "아니", "아니요", "아니다",
    // Chinese, Japanese.
    "无", "無", "非", "别", "別", "未", "勿", "莫", "否", "无法", "無法", "ない", "なかっ", "なかった", "ません", "ず", "なく", "無し", "ん",
];

static NEGATING: LazyLock<HashSet<&'static str>> = LazyLock::new(|| NEGATIONS.iter().copied().collect());

/// How negated words begin or end in languages that write the negation into the word.
const BEGINNINGS: [&str; 7] = ["不", "没", "沒", "未曾", "않", "없", "n'"];
const ENDINGS: [&str; 3] = ["n't", "ません", "ない"];
/// What begins so and negates nothing.
const NO_NEGATIONS: [&str; 8] = ["不过", "不過", "不但", "不仅", "不僅", "不断", "不斷", "不久"];

/// Whether a word negates.
pub(crate) fn is_negation(word: &str) -> bool {
    let word = word.to_lowercase().replace('’', "'");
    let word = word.as_str();
    !NO_NEGATIONS.contains(&word)
        && (NEGATING.contains(word)
            || BEGINNINGS.iter().any(|beginning| word.starts_with(beginning))
            || ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

#[cfg(test)]
mod tests {
    use super::is_negation;

    #[test]
    fn negations_of_many_languages_are_known() {
        for word in
            ["not", "Don’t", "CAN'T", "keine", "n'est", "不", "没有", "不是", "ない", "않아요", "नहीं", "لا", "ไม่"]
        {
            assert!(is_negation(word), "{word}");
        }
        for word in ["note", "nobel", "knot", "不过", "ant", "Nina", "可以", ""] {
            assert!(!is_negation(word), "{word}");
        }
    }
}
