//! Types of content that may go on for as long as somebody listens. Where such content has no length, a client that says
//! it will send no more has left: it has nothing else to wait for.

/// In lower case, without parameters.
const TYPES: [&str; 8] = [
    // WHATWG HTML §9.2.
    "text/event-stream",
    // Docker, Ollama, Elasticsearch, Kubernetes: a JSON text a line.
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/stream+json",
    // RFC 7464.
    "application/json-seq",
    // Cameras: each part takes the place of the one before.
    "multipart/x-mixed-replace",
];

/// Whether a `Content-Type` names one of them; parameters and case do not count.
#[must_use]
pub fn is_endless(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    TYPES.iter().any(|kind| essence.eq_ignore_ascii_case(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_its_type_alone() {
        for (kind, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("application/x-ndjson", true),
            ("multipart/x-mixed-replace; boundary=frame", true),
            ("application/json", false),
            ("text/event-stream2", false),
            ("text/html; text/event-stream", false),
            ("", false),
        ] {
            assert_eq!(is_endless(kind.as_bytes()), expected, "{kind}");
        }
    }
}
