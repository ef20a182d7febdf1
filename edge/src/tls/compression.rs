//! Certificates in fewer bytes on the wire (RFC 8879), as clients ask for them: a chain of 4 KiB becomes some 3 KiB, which
//! over QUIC is a round trip less where a server may send only three times what the client has sent.
//!
//! rustls has the same behind features of its own; both libraries are here already. It keeps what is compressed, and
//! compresses again only when the certificate is another.

use std::io::Write as _;

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use rustls::CertificateCompressionAlgorithm;
use rustls::compress::{CertCompressor, CompressionFailed, CompressionLevel};

/// The algorithms that clients may ask for.
pub(super) const ALL: [&dyn CertCompressor; 2] = [&Brotli, &Zlib];

#[derive(Debug)]
struct Brotli;

#[derive(Debug)]
struct Zlib;

impl CertCompressor for Brotli {
    fn compress(&self, input: Vec<u8>, level: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let quality = if level == CompressionLevel::Interactive { 4 } else { 9 };
        let params =
            BrotliEncoderParams { quality, size_hint: input.len(), ..BrotliEncoderParams::default() };
        let mut out = Vec::new();
        let compressed = brotli::BrotliCompress(&mut &input[..], &mut out, &params);
        compressed.map(|_| out).map_err(|_| CompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Brotli
    }
}

impl CertCompressor for Zlib {
    fn compress(&self, input: Vec<u8>, level: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let level =
            if level == CompressionLevel::Interactive { Compression::fast() } else { Compression::best() };
        let mut encoder = ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(&input).and_then(|()| encoder.finish()).map_err(|_| CompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}
