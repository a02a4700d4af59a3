//! Whatever is read: the properties that the fuzz targets hold to, with fewer inputs, for a look at each change.

use proptest::prelude::*;

#[expect(unreachable_pub, reason = "the fuzz targets use them from another crate")]
#[path = "../../fuzz/properties.rs"]
mod properties;

/// A reply, more or less, whose pieces are exchanged at random.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        r#"{"Response":{"#,
        r#""OrderId":"SO1""#,
        r#""OrderId":null"#,
        r#""OrderId":"\u001b""#,
        r#""Status":8"#,
        r#""Status":-0"#,
        r#""Status":1e400"#,
        r#""Status":"8""#,
        r#""RequestId":"\u202e""#,
        r#""RequestId":"\ud800""#,
        r#""Error":null"#,
        r#""Error":{"Code":"InternalError","Message":"\u001b\n"}"#,
        r#""Error":{}"#,
        ",",
        ",",
        ",",
        "}}",
        "}",
        "[",
        "]",
        "\u{feff}",
    ]);
    let success = Just(r#"{"Response":{"OrderId":"SO1","Status":8,"RequestId":"r"}}"#.to_owned());
    let text = prop_oneof![4 => prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()), 1 => success];
    (text, prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()))).prop_map(|(text, spoilt)| {
        let mut bytes = text.into_bytes();
        if let (Some((at, byte)), false) = (spoilt, bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_reply_has_the_properties_of_replies(body in replies(), status in prop_oneof![Just(200u16), any::<u16>()]) {
        properties::reply(status, &body);
    }

    #[test]
    fn any_credentials_file_has_the_properties_of_credentials_files(
        lines in prop::collection::vec("\\[default\\]|secret_(id|key) ?= ?(@|AKID|'@'|@ @|\\PC{0,9})|token=@?|.{0,9}", 0..6), end in "\r?\n",
    ) {
        properties::credentials_file(lines.join(&end).as_bytes());
    }

    #[test]
    fn any_configuration_has_the_properties_of_configurations(
        text in "(\\[?(rate|log|x)\\]?\\.?(guard|per_second|level|\n)? ?=? ?(0x|1e400|99999999999999999999|.{0,20})\n?){0,3}",
        variables in prop::collection::vec("(RATE|LOG)__(GUARD|PER_SECOND|LEVEL|\\PC)=.{0,9}", 0..2),
    ) {
        let parts: Vec<&str> = [text.as_str()].into_iter().chain(variables.iter().map(String::as_str)).collect();
        properties::configuration(parts.join("\0").as_bytes());
    }
}
