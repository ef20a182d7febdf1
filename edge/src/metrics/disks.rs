//! How each disk stands, by its folder as the config names it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::store::disk::Standing;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Disk {
    disk: String,
}

/// The gauges and counters of all disks.
#[derive(Debug, Default)]
pub(super) struct Disks {
    up: Family<Disk, Gauge>,
    files: Family<Disk, Gauge>,
    bytes: Family<Disk, Gauge>,
    hits: Family<Disk, Counter>,
    read_bytes: Family<Disk, Counter>,
    writes: Family<Disk, Counter>,
    written_bytes: Family<Disk, Counter>,
    put_off: Family<Disk, Counter>,
    evicted: Family<Disk, Counter>,
    errors: Family<Disk, Counter>,
    corrupt: Family<Disk, Counter>,
}

impl Disks {
    pub(super) fn register(&self, registry: &mut Registry) {
        let up = "Whether the disk is used: 0 while it fails, or its journal is read";
        registry.register("disk_up", up, self.up.clone());
        registry.register("disk_files", "Responses on the disk", self.files.clone());
        registry.register("disk_size_bytes", "Bytes that they take, in whole blocks", self.bytes.clone());
        registry.register("disk_hits", "Responses read from the disk", self.hits.clone());
        registry.register("disk_read_bytes", "Bytes read from the disk", self.read_bytes.clone());
        registry.register("disk_writes", "Responses written to the disk", self.writes.clone());
        registry.register("disk_written_bytes", "Bytes written to the disk", self.written_bytes.clone());
        let put_off = "Responses not written, because write_rate or the queue was used up";
        registry.register("disk_put_off", put_off, self.put_off.clone());
        registry.register(
            "disk_evicted",
            "Responses that went to make room on the disk",
            self.evicted.clone(),
        );
        registry.register("disk_errors", "Reads, writes and removals that failed", self.errors.clone());
        let corrupt = "Files whose content was not what was written: removed, never served";
        registry.register("disk_corrupt", corrupt, self.corrupt.clone());
    }

    /// As they stand now. The disks count for themselves.
    pub(super) fn set(&self, standings: &[Standing]) {
        for standing in standings {
            let label = Disk { disk: standing.name.clone() };
            let gauge = |family: &Family<Disk, Gauge>, value: u64| {
                family.get_or_create(&label).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            gauge(&self.up, standing.is_ready.into());
            gauge(&self.files, standing.files);
            gauge(&self.bytes, standing.bytes);
            for (family, value) in [
                (&self.hits, standing.hits),
                (&self.read_bytes, standing.read_bytes),
                (&self.writes, standing.written_files),
                (&self.written_bytes, standing.written_bytes),
                (&self.put_off, standing.put_off),
                (&self.evicted, standing.evicted),
                (&self.errors, standing.errors),
                (&self.corrupt, standing.corrupt),
            ] {
                let counter = family.get_or_create(&label);
                counter.inc_by(value.saturating_sub(counter.get()));
            }
        }
    }
}
