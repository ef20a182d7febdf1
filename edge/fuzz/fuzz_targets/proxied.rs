//! The PROXY protocol: a header is read whole or refused, and names its ends by the bytes that are there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_edge::serve::proxied;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first_chunk::<{ proxied::FIXED_BYTES }>() else { return };
    let Ok(start) = proxied::start(first) else { return };
    assert!(start.rest <= 4096);
    match start.ends(rest) {
        Ok(Some(ends)) => assert!(rest.len() == start.rest && ends.client.is_ipv4() | ends.client.is_ipv6()),
        Ok(None) => assert_eq!(rest.len(), start.rest),
        Err(proxied::NotProxied) => assert_ne!(rest.len(), start.rest),
    }
});
