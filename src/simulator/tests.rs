//! What the simulator does for a client.

mod faults;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::clock;
use crate::tencent::{CanonicalRequest, Scope, authorization};

const COMMIT: &str = "CommitCertificateInformation";
const READ: &str = "DescribeCertificate";
const LIST: &str = "DescribeCertificates";
const REPEATED: &str = "FailedOperation.InvalidCertificateStatusCode";

/// A client that signs. A test may change any part of it.
struct Client {
    http: reqwest::Client,
    endpoint: String,
    secret_id: String,
    secret_key: String,
    token: String,
    version: &'static str,
    seconds_off: i64,
}

impl Client {
    fn of(simulator: &Simulator) -> Self {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        }
        let http = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let (secret_id, secret_key) = simulator.credentials();
        let endpoint = simulator.endpoint();
        Self { http, endpoint, secret_id, secret_key, token: String::new(), version: "2019-12-05", seconds_off: 0 }
    }

    async fn send(&self, action: &str, body: &str) -> reqwest::Result<reqwest::Response> {
        let timestamp = clock::now().unix.seconds() + self.seconds_off;
        let headers = [("content-type", "application/json"), ("host", self.endpoint.strip_prefix("http://").unwrap())];
        let request = CanonicalRequest { headers: &headers, body: body.as_bytes() };
        let scope = Scope { service: "ssl", timestamp };
        let key = SecretString::from(self.secret_key.clone());
        self.http
            .post(&self.endpoint)
            .header("content-type", "application/json")
            .header("authorization", authorization(&self.secret_id, &key, &scope, &request))
            .header("x-tc-action", action)
            .header("x-tc-version", self.version)
            .header("x-tc-token", &self.token)
            .header("x-tc-timestamp", timestamp)
            .body(body.to_owned())
            .send()
            .await
    }

    async fn call(&self, action: &str, body: &str) -> Value {
        let text = self.send(action, body).await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["Response"].take()
    }

    async fn commit(&self, id: &str) -> Value {
        self.call(COMMIT, &body(id)).await
    }

    async fn read(&self, id: &str) -> Value {
        self.call(READ, &body(id)).await
    }
}

fn body(id: &str) -> String {
    format!(r#"{{"CertificateId":"{id}"}}"#)
}

fn code(response: &Value) -> &str {
    response["Error"]["Code"].as_str().unwrap_or("ok")
}

async fn simulator() -> (Simulator, Client) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let client = Client::of(&simulator);
    (simulator, client)
}

#[tokio::test]
async fn a_commit_places_one_order_and_a_repeat_is_refused() {
    let (simulator, client) = simulator().await;
    let first = client.commit("a").await;
    assert_eq!((first["OrderId"].as_str(), first["Status"].as_i64()), (Some("SO000001"), Some(8)));
    assert!(first["RequestId"].is_string());
    assert_eq!(code(&client.commit("a").await), REPEATED);
    assert_eq!((simulator.orders_placed("a"), simulator.orders()), (1, 1));
    let answers: Vec<String> = simulator.commits().into_iter().map(|arrival| arrival.answer).collect();
    assert_eq!(answers, ["ok", REPEATED]);
    assert_eq!(simulator.connections(), 1, "connections are kept alive");
}

#[tokio::test]
async fn a_read_shows_the_order_once_there_is_one() {
    let (simulator, client) = simulator().await;
    let before = client.read("a").await;
    assert!(before["OrderId"].is_null() && before["Status"] == 13);
    client.commit("a").await;
    let after = client.read("a").await;
    assert!(after["OrderId"] == "SO000001" && after["Status"] == 8);
    simulator.set_certificate("a", 1, Some("SO9"));
    assert_eq!(client.read("a").await["OrderId"], "SO9");
    assert_eq!((simulator.reads().len(), simulator.commits().len()), (3, 1));
}

#[tokio::test]
async fn a_list_describes_the_certificates_that_are_known_without_their_orders() {
    let (simulator, client) = simulator().await;
    client.commit("a").await;
    simulator.set_certificate("b", 1, Some("SO9"));
    let reply = client.call(LIST, r#"{"CertIds":["a","b","unknown"],"Limit":100}"#).await;
    let seen: Vec<_> =
        reply["Certificates"].as_array().unwrap().iter().map(|one| (&one["CertificateId"], &one["Status"])).collect();
    assert_eq!(seen, [(&json!("a"), &json!(8)), (&json!("b"), &json!(1))]);
    assert!(reply["Certificates"][0].get("OrderId").is_none() && reply["RequestId"].is_string());
    let reply = client.call(LIST, r#"{"CertIds":["a","b"],"Limit":1}"#).await;
    assert_eq!(reply["Certificates"].as_array().unwrap().len(), 1);
    for (body, expected) in [
        (r#"{"CertIds":"a"}"#, "InvalidParameter"),
        (r#"{"CertIds":["a"],"Limit":1001}"#, "InvalidParameterValue"),
        (r#"{"CertIds":["a"],"CertificateId":"a"}"#, "UnknownParameter"),
    ] {
        assert_eq!(code(&client.call(LIST, body).await), expected, "{body}");
    }
}

#[tokio::test]
async fn the_newer_action_has_its_own_names() {
    let (simulator, client) = simulator().await;
    let reply = client.call("CertificateOrderSubmit", r#"{"CertId":"a","VerifyType":"DNS"}"#).await;
    assert!(reply["OrderId"] == "SO000001" && reply["IsAudited"] == false);
    assert_eq!(code(&client.call("CertificateOrderSubmit", &body("a")).await), "UnknownParameter");
    assert_eq!(simulator.commits()[0].verify_type.as_deref(), Some("DNS"));
}

#[tokio::test]
async fn an_invalid_request_gets_the_matching_error_code() {
    let (simulator, mut client) = simulator().await;
    for (action, body, expected) in [
        ("DescribeCertificateDetail", r#"{"CertificateId":"a"}"#, "InvalidAction"),
        (COMMIT, "{}", "MissingParameter"),
        (COMMIT, "[", "InvalidParameter"),
        (COMMIT, r#"{"CertificateId":7}"#, "InvalidParameter"),
        (COMMIT, r#"{"CertificateId":"a","VerifyType":"dns"}"#, "FailedOperation.InvalidParam"),
        (READ, r#"{"CertificateId":"a","VerifyType":"DNS"}"#, "UnknownParameter"),
    ] {
        assert_eq!(code(&client.call(action, body).await), expected, "{action} {body}");
    }
    client.version = "2017-03-12";
    assert_eq!(code(&client.commit("a").await), "NoSuchVersion");
    assert_eq!(simulator.orders(), 0);
}

#[tokio::test]
async fn a_request_that_is_signed_wrongly_is_refused() {
    let (simulator, mut client) = simulator().await;
    client.seconds_off = -301;
    assert_eq!(code(&client.commit("a").await), "AuthFailure.SignatureExpire");
    client.seconds_off = -200;
    assert_eq!(code(&client.commit("a").await), "ok");
    client.secret_key.push('x');
    assert_eq!(code(&client.commit("a").await), "AuthFailure.SignatureFailure");
    client.secret_id.push('x');
    assert_eq!(code(&client.commit("a").await), "AuthFailure.SecretIdNotFound");
    simulator.set_credentials(&client.secret_id, &client.secret_key);
    assert_eq!(code(&client.commit("a").await), REPEATED);
    let unsigned =
        client.http.post(&client.endpoint).header("x-tc-action", COMMIT).header("x-tc-version", "2019-12-05");
    let reply = unsigned.body(body("a")).send().await.unwrap().text().await.unwrap();
    assert!(reply.contains("AuthFailure.InvalidAuthorization"), "{reply}");
}

#[tokio::test]
async fn a_strict_service_finds_only_certificates_that_were_set_up() {
    let simulator = Simulator::start(Options { strict: true, ..Options::default() }).await.unwrap();
    let client = Client::of(&simulator);
    assert_eq!(code(&client.commit("a").await), "FailedOperation.CertificateNotFound");
    simulator.set_certificate("a", 5, None);
    assert_eq!(code(&client.commit("a").await), "ok");
}

#[tokio::test]
async fn the_rate_is_counted_in_sliding_seconds_without_the_refused() {
    let (simulator, client) = simulator().await;
    simulator.set_rate_limit(Some(3));
    for id in ["a", "b", "c"] {
        assert_eq!(code(&client.commit(id).await), "ok");
    }
    assert_eq!(code(&client.commit("d").await), "RequestLimitExceeded");
    assert_eq!(code(&client.read("d").await), "ok", "reads have their own limit");
    tokio::time::sleep_until(simulator.commits()[0].at + Duration::from_secs(1)).await;
    assert_eq!(code(&client.commit("d").await), "ok");
    simulator.set_rate_limit(None);
    assert_eq!(code(&client.commit("e").await), "ok");
    assert_eq!((simulator.orders(), simulator.commits().len()), (5, 6));
}

#[tokio::test]
async fn an_outage_answers_everything_until_it_is_over() {
    let (simulator, client) = simulator().await;
    simulator.outage(Some("FailedOperation.NoRealNameAuth"));
    assert_eq!(code(&client.commit("a").await), "FailedOperation.NoRealNameAuth");
    assert_eq!(code(&client.read("a").await), "FailedOperation.NoRealNameAuth");
    simulator.outage(None);
    assert_eq!(code(&client.commit("a").await), "ok");
}

#[tokio::test]
async fn a_paused_listener_refuses_connections_and_resumes_where_it_was() {
    let (simulator, client) = simulator().await;
    client.commit("a").await;
    simulator.pause_listening().await;
    assert!(client.send(COMMIT, &body("b")).await.unwrap_err().is_connect());
    simulator.resume_listening().await.unwrap();
    simulator.resume_listening().await.unwrap();
    assert_eq!(code(&client.commit("a").await), REPEATED);
    simulator.stop().await;
    assert!(client.send(COMMIT, &body("b")).await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_dropped_simulator_closes_its_port() {
    let (simulator, client) = simulator().await;
    client.commit("a").await;
    drop(simulator);
    tokio::task::yield_now().await;
    assert!(client.send(COMMIT, &body("b")).await.is_err());
}

#[tokio::test]
async fn waiting_ends_when_the_request_arrives() {
    let (simulator, client) = simulator().await;
    simulator.script_commits("a", vec![Fault::HangAfter]);
    tokio::select! {
        _ = client.commit("a") => panic!("it hangs"),
        () = simulator.until_commits(1) => {}
    }
    simulator.until_orders(1).await;
    assert_eq!(simulator.commit_times().len(), 1);
}

/// A client with the latest temporary credentials, and the reply to a read.
async fn with_temporary_credentials(simulator: &Simulator, role: &str, metadata: &MetadataService) -> (Client, Value) {
    let mut client = Client::of(simulator);
    let url = format!("http://{}/latest/meta-data/cam/security-credentials/{role}", metadata.address());
    client.http.get(url).send().await.unwrap().error_for_status().unwrap();
    [client.secret_id, client.secret_key, client.token] = simulator.temporary_credentials().pop().unwrap();
    let answer = client.call(READ, &body("a")).await;
    (client, answer)
}

#[tokio::test]
async fn temporary_credentials_are_accepted_with_their_token_until_they_expire() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let metadata = simulator.metadata(Some("certs")).await.unwrap();
    let (mut client, answer) = with_temporary_credentials(&simulator, "certs", &metadata).await;
    assert!(answer["Error"].is_null() && simulator.temporary_credentials_used() == 1, "{answer}");
    client.token = "another".to_owned();
    let answer = client.call(READ, &body("a")).await;
    assert_eq!(answer["Error"]["Code"], "AuthFailure.TokenFailure");
    metadata.set_lifetime(Duration::ZERO);
    let (_, answer) = with_temporary_credentials(&simulator, "certs", &metadata).await;
    assert_eq!(answer["Error"]["Code"], "AuthFailure.TokenFailure");
    assert_eq!(simulator.temporary_credentials_used(), 1);
}
