//! Personal data as it is written: in other characters, apart, in escapes, in the forms that its standards allow; and
//! what only looks like it.

use membox_redaction::{Counts, Mode, Redaction};

fn redacted(mode: Mode, text: &str) -> String {
    Redaction { mode, kinds: None }.apply(text, &mut Counts::new()).into_owned()
}

/// What becomes of each text: `{E}` is an e-mail address, `{P}` a phone, `{C}` a card, `{R}` a resident id, `{I}` an
/// IP address and `{B}` an account.
fn check(forms: &[(&str, &str)]) {
    let labels = [
        ("{E}", "EMAIL"),
        ("{P}", "PHONE"),
        ("{C}", "PAYMENT_CARD"),
        ("{R}", "RESIDENT_ID"),
        ("{I}", "IP_ADDRESS"),
        ("{B}", "IBAN"),
    ];
    let mut wrong = Vec::new();
    for (written, expected) in forms {
        let placeholder = |text: String, (short, label)| text.replace(short, &format!("[{label}_REDACTED]"));
        let expected = labels.into_iter().fold((*expected).to_owned(), placeholder);
        let kept = redacted(Mode::Full, written);
        if kept != expected {
            wrong.push(format!("{written:?}\n    gives {kept:?},\n    not   {expected:?}"));
        }
        let again = redacted(Mode::Full, &kept);
        if again != kept {
            wrong.push(format!("{written:?} gives {kept:?} and then {again:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn email_addresses() {
    check(&[
        ("mail alice@example.com.", "mail {E}."),
        ("邮箱alice@example.com吧", "邮箱{E}吧"),
        ("alice@exam\u{200b}ple.com, alice@ex\u{ad}ample.com", "{E}, {E}"),
        ("ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "{E}"),
        ("alice%40example.com alice%2540example%252Ecom", "{E} {E}"),
        ("?to=alice%2Btag%40example.com&x=1", "?to={E}&x=1"),
        ("alice&#64;example.com alice&#x40;example&period;com alice&commat;example.com", "{E} {E} {E}"),
        ("alice&amp;#64;example.com", "{E}"),
        ("{\"to\":\"alice\\u0040example.com\"}", "{\"to\":\"{E}\"}"),
        ("{\"a\":\"{\\\"to\\\":\\\"alice@example.com\\\"}\"}", "{\"a\":\"{\\\"to\\\":\\\"{E}\\\"}\"}"),
        ("{\"a\":\"x\\nalice@example.com\\ny\"}", "{\"a\":\"x\\n{E}\\ny\"}"),
        ("\"{\\\"to\\\": \\\"alice\\\\u0040example.com\\\"}\"", "\"{\\\"to\\\": \\\"{E}\\\"}\""),
        ("alice@example。com 谢谢", "{E} 谢谢"),
        ("邮箱是alice@example.com。谢谢", "邮箱是{E}。谢谢"),
        ("邮箱是alice@example.com。Thanks", "邮箱是{E}。Thanks"),
        ("alice@example.com.Thanks", "{E}.Thanks"),
        ("alice@пример.рф, почта@пример.рф", "{E}, {E}"),
        ("alice@example.com.Спасибо", "{E}.Спасибо"),
        ("josé.garcía+x@exämple.de", "{E}"),
        ("用户@例子.公司 测试@例子.测试谢谢", "{E} {E}谢谢"),
        ("alice@example.公司。", "{E}。"),
        ("संपर्क@डाटामेल.भारत", "{E}"),
        ("δοκιμή@παράδειγμα.ελ", "{E}"),
        ("a@xn--e1afmkfd.xn--p1ai", "{E}"),
        ("bob@mail.example.photography bob@example.travelersinsurance", "{E} {E}"),
        ("\"john doe\"@example.com, \"a@b\"@example.com", "{E}, {E}"),
        ("<alice@example.com> [alice@example.com](mailto:alice@example.com)", "<{E}> [{E}](mailto:{E})"),
        ("https://alice@example.com/x?u=bob@example.org", "https://{E}/x?u={E}"),
        ("o'brien@example.com 'alice@example.com'", "{E} '{E}'"),
        ("root@[192.0.2.1] root@[IPv6:2001:db8::1]", "{E} {E}"),
        ("alice [at] example [dot] com, alice(at)example.com", "{E}, {E}"),
        ("alice {AT} mail (dot) example {DOT} photography", "{E}"),
        ("alice at example dot com; alice dot smith at mail dot example dot org", "{E}; {E}"),
        ("alice[@]example[.]com", "{E}"),
        ("alice @ example.com and alice@ example.com", "{E} and {E}"),
        ("alice@\nexample.com", "{E}"),
        ("alice@example.com@example.org", "{E}"),
        ("alice@example.com.txt", "{E}.txt"),
        ("a\u{301}lice@example.com\u{301}x", "{E}"),
        ("аlice@exаmple.com", "{E}"),
        ("Tom—alice@example.com——谢谢", "Tom—{E}——谢谢"),
        ("ALICE@EXAMPLE.COM alice@vip.163.com alice@v.163.com alice@163.com", "{E} {E} {E} {E}"),
        ("&lt;alice@example.com&gt;", "&lt;{E}&gt;"),
        ("_alice@example.com_", "_{E}_"),
        ("alice@example.com, bob@example.com;carol@example.com", "{E}, {E};{E}"),
        ("alice@example.com4111111111111111", "{E}{C}"),
    ]);
}

#[test]
fn phone_numbers() {
    check(&[
        ("138\u{a0}1234\u{a0}5678 138\u{2009}1234\u{2009}5678 138\u{3000}1234\u{3000}5678", "{P} {P} {P}"),
        ("138  1234  5678, 138.1234.5678, 138–1234–5678, 138 - 1234 - 5678", "{P}, {P}, {P}, {P}"),
        ("138\u{200b}12345678 １３８１２３４５６７８ ١٣٨١٢٣٤٥٦٧٨ १३८१२३४५६७८", "{P} {P} {P} {P}"),
        ("①③⑧①②③④⑤⑥⑦⑧ ❶❸❽❶❷❸❹❺❻❼❽ 1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8️⃣", "{P} {P} {P}"),
        ("①13812345678②13912345678", "①{P}②{P}"),
        ("13812345678¹ and 13812345678 ²", "{P}¹ and {P} ²"),
        (
            "(+86)138 1234 5678, (86)13812345678, +86-138-1234-5678, 0086 13812345678, 008613812345678, 8613812345678",
            "{P}, {P}, {P}, {P}, {P}, {P}",
        ),
        ("138 1234\n5678", "{P}"),
        ("138-1234-5678-801 13812345678-801", "{P}-801 {P}-801"),
        ("13812345\n678 is cut", "13812345\n678 is cut"),
        ("1 3 8 1 2 3 4 5 6 7 8", "{P}"),
        ("1.13812345678 2.13912345678", "1.{P} 2.{P}"),
        (
            "+1\u{a0}415\u{a0}555\u{a0}2671, +1–415–555–2671, +1.415.555.2671, +1 (415) 555-2671, +1/415/5552671",
            "{P}, {P}, {P}, {P}, {P}",
        ),
        ("(+49) 30 12345678, +(49) 30 12345678, +49 (0)30 12345678, +49-30/12345678", "{P}, {P}, {P}, {P}"),
        ("(+49 30 12345678) (call +49 30 12345678) 12", "({P}) (call {P}) 12"),
        (
            "0049 30 12345678, 004930123456789, 00 49 30 12345678, 00 33 6 12 34 56 78, 0012025550123, 0049 (0)30 \
             12345678",
            "{P}, {P}, {P}, {P}, {P}, {P}",
        ),
        ("+1 415\n555 2671", "{P}"),
        ("+49 30 12345678\n2024 was", "{P}\n2024 was"),
        ("+1 415 555 2671 3 times, +86 138 1234 5678 2 calls", "{P} 3 times, {P} 2 calls"),
        (
            "+1 415 555 2671 ext. 123, +1 415 555 2671 x12, 13812345678转801, +1 415 555 2671;ext=99",
            "{P}, {P}, {P}, {P}",
        ),
        ("tel:+1-415-555-2671 tel:0301234567 TEL:(030)1234567", "tel:{P} tel:{P} TEL:{P}"),
        ("&#43;14155552671 %2B14155552671 ＋14155552671 &plus;1&nbsp;415&nbsp;555&nbsp;2671", "{P} {P} {P} {P}"),
        ("%31%33%38%31%32%33%34%35%36%37%38", "{P}"),
        ("up 5%13812345678", "up 5%{P}"),
        ("℡13812345678", "℡{P}"),
        ("手机:13812345678,备用13912345678。", "手机:{P},备用{P}。"),
    ]);
}

#[test]
fn cards_and_resident_ids() {
    check(&[
        ("4111\u{a0}1111\u{a0}1111\u{a0}1111, 4111  1111  1111  1111, 4111.1111.1111.1111", "{C}, {C}, {C}"),
        (
            "4111-1111-1111-1111, 4111–1111–1111–1111, 4111 - 1111 - 1111 - 1111, 4111/1111/1111/1111, \
             4111_1111_1111_1111",
            "{C}, {C}, {C}, {C}, {C}",
        ),
        ("4111•1111•1111•1111, 4111\t1111\t1111\t1111", "{C}, {C}"),
        ("4111 1111\n1111 1111", "{C}"),
        ("4111 1111 1111\r\n1111", "{C}"),
        ("411111111\n1111111", "{C}"),
        ("4111\n1111\n1111\n1111", "{C}"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "{C}"),
        ("𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏 ４１１１１１１１１１１１１１１１ 4111111111111111\u{200d}", "{C} {C} {C}"),
        ("4\u{200b}1\u{200c}1\u{200d}1\u{2060}1\u{feff}1\u{ad}1\u{202e}1\u{2066}11111111", "{C}"),
        ("4111&nbsp;1111&nbsp;1111&nbsp;1111 4111%201111%201111%201111 4111+", "{C} {C} 4111+"),
        ("4111 1111 1111 1111 123 people", "{C} 123 people"),
        ("4111 1111 1111 1111\n5555 5555 5555 4444\n", "{C}\n{C}\n"),
        ("3782 822463 10005, 378282246310005", "{C}, {C}"),
        ("11010519491231002X, 110105 19491231 002X, 110105-19491231-002x, 110105 1949 1231 002Ⅹ", "{R}, {R}, {R}, {R}"),
        ("１１０１０５１９４９１２３１００２Ｘ 110105\u{200b}19491231002X", "{R} {R}"),
    ]);
}

#[test]
fn ip_addresses_and_accounts() {
    check(&[
        ("203.0\u{200b}.113.77, 203。0。113。77, ２０３．０．１１３．７７, 203[.]0[.]113[.]77", "{I}, {I}, {I}, {I}"),
        (
            "203.0.113.77:8080 [203.0.113.77] http://203.0.113.77/x 203.0.113.0/24 203.000.113.077",
            "{I}:8080 [{I}] http://{I}/x {I}/24 {I}",
        ),
        ("203.0.113.1-203.0.113.9 203.0.113.77-static", "{I}-{I} {I}-static"),
        ("203&period;0&#46;113%2E77", "{I}"),
        ("::ffff:203.0.113.77 [2001:db8::1]:443 fe80::1%eth0 fe80::1%25eth0 2001:DB8::1", "{I} [{I}]:443 {I} {I} {I}"),
        ("2001:db8:0:0:0:0:0:1:443, abc:2001:db8:1:2:3:4:5:6, 地址：2001:db8::1。", "{I}:443, abc:{I}, 地址：{I}。"),
        (
            "DE89 3704 0044 0532 0130 00, DE89370400440532013000, de89 3704 0044 0532 0130 00, \
             GB29-NWBK-6016-1331-9268-19",
            "{B}, {B}, {B}, {B}",
        ),
        ("DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00 and IBAN:NO9386011117947。", "{B} and IBAN:{B}。"),
        ("ＤＥ８９３７０４００４４０５３２０１３０００", "{B}"),
    ]);
}

/// Dates, times, versions, prices, digests, codes of goods, columns of numbers, programs.
#[test]
fn what_only_looks_like_it_stays() {
    let texts = [
        "Ordered on 2024-05-20 at 12:34:56, 20.05.2024, 05/20/2024, 2024-05-20T12:34:56.789Z, 20240520123456.",
        "Version 1.2.3.4, v1.2.3, firmware 10.0.1.2, 2024.1.2.3.4, foo-1.2.3.4, 1.2.3.4-rc1, 2.0.0-beta.1",
        "Order 202405201234567, 2024-0001-2345, #1234567890123, No. 0012345678, 0020240520123, 00-1234-5678, invoice \
         4111 1111 1111 1112.",
        "ISBN 978-7-111-40701-0, ISBN 978-3-16-148410-0, EAN 4006381333931, ISSN 2049-3630, UPC 036000291452",
        "1,299.00 and 3 500 000, $13,812,345,678.00, 13812345678.50, 0.13812345678, 1 500 2000 300",
        "commit 86f7cbd13812345678abcdef0123456789abcdef, d41d8cd98f00b204e9800998ecf8427e",
        "550e8400-e29b-41d4-a716-446655440000, 123e4567-e89b-12d3-a456-a13812345678",
        "1700000000, 1700000000000, 1700000000.123, +12.5 13.5 14.2 15.1, +40.7128 -74.0060, 5 + 12345678",
        "15000 2000\n3000 1234\n4111 2222",
        "150\t2000\t3000",
        "4512\n2219\n8812\n3345\n1234",
        "00:1a:2b:3c:4d:5e, 12:34:56, std::fs::read, a::b, dead::beef, 00:00:12.345, 2001:db8",
        "00 12 34 56 78 9a bc, 0000 0001 0002 0003, 00 00 01, 000000123456789, 0041 4243",
        "icon@2x.png, lodash@4.17.21, pkg@1.2.3-rc.beta, @alice.example, thanks @alice.example, 小明@公司, x @ w.T, q @ \
         self.key",
        "look at the dot net docs, look at this dot matrix, meet at noon, I work at example.com, @app.route, user@host",
        "谢谢@小明。今天天气好, 联系@客服, a@b, @, @@, 感谢@所有人.大家好",
        "{\"to\":\"@example.com\"} [\"a\", \"@example.com\"] \"hello \" + \"@example.com\"",
        "AT10 people were here in 2024, DE12345678901234567890, de89 we go, GB29NWBK60161331926818",
        "100% sure, 50%25, &nbsp;&lt;, \\d{4} C:\\new\\table, $x[.]y, f(.)",
        "Tel 12345, +1, +12 34, +1/2/2024, room 1380-2, 3.14159265, 1/2/3, 4111",
        "[EMAIL_REDACTED] [PHONE_REDACTED] al***om 13***78 41***11",
    ];
    let changed = |text: &&str| {
        let kept = redacted(Mode::Full, text);
        (kept != **text).then_some(kept)
    };
    let changed: Vec<_> = texts.iter().filter_map(changed).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn what_partial_redaction_leaves_is_what_is_read() {
    for (written, expected) in [
        ("alice%40example.com", "al***om"),
        ("①③⑧①②③④⑤⑥⑦⑧", "13***78"),
        ("4\u{200b}111 1111 1111 111\u{200b}1", "41***11"),
        ("&#97;&#108;ice&commat;example.c&#111;&#109;", "al***om"),
        ("用户@例子.公司", "用户***公司"),
        ("ａ＠ｂ．ｃｏ", "***"),
    ] {
        assert_eq!(redacted(Mode::Partial, written), expected, "{written}");
    }
}
