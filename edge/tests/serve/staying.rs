//! Clients that stay at their origin, reads that are sent twice, and responses with an end.

use verge_edge::clock::Clock;

use super::rig::{Origin, Rig, response, soon};

#[tokio::test]
async fn a_client_stays_at_its_origin_by_a_cookie_as_long_as_that_is_up() {
    let answer = |body: &'static str| {
        move |head: &str| {
            let is_stored = head.starts_with("GET /stored ");
            response("200 OK", if is_stored { "Cache-Control: max-age=60\r\n" } else { "" }, body)
        }
    };
    let two = [Origin::answering(answer("zero")).await, Origin::answering(answer("one")).await];
    let rig = Rig::with(&[two[0].address, two[1].address], "", "sticky = \"route\"").await;
    let mut client = rig.client().await;
    let first = client.get("/").await;
    let place = if first.text() == "zero" { 0 } else { 1 };
    assert_eq!(first.field("set-cookie"), format!("route={place}; Path=/; HttpOnly; SameSite=Lax"));
    let cookie = format!("Cookie: a=b; route={place}\r\n");
    for _ in 0..6 {
        let got = client.get_with("/", &cookie).await;
        assert_eq!((got.text(), got.field("set-cookie").as_str()), (first.text(), ""));
    }
    // A stored response is for all.
    for _ in 0..2 {
        assert_eq!(rig.get("/stored").await.field("set-cookie"), "");
    }
    two[place].die().await;
    let got = client.get_with("/", &cookie).await;
    assert_eq!(got.status, 200);
    assert!(got.field("set-cookie").starts_with(&format!("route={}; ", 1 - place)), "{got:?}");
    let made_up = client.get_with("/", "Cookie: route=99\r\n").await;
    assert_eq!(made_up.status, 200);
}

#[tokio::test]
async fn a_read_that_takes_long_is_sent_to_another_origin_and_the_first_answer_counts() {
    for is_first_sooner in [false, true] {
        let (one, other) = (Origin::start().await, Origin::start().await);
        let rig = Rig::with(&[one.address, other.address], "", "hedge = \"50ms\"").await;
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        let slow = one.next().await;
        let hedge = other.next().await;
        let (sooner, late) = if is_first_sooner { (slow, hedge) } else { (hedge, slow) };
        sooner.respond(&response("200 OK", "Cache-Control: no-store\r\n", "sooner")).await;
        assert_eq!(client.response().await.text(), "sooner");
        late.hung_up().await;
        let count = async |name: &str| {
            let labels = format!("{{site=\"*\",origin=\"{}\"}} ", other.address);
            rig.metric(&format!("verge_edge_origin_{name}_total{labels}")).await
        };
        let won = if is_first_sooner { 0 } else { 1 };
        assert_eq!((count("hedges").await, count("hedges_won").await), (1, won));
        // One that has failed leaves the answer to the other.
        client.send_get("/again", "").await;
        let (slow, hedge) = (one.next().await, other.next().await);
        slow.fail();
        hedge.respond(&response("200 OK", "Cache-Control: no-store\r\n", "hedge")).await;
        assert_eq!(client.response().await.text(), "hedge");
    }
}

#[tokio::test]
async fn an_error_of_the_other_origin_is_no_answer_while_the_first_may_still_give_one() {
    let (one, other) = (Origin::start().await, Origin::start().await);
    let rig = Rig::with(&[one.address, other.address], "", "hedge = \"50ms\"").await;
    let mut client = rig.client().await;
    for is_lost in [false, true] {
        client.send_get("/", "").await;
        let (slow, hedge) = (one.next().await, other.next().await);
        hedge.respond(&response("500 No", "Cache-Control: no-store\r\n", "error")).await;
        // It has come: the edge gives the connection back when it is read, and this one is next.
        if is_lost {
            slow.fail();
            let got = client.response().await;
            assert_eq!((got.status, got.text().as_str()), (500, "error"));
        } else {
            let mut ended = rig.client().await;
            ended.send_get("/other", "").await;
            let asked = [one.next().await, other.next().await];
            for asked in asked {
                asked.respond(&response("200 OK", "Cache-Control: no-store\r\n", "later")).await;
            }
            assert_eq!(ended.response().await.text(), "later");
            slow.respond(&response("200 OK", "Cache-Control: no-store\r\n", "late")).await;
            assert_eq!(client.response().await.text(), "late");
        }
        // The turn of the first one.
        // This one is not hedged, so that one origin alone has it.
        client.write(b"OPTIONS /turn HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
        tokio::select! {
            asked = one.next() => asked.respond(&response("200 OK", "", "")).await,
            asked = other.next() => asked.respond(&response("200 OK", "", "")).await,
        }
        client.response().await;
    }
}

#[tokio::test]
async fn what_may_not_be_sent_twice_is_not_hedged() {
    let (one, other) = (Origin::start().await, Origin::start().await);
    let rig =
        Rig::with(&[one.address, other.address], "", "hedge = \"20ms\"\nfirst_byte_timeout = \"300ms\"")
            .await;
    for request in
        ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        let mut client = rig.client().await;
        client.write(request.as_bytes()).await;
        let asked = tokio::select! {
            asked = one.next() => asked,
            asked = other.next() => asked,
        };
        asked.respond(&response("200 OK", "", "once")).await;
        assert_eq!(client.response().await.text(), "once");
    }
    assert_eq!(one.count() + other.count(), 2);
}

#[tokio::test]
async fn only_what_asks_for_content_is_hedged() {
    for (request, is_hedged) in [
        ("GET /1", true),
        ("HEAD /2", true),
        ("QUERY /3", true),
        ("OPTIONS /4", false),
        ("PROPFIND /5", false),
        ("PUT /6", false),
    ] {
        let (one, other) = (Origin::start().await, Origin::start().await);
        let rig = Rig::with(&[one.address, other.address], "", "hedge = \"30ms\"").await;
        let (mut client, mut later) = (rig.client().await, rig.client().await);
        client
            .write(format!("{request} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .await;
        let until = async |origin: &Origin, count: usize| {
            soon("requests", async {
                while origin.count() < count {
                    tokio::task::yield_now().await
                }
            })
            .await;
        };
        until(&one, 1).await;
        // This one is hedged: by then it is time for the first, too.
        later.send_get("/later", "").await;
        until(&one, 2).await;
        until(&other, if is_hedged { 2 } else { 1 }).await;
        let all = [one.seen(), other.seen()].concat();
        let sent = all.iter().filter(|head| head.starts_with(request)).count();
        assert_eq!(sent, if is_hedged { 2 } else { 1 }, "{request}");
    }
}

/// An edge in front of an origin, and of another one that is asked only behind it.
async fn with_backup(origin: &Origin, backup: &Origin, site: &str) -> Rig {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\", {{ url = \"http://{}\", backup = true }}]\n\
         {site}\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origin.address, backup.address
    );
    Rig::of(Clock::system(), &text).await
}

#[tokio::test]
async fn an_origin_that_had_no_time_to_answer_before_the_deadline_is_not_blamed() {
    for (site, is_asked) in [
        ("origin_timeout = \"1s\"", false),
        // It had a fifth of the time.
        ("origin_timeout = \"1s\"\nfirst_byte_timeout = \"800ms\"", true),
    ] {
        let (silent, backup) = (Origin::start().await, Origin::start().await);
        let rig = with_backup(&silent, &backup, site).await;
        // Three failures in a row take an origin out.
        for _ in 0..3 {
            let got = rig.get("/").await;
            assert_eq!(
                (got.status, got.field("proxy-status").contains("http_response_timeout")),
                (504, true)
            );
        }
        let metric = async |name: &str, origin: &Origin| {
            rig.metric(&format!("verge_edge_origin_{name}{{site=\"*\",origin=\"{}\"}} ", origin.address))
                .await
        };
        assert_eq!((metric("requests_total", &silent).await, metric("up", &silent).await), (3, 0), "{site}");
        assert_eq!(
            (metric("requests_total", &backup).await > 0, metric("up", &backup).await),
            (is_asked, 1),
            "{site}"
        );
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_at_the_deadline_is_told_so_and_no_origin_blamed() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "origin_timeout = \"1s\"").await;
    let up = format!("verge_edge_origin_up{{site=\"*\",origin=\"{}\"}} ", origin.address);
    let upload = b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\n01234";
    // Three failures in a row take an origin out.
    for _ in 0..3 {
        let mut client = rig.client().await;
        client.write(upload).await;
        assert_eq!(client.response().await.status, 408);
    }
    assert_eq!(rig.metric(&up).await, 1);
    for _ in 0..3 {
        let mut client = rig.client().await;
        client.write(&[&upload[..], b"56789"].concat()).await;
        assert_eq!(client.response().await.status, 504, "all of it was there");
    }
    assert_eq!(rig.metric(&up).await, 0);
}

#[tokio::test]
async fn a_response_has_an_end_by_its_deadline() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "origin_timeout = \"2s\"").await;
    let mut client = rig.client().await;
    client.send_get("/silent", "").await;
    let silent = origin.next().await;
    let got = client.response().await;
    assert_eq!((got.status, got.field("proxy-status").contains("http_response_timeout")), (504, true));
    silent.hung_up().await;
    client.send_get("/dripping", "").await;
    let mut dripping = origin.next().await;
    dripping.write(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 1000000000\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    let drips = async {
        loop {
            dripping.write(b"x").await;
            tokio::task::yield_now().await;
        }
    };
    let broken = async { assert!(client.try_bytes(1_000_000_000).await.is_none(), "it broke off") };
    soon("the deadline", async {
        tokio::select! { () = drips => {}, () = broken => {} }
    })
    .await;
}
