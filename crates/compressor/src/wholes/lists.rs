//! The closed lists: units, currencies, months.

/// Signs of currencies.
pub(super) fn is_currency(c: char) -> bool {
    matches!(c, '$' | '¢' | '£' | '¤' | '¥' | '฿' | '\u{20a0}'..='\u{20cf}' | '﷼' | '＄' | '￠' | '￡' | '￥' | '￦')
}

/// Codes of currencies (ISO 4217) that stand before or after a number.
pub(super) const CURRENCIES: [&str; 34] = [
    "AED", "AUD", "BRL", "BTC", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "ETH", "EUR", "GBP", "HKD", "HUF",
    "IDR", "ILS", "INR", "JPY", "KRW", "MXN", "MYR", "NGN", "NOK", "NZD", "PHP", "PLN", "RMB", "RUB", "SEK", "SGD",
    "THB", "USD",
];

/// What a number is multiplied by; its unit may follow.
pub(super) const MAGNITUDES: [&str; 14] = [
    "hundred",
    "thousand",
    "million",
    "millions",
    "billion",
    "billions",
    "trillion",
    "dozen",
    "k",
    "Mio",
    "Mrd",
    "Mio.",
    "Millionen",
    "millones",
];

/// Units of measure, as they are written after a number and a blank. `in` is not here: it is mostly the other word.
#[rustfmt::skip]
pub(super) const UNITS: &[&str] = &[
    // Mass, length, area, volume.
    "ng", "µg", "μg", "mcg", "mg", "cg", "g", "kg", "t", "lb", "lbs", "oz", "st", "nm", "µm", "μm", "mm", "cm", "dm",
    "m", "km", "mi", "ft", "yd",
    "ha", "qm", "sqm", "sqft", "µl", "μl", "µL", "μL", "ml", "mL", "cl", "cL", "dl", "dL", "l", "L", "hl", "gal",
    "tsp", "tbsp", "cc", "ccm",
    // Time and rates.
    "ns", "µs", "μs", "ms", "s", "sec", "secs", "min", "mins", "h", "hr", "hrs", "d", "wk", "wks", "mo", "yr", "yrs",
    "am", "pm", "AM", "PM", "a.m", "p.m", "Uhr",
    "Hz", "kHz", "MHz", "GHz", "THz", "rpm", "bpm", "fps", "mph", "kmh", "kph", "kn", "kt",
    // Electricity, energy, force, pressure, heat.
    "mV", "V", "kV", "µA", "mA", "A", "Ah", "mAh", "mW", "W", "kW", "MW", "GW", "TW", "Wh", "kWh", "MWh", "GWh",
    "TWh", "Ω", "kΩ", "F", "µF", "nF", "pF", "H",
    "J", "kJ", "MJ", "eV", "keV", "MeV", "cal", "kcal", "N", "kN", "Nm", "Pa", "hPa", "kPa", "MPa", "bar", "mbar",
    "psi", "atm", "mmHg", "K", "C", "hp", "PS",
    "dB", "dBA", "lm", "lx", "cd", "Bq", "Sv", "mSv", "Gy", "T", "rad", "deg",
    // Chemistry and medicine.
    "mol", "mmol", "µmol", "μmol", "nmol", "M", "mM", "µM", "IU", "IE", "U", "mEq", "ppm", "ppb", "pH",
    // Data and screens.
    "bit", "bits", "B", "kB", "KB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "kbit", "Mbit", "Gbit", "bps",
    "kbps", "Kbps", "Mbps", "Gbps", "px", "pt", "dpi", "ppi", "MP",
    // Spelt out.
    "gram", "grams", "milligram", "milligrams", "microgram", "micrograms", "kilo", "kilos", "kilogram", "kilograms",
    "ton", "tons", "tonne", "tonnes", "pound", "pounds",
    "ounce", "ounces", "stone", "metre", "metres", "meter", "meters", "centimetre", "centimetres", "centimeter",
    "centimeters", "millimetre", "millimetres",
    "millimeter", "millimeters", "kilometre", "kilometres", "kilometer", "kilometers", "mile", "miles", "foot",
    "feet", "inch", "inches", "yard", "yards", "acre", "acres",
    "hectare", "hectares", "litre", "litres", "liter", "liters", "millilitre", "millilitres", "milliliter",
    "milliliters", "gallon", "gallons", "pint", "pints",
    "cup", "cups", "teaspoon", "teaspoons", "tablespoon", "tablespoons", "drops", "tablets", "second", "seconds",
    "minute", "minutes", "hour", "hours", "day", "days",
    "week", "weeks", "month", "months", "year", "years", "o'clock", "o’clock", "degree", "degrees", "percent", "volt",
    "volts", "watt", "watts", "calorie", "calories",
    "byte", "bytes", "pixel", "pixels", "point", "points", "dollar", "dollars", "cent", "cents", "euro", "euros",
    "Euro", "Euros", "pence", "yen", "rupees", "bucks",
    "Gramm", "Kilo", "Kilogramm", "Meter", "Kilometer", "Liter", "Prozent", "Grad", "Sekunden", "Minuten", "Stunden",
    "Tage", "Tagen", "Wochen", "Monate", "Monaten",
    "Jahre", "Jahren", "grammes", "heures", "jours", "semaines", "mois", "ans", "horas", "días", "semanas", "meses",
    "años", "gramos", "кг", "г", "мг", "км", "м", "см", "мм", "л", "мл",
    "ч", "мин", "руб",
];

/// Units that follow a number of Chinese, Japanese text at once, the longest first of those that begin alike.
#[rustfmt::skip]
pub(super) const IDEOGRAPHIC_UNITS: &[&str] = &[
    "平方米", "立方米", "人民币", "摄氏度", "公里", "公斤", "公分", "毫克", "毫升", "毫米", "厘米", "千克", "千米", "小时", "小時", "分钟", "分鐘", "美元",
    "欧元", "日元", "ヶ月", "か月", "時間",
    "个月", "個月", "年", "月", "日", "号", "號", "時", "时", "点", "點", "分", "秒", "元", "円", "岁", "歳", "歲", "万", "萬", "亿", "億",
    "千", "百", "米", "克", "斤", "块", "塊", "度", "周", "週",
    "天", "吨", "升",
];

/// Months, as they are written within a date: English and German ones stand before a day as well.
#[rustfmt::skip]
const MONTHS: &[&str] = &[
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
    "Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sep", "Sept", "Oct", "Nov", "Dec",
    "Januar", "Jänner", "Februar", "März", "Mai", "Juni", "Juli", "Oktober", "Dezember", "Okt", "Dez",
];

/// Months that stand after the day only, and are written small.
#[rustfmt::skip]
const SMALL_MONTHS: &[&str] = &[
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
    "décembre",
    "enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre",
    "diciembre",
    "gennaio", "febbraio", "aprile", "maggio", "giugno", "luglio", "settembre", "ottobre", "dicembre",
];

/// Whether a date can begin with it.
pub(super) fn is_month(word: &str) -> bool {
    MONTHS.contains(&word)
}

/// Whether it can follow a day.
pub(super) fn is_month_after_day(word: &str) -> bool {
    is_month(word) || SMALL_MONTHS.contains(&word)
}

/// Whether it is a unit of measure, or several that `/` or `·` join, each to a power: `km/h`, `kg·m²`.
pub(super) fn is_unit(text: &str) -> bool {
    let is_one = |unit: &str| {
        let unit = unit.trim_end_matches(|c: char| c.is_numeric() || matches!(c, '^' | '-' | '.'));
        UNITS.contains(&unit) || CURRENCIES.contains(&unit)
    };
    MAGNITUDES.contains(&text) || text.len() < 40 && text.split(['/', '·']).all(is_one)
}
