//! The limit of open files of a server that runs, as its metrics tell it: it may be another than that of the shell.

use verge_edge::config::Admin;

use crate::command::desk::Desk;
use crate::command::health;

/// As many as the edge may have that runs. One that other machines reach tells only holders of its token, and none is shown.
pub(super) async fn of_running(admin: &Admin) -> Option<u64> {
    let desk = Desk::of(admin, None).ok()?;
    let (_, metrics) = health::ask(&desk, "/metrics").await.ok()?;
    read(&metrics)
}

fn read(metrics: &str) -> Option<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix("process_max_fds "))?;
    // It is a gauge, and may be infinite.
    value.trim().parse::<f64>().ok().filter(|most| most.is_finite()).map(|most| most as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_from_the_metrics() {
        let text = "# TYPE process_max_fds gauge\nprocess_max_fds 524288.0\nprocess_open_fds 3\n";
        assert_eq!(read(text), Some(524_288));
        for none in ["", "process_max_fds +Inf\n", "process_max_fds_more 3\n"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
