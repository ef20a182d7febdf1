//! `CDN-Cache-Control` (RFC 9213) over real sockets: it rules alone where it is valid, and not at all where it is not.

use super::rig::{Origin, Rig, response};

/// The fate of a second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// It is answered from the store.
    Hit,
    /// It goes to the origin.
    Asked,
}

use Second::{Asked, Hit};

/// A response's fields, the seconds until the second request, and what becomes of it.
type Row = (&'static str, u64, Second);

async fn check(rows: &'static [Row]) {
    let origin = Origin::answering(|head| {
        let row: usize = head[5..].split(' ').next().unwrap().parse().unwrap();
        response("200 OK", rows[row].0, "hello")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (row, (fields, wait, expected)) in rows.iter().enumerate() {
        let path = format!("/{row}");
        rig.get(&path).await.assert_forwarded();
        rig.pass(*wait);
        let second = rig.get(&path).await;
        let found = if second.cache_status().contains("hit") { Hit } else { Asked };
        assert_eq!(found, *expected, "{fields:?} after {wait} s: {second:?}");
        if let Some((_, sent)) = fields
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| *name == "CDN-Cache-Control")
        {
            // RFC 9213 §2: it is for the caches behind us too.
            assert!(second.field("cdn-cache-control").starts_with(sent), "{second:?}");
        }
    }
}

#[tokio::test]
async fn a_valid_field_gives_freshness() {
    check(&[
        ("CDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("CDN-Cache-Control: max-age=3600\r\n", 3600, Asked),
        ("CDN-Cache-Control: max-age=2147483648\r\n", 60, Hit),
        ("CDN-Cache-Control: max-age=99999999999\r\n", 60, Hit),
        ("CDN-Cache-Control: foobar, max-age=3600\r\n", 60, Hit),
        ("CDN-Cache-Control: max-age=3600;extension=1\r\n", 60, Hit),
        ("CDN-Cache-Control: foobar\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("CDN-Cache-Control: s-maxage=3600, max-age=1\r\n", 60, Hit),
        ("CDN-Cache-Control: max-age=0\r\n", 0, Asked),
        ("CDN-Cache-Control: max-age=3600\r\nAge: 7200\r\n", 0, Asked),
        ("CDN-Cache-Control: max-age=3600\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 0, Asked),
    ])
    .await;
}

#[tokio::test]
async fn it_goes_before_cache_control_and_expires_whatever_they_say() {
    check(&[
        ("Cache-Control: max-age=1\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("Cache-Control: s-maxage=1\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("Cache-Control: max-age=3600\r\nCDN-Cache-Control: max-age=1\r\n", 60, Asked),
        ("Cache-Control: no-store\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("Cache-Control: private\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("Cache-Control: no-cache\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: no-store\r\n", 0, Asked),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: private\r\n", 0, Asked),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: no-cache\r\n", 0, Asked),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: foo\r\n", 0, Asked),
        ("Expires: Sun, 06 Nov 1994 08:49:37 GMT\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("Expires: 0\r\nCDN-Cache-Control: max-age=3600\r\n", 60, Hit),
        ("Expires: Sun, 06 Nov 2094 08:49:37 GMT\r\nCDN-Cache-Control: max-age=0\r\n", 0, Asked),
        (
            "Cache-Control: max-age=1, stale-while-revalidate=3600\r\nCDN-Cache-Control: max-age=1\r\n",
            60,
            Asked,
        ),
    ])
    .await;
}

/// RFC 9213 §2.1: a field that is no Structured Field Dictionary, or an empty one, is as if it were not there; a member
/// of the wrong type says nothing of a lifetime.
#[tokio::test]
async fn an_invalid_field_is_ignored_and_its_letters_count() {
    check(&[
        ("Cache-Control: no-store\r\nCDN-Cache-Control: max-age=10000, &&&&&\r\n", 0, Asked),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: no-store, &&&&&\r\n", 60, Hit),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: max-age=0,\r\n", 60, Hit),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control:\r\n", 60, Hit),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: No-Store\r\n", 60, Hit),
        ("CDN-Cache-Control: MaX-aGe=3600\r\n", 0, Asked),
        ("CDN-Cache-Control: max-age =3600\r\n", 0, Asked),
        ("CDN-Cache-Control: max-age= 3600\r\n", 0, Asked),
        ("Cache-Control: no-store\r\nCDN-Cache-Control: max-age=\"10000\"\r\n", 0, Asked),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: max-age=\"10000\"\r\n", 0, Asked),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: max-age=1.5\r\n", 0, Asked),
        ("Cache-Control: max-age=10000\r\nCDN-Cache-Control: max-age=-1\r\n", 0, Asked),
        ("CDN-Cache-Control: max-age=1, max-age=3600\r\n", 60, Hit),
        ("CDN-Cache-Control: no-store=?0, max-age=3600\r\n", 60, Hit),
    ])
    .await;
}
