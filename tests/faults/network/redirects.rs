//! A signed request must not follow a redirect.

use std::net::{Ipv4Addr, TcpListener};

use crate::support::{Act, Answer, Bench, FaultProxy};

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let mut bench = Bench::new().await;
    bench.set("pause.after", "1000");
    let proxy = FaultProxy::start(&bench.simulator).await;
    bench.set("api.endpoint", &proxy.endpoint());
    let ids: Vec<String> = [301, 302, 303, 307, 308].iter().map(|code| format!("redirect-{code}")).collect();
    for id in &ids {
        let code = id.trim_start_matches("redirect-");
        let head =
            format!("HTTP/1.1 {code} Elsewhere\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n");
        proxy.script(id, Answer::Withheld(vec![Act::Send(head.into())]));
    }
    bench.enqueue(&ids).await;
    let (code, lines) = bench.spawn(&["run", "--until-empty"]).end().await;
    assert_eq!(code, Some(0));
    for id in &ids {
        let line = super::message_of(&lines, "in_doubt", id);
        let says = format!("the reply was HTTP {}, but the API always sends 200", id.trim_start_matches("redirect-"));
        assert!(line.contains(&says), "{line}");
        assert_eq!(proxy.commits_of(id).len(), 2, "{id}");
    }
    bench.assert_each_submitted_once(&ids).await;
    bench.assert_nothing_resent_blindly().await;
    let refused = elsewhere.accept().expect_err("no request followed the redirect");
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
}
