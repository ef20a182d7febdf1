//! The process, by the names that every exporter uses (Prometheus' client libraries), and the version of the program.

use std::fmt::{Result, Write};

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};

/// Values of `/proc` that the system does not show, as in some sandboxes, are left out.
pub(super) fn encode(out: &mut String) -> Result {
    let build = format!("verge_dns_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    writeln!(out, "# HELP verge_dns_build_info The version of the program.")?;
    writeln!(out, "# TYPE verge_dns_build_info gauge\n{build} 1")?;
    for Measured { name, help, kind, value } in measured().unwrap_or_default() {
        let sample = if kind == "counter" { "_total" } else { "" };
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{sample} {value}")?;
    }
    Ok(())
}

struct Measured {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    value: f64,
}

fn measured() -> ProcResult<Vec<Measured>> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let started = procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks;
    let open_files = process.limits()?.max_open_files.soft_limit;
    let gauge = |name, help, value| Measured { name, help, kind: "gauge", value };
    Ok(vec![
        Measured {
            name: "process_cpu_seconds",
            help: "CPU time of the process, in the kernel and outside of it.",
            kind: "counter",
            value: (stat.utime + stat.stime) as f64 / ticks,
        },
        gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", started),
        gauge(
            "process_resident_memory_bytes",
            "Memory that the process takes.",
            stat.rss_bytes().get() as f64,
        ),
        gauge("process_virtual_memory_bytes", "Addresses that the process has mapped.", stat.vsize as f64),
        gauge("process_open_fds", "File descriptors in use.", process.fd_count()? as f64),
        gauge(
            "process_max_fds",
            "File descriptors that the process may have.",
            match open_files {
                LimitValue::Value(most) => most as f64,
                LimitValue::Unlimited => f64::INFINITY,
            },
        ),
        gauge("process_threads", "Threads of the process.", stat.num_threads as f64),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured_by_the_usual_names() {
        let mut text = String::new();
        encode(&mut text).unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.split(' ').next() == Some(name));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        };
        for (name, least) in [
            ("process_cpu_seconds_total", 0.0),
            ("process_resident_memory_bytes", 100_000.0),
            ("process_open_fds", 3.0),
            ("process_max_fds", 3.0),
            ("process_threads", 1.0),
            // 2020.
            ("process_start_time_seconds", 1_577_836_800.0),
        ] {
            assert!(value(name).is_some_and(|value| value >= least), "{name}: {text}");
        }
        assert!(text.contains(concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n")), "{text}");
    }
}
