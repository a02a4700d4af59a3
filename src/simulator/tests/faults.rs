//! What a client gets when the simulator misbehaves.

use super::*;

#[tokio::test]
async fn a_client_gets_the_scripted_reply() {
    let (simulator, client) = simulator().await;
    let busy = || Fault::Error("FailedOperation.NetworkError".to_owned());
    simulator.script_commits("error", vec![busy(), Fault::Behave]);
    assert_eq!(code(&client.commit("error").await), "FailedOperation.NetworkError");
    assert_eq!(simulator.orders_placed("error"), 0);
    assert_eq!(code(&client.commit("error").await), "ok");

    simulator.script_commits_forever("never", busy());
    for _ in 0..3 {
        assert_eq!(code(&client.commit("never").await), "FailedOperation.NetworkError");
    }
    simulator.clear_scripts("never");
    assert_eq!(code(&client.commit("never").await), "ok");

    for (id, fault) in [
        ("error-after", Fault::ErrorAfter("InternalError".to_owned())),
        ("null", Fault::NullResponse),
        ("string", Fault::WrongTypeStatus),
        ("no-order-id", Fault::NoOrderId),
        ("unknown", Fault::Status(4711)),
    ] {
        simulator.script_commits(id, vec![fault]);
        let reply = client.commit(id).await;
        assert_eq!(simulator.orders_placed(id), 1, "{id}");
        match id {
            "error-after" => assert_eq!(code(&reply), "InternalError"),
            "null" => assert!(reply.is_null()),
            "string" => assert_eq!(reply["Status"], "8"),
            "no-order-id" => assert!(reply.get("OrderId").is_none() && reply["Status"] == 8),
            _ => assert!(reply["Status"] == 4711 && client.read(id).await["Status"] == 4711),
        }
    }
}

#[tokio::test]
async fn a_corrupt_reply_comes_after_the_order() {
    let (simulator, client) = simulator().await;
    for (id, fault) in
        [("html", Fault::Html), ("half", Fault::HalfBody), ("bytes", Fault::NotUtf8), ("huge", Fault::HugeBody)]
    {
        simulator.script_commits(id, vec![fault]);
        let reply = client.send(COMMIT, &body(id)).await.unwrap();
        assert_eq!(simulator.orders_placed(id), 1, "{id}");
        let (status, received) = (reply.status(), reply.bytes().await);
        match id {
            "html" => assert!(status == 502 && received.unwrap().starts_with(b"<html>")),
            "half" => assert!(status == 200 && received.is_err()),
            "bytes" => assert!(std::str::from_utf8(&received.unwrap()).is_err()),
            _ => assert!(received.unwrap().len() > 1024 * 1024),
        }
    }
    simulator.script_commits("elsewhere", vec![Fault::Redirect("http://127.0.0.1:9/".to_owned())]);
    let reply = client.send(COMMIT, &body("elsewhere")).await.unwrap();
    assert_eq!((reply.status().as_u16(), &reply.headers()["location"]), (307, &"http://127.0.0.1:9/".parse().unwrap()));
    assert_eq!(simulator.orders_placed("elsewhere"), 0);
    simulator.script_commits("raw", vec![Fault::Raw(b"\0\xff".to_vec())]);
    simulator.script_reads("raw", vec![ReadFault::Raw(b"\xff\0".to_vec())]);
    for (action, bytes) in [(COMMIT, [0, 0xff]), ("DescribeCertificate", [0xff, 0])] {
        let reply = client.send(action, &body("raw")).await.unwrap();
        assert_eq!((reply.status().as_u16(), &*reply.bytes().await.unwrap()), (200, &bytes[..]));
    }
    assert_eq!(simulator.orders_placed("raw"), 0);
}

#[tokio::test]
async fn a_half_body_brings_the_first_half() {
    let (simulator, client) = simulator().await;
    simulator.script_commits("a", vec![Fault::HalfBody]);
    let mut reply = client.send(COMMIT, &body("a")).await.unwrap();
    let announced = usize::try_from(reply.content_length().unwrap()).unwrap();
    assert_eq!(reply.chunk().await.unwrap().unwrap().len(), announced / 2);
    assert!(reply.chunk().await.is_err());
}

#[tokio::test]
async fn a_lost_reply_leaves_the_order_placed_or_not() {
    let (simulator, client) = simulator().await;
    for (id, fault, orders) in [("before", Fault::CutBefore, 0), ("after", Fault::CutAfter, 1)] {
        simulator.script_commits(id, vec![fault]);
        let error = client.send(COMMIT, &body(id)).await.unwrap_err();
        assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
        assert_eq!((simulator.orders_placed(id), simulator.commits_of(id).len()), (orders, 1), "{id}");
    }
    let late = Duration::from_millis(50);
    simulator.script_commits("late", vec![Fault::LateAfter(late)]);
    client.send(COMMIT, &body("late")).await.unwrap_err();
    assert_eq!(simulator.orders_placed("late"), 0);
    simulator.until(|simulator| simulator.orders_placed("late") == 1).await;
    assert!(clock::now().instant - simulator.commits_of("late")[0].at >= late);
}

#[tokio::test]
async fn a_hanging_request_ends_when_the_client_gives_up() {
    let (simulator, client) = simulator().await;
    for (id, fault, orders) in [("before", Fault::HangBefore, 0), ("after", Fault::HangAfter, 1)] {
        simulator.script_commits(id, vec![fault]);
        let mut call = std::pin::pin!(client.commit(id));
        tokio::select! {
            _ = &mut call => panic!("{id} was answered"),
            () = simulator.until(|simulator| !simulator.commits_of(id).is_empty()) => {}
        }
        let answer = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(answer.is_err(), "{id} was answered");
        assert_eq!(simulator.orders_placed(id), orders, "{id}");
    }
}

#[tokio::test]
async fn latency_and_delay_come_after_the_arrival() {
    let (simulator, client) = simulator().await;
    let (latency, delay) = (Duration::from_millis(40), Duration::from_millis(60));
    simulator.set_latency(latency, Duration::from_millis(10));
    simulator.script_commits("a", vec![Fault::Delay(delay)]);
    assert_eq!(code(&client.commit("a").await), "ok");
    let arrived = simulator.commits()[0].at;
    assert!(clock::now().instant - arrived >= latency + delay);
}

#[tokio::test]
async fn reads_follow_their_script() {
    let (simulator, client) = simulator().await;
    let shows = ReadFault::Shows { order_id: Some("SO7".to_owned()), status: None };
    let denied = ReadFault::Error("AuthFailure.UnauthorizedOperation".to_owned());
    simulator.script_reads("a", vec![shows, denied, ReadFault::Cut, ReadFault::Html, ReadFault::Behave]);
    let shown = client.read("a").await;
    assert!(shown["OrderId"] == "SO7" && shown["Status"].is_null());
    assert_eq!(code(&client.read("a").await), "AuthFailure.UnauthorizedOperation");
    assert!(client.send(READ, &body("a")).await.is_err());
    assert_eq!(client.send(READ, &body("a")).await.unwrap().status(), 502);
    assert_eq!(client.read("a").await["Status"], 13);
}

#[tokio::test]
async fn a_mixture_ends_well_for_every_certificate() {
    let (simulator, client) = simulator().await;
    simulator.set_rate_limit(None);
    simulator.mixture(Mixture { network_error: 0.3, throttled: 0.2, lost_before: 0.1, ..Mixture::default() });
    for n in 0..50 {
        let id = format!("cert-{n}");
        while client.send(COMMIT, &body(&id)).await.is_err() || simulator.orders_placed(&id) == 0 {}
        assert!(simulator.commits_of(&id).len() <= 3, "{id}");
    }
    assert!(simulator.commits().len() > 60, "there were faults");
}
