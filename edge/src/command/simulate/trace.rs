//! Reads a trace: lines `time,key,size`, plain or packed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Requests in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// The number of the object, and its size in bytes then, at least 1.
    pub(super) requests: Vec<(u32, u32)>,
    /// By the object's number, as last seen.
    sizes: Vec<u32>,
}

impl Trace {
    /// The error says where.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        let unpacked = unpacked(BufReader::new(file)).map_err(|error| format!("{name}: {error}"))?;
        Self::from_lines(unpacked, &name)
    }

    pub(super) fn from_lines(mut lines: impl BufRead, name: &str) -> Result<Self, String> {
        let mut trace = Self::default();
        let mut numbers: HashMap<Box<[u8]>, u32> = HashMap::new();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(format!("{name}:{number}: {error}")),
            }
            let Some((key, size)) = parse(line.trim_ascii()) else {
                // The first line may name the columns. A digit in it is one of a request that is wrong.
                let names_columns = number == 1 && !line.iter().any(u8::is_ascii_digit);
                if names_columns || line.trim_ascii().is_empty() {
                    continue;
                }
                return Err(format!("{name}:{number}: write time,key,size, the size in bytes"));
            };
            let next = u32::try_from(trace.sizes.len()).map_err(|_| format!("{name}: too many objects"))?;
            let object = *numbers.entry(key.into()).or_insert(next);
            if object == next {
                trace.sizes.push(size);
            }
            trace.sizes[object as usize] = size;
            trace.requests.push((object, size));
        }
        if trace.requests.is_empty() {
            return Err(format!(
                "{name}: it has no requests: write lines of time,key,size, the size in bytes"
            ));
        }
        Ok(trace)
    }

    /// How many different objects it asks for.
    pub(super) fn objects(&self) -> usize {
        self.sizes.len()
    }

    /// Bytes of all different objects.
    pub(super) fn footprint(&self) -> u64 {
        self.sizes.iter().map(|size| u64::from(*size)).sum()
    }

    /// Bytes of all answers.
    pub(super) fn bytes(&self) -> u64 {
        self.requests.iter().map(|(_, size)| u64::from(*size)).sum()
    }
}

/// Key and size. A key may have commas.
fn parse(line: &[u8]) -> Option<(&[u8], u32)> {
    let first = line.iter().position(|byte| *byte == b',')?;
    let last = line.iter().rposition(|byte| *byte == b',')?;
    let size: u64 = std::str::from_utf8(&line[last + 1..]).ok()?.trim().parse().ok()?;
    // Beyond 4 GiB an object is too large for any memory that is worth a try.
    (first < last).then(|| (&line[first + 1..last], u32::try_from(size.max(1)).unwrap_or(u32::MAX)))
}

/// By the bytes that each format begins with.
fn unpacked(mut file: BufReader<File>) -> std::io::Result<Box<dyn BufRead>> {
    let start = file.fill_buf()?;
    Ok(if start.starts_with(b"\xfd7zXZ\0") {
        Box::new(BufReader::new(lzma_rust2::XzReader::new(file, true)))
    } else if start.starts_with(b"\x1f\x8b") {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(file)?))
    } else {
        Box::new(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[(u32, u32)], &str>) {
        let read = Trace::from_lines(text.as_bytes(), "t.csv");
        assert_eq!(
            read.as_ref().map(|trace| trace.requests.as_slice()).map_err(String::as_str),
            expected,
            "{text}"
        );
    }

    #[test]
    fn a_line_is_a_request_and_the_first_may_name_the_columns() {
        for text in ["", "\n", "time,object,size\n"] {
            check(text, Err("t.csv: it has no requests: write lines of time,key,size, the size in bytes"));
        }
        check("time,object,size\n0,a,5\n1,b,6\r\n\n2,a,7", Ok(&[(0, 5), (1, 6), (0, 7)]));
        check("0,/a,b,5\n0,/a,b,5\n0,/a,5\n", Ok(&[(0, 5), (0, 5), (1, 5)]));
        check("0,a,0\n0,b,9999999999\n", Ok(&[(0, 1), (1, u32::MAX)]));
        check("0,a,5.0\n0,a,1\n", Err("t.csv:1: write time,key,size, the size in bytes"));
        check("0,a,1\n0,a\n", Err("t.csv:2: write time,key,size, the size in bytes"));
        check("0,a,1\n0,a,x\n", Err("t.csv:2: write time,key,size, the size in bytes"));
    }

    #[test]
    fn the_footprint_counts_an_object_once_and_the_bytes_each_answer() {
        let trace = Trace::from_lines(&b"0,a,5\n0,b,6\n0,a,7"[..], "").unwrap();
        assert_eq!((trace.objects(), trace.footprint(), trace.bytes()), (2, 13, 18));
    }

    #[test]
    fn packed_files_are_unpacked() {
        use std::io::Write;
        let text = b"0,a,5\n1,b,6\n";
        let folder = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        // printf '0,a,5\n1,b,6\n' | xz
        let xz: &[u8] = &XZ;
        let files: [(&str, Vec<u8>); 4] = [
            ("plain", text.to_vec()),
            ("gz", gzip.finish().unwrap()),
            ("zst", zstd::encode_all(&text[..], 1).unwrap()),
            ("xz", xz.to_vec()),
        ];
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Trace::read(&path).unwrap().requests, [(0, 5), (1, 6)], "{name}");
        }
    }

    const XZ: [u8; 68] = [
        253, 55, 122, 88, 90, 0, 0, 4, 230, 214, 180, 70, 2, 0, 33, 1, 22, 0, 0, 0, 116, 47, 229, 163, 1, 0,
        11, 48, 44, 97, 44, 53, 10, 49, 44, 98, 44, 54, 10, 0, 230, 190, 127, 35, 214, 197, 227, 147, 0, 1,
        36, 12, 166, 24, 216, 216, 31, 182, 243, 125, 1, 0, 0, 0, 0, 4, 89, 90,
    ];
}
