//! The properties of the fuzz targets, with fewer inputs, for every change.

use proptest::prelude::*;

#[expect(unreachable_pub, reason = "the fuzz targets use them from another crate")]
#[path = "../../fuzz/properties.rs"]
mod properties;

/// Replies with valid, invalid and missing fields, sometimes with one byte replaced.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let one_of = |values: &[&'static str]| prop::sample::select(values.to_vec());
    let order_id = one_of(&[r#""SO1""#, r#""SO1""#, "null", r#""""#, r#""SO\u001b""#, "7", r#""\ud800""#]);
    let status = one_of(&["8", "8", "-0", "1e400", "8.5", r#""8""#, "null", "99999999999999999999"]);
    let text = one_of(&[r#""r""#, r#""\u001b[2J\n""#, r#""\u202eback""#, "7", "null", "[]"]);
    let code =
        one_of(&[r#""InternalError""#, r#""FailedOperation.\u0007""#, r#""RequestLimitExceeded""#, r#""""#, "7"]);
    let error = (code, text.clone()).prop_map(|(code, message)| format!(r#"{{"Code":{code},"Message":{message}}}"#));
    let error = prop_oneof![3 => error, 1 => one_of(&["null", "{}", "7", "[]"]).prop_map(str::to_owned)];
    let fields = (
        prop::option::weighted(0.8, order_id.prop_map(|value| format!(r#""OrderId":{value}"#))),
        prop::option::weighted(0.8, status.prop_map(|value| format!(r#""Status":{value}"#))),
        prop::option::weighted(0.8, text.prop_map(|value| format!(r#""RequestId":{value}"#))),
        prop::option::weighted(0.4, error.prop_map(|value| format!(r#""Error":{value}"#))),
    );
    let corruption = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (fields, corruption).prop_map(|((order_id, status, request_id, error), corruption)| {
        let fields: Vec<String> = [order_id, status, request_id, error].into_iter().flatten().collect();
        let mut bytes = format!(r#"{{"Response":{{{}}}}}"#, fields.join(",")).into_bytes();
        if let Some((at, byte)) = corruption {
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
