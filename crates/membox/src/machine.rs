//! How much memory there is for this process.

use crate::config::Config;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

/// Of all memory, what requests may have unless the settings say otherwise.
const SHARE_OF_REQUESTS: u64 = 4;
/// Bytes that requests have however little memory there is: less, and no body of the default size is taken.
const MIN_REQUEST_MEMORY: u64 = 256 << 20;

/// Bytes of memory: the machine's, or those of the control group of this process where these are fewer.
pub fn memory_bytes() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let of_group = get_current_pid().ok().and_then(|pid| {
        let pids = [pid];
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), false, ProcessRefreshKind::nothing());
        system.process(pid)?.cgroup_limits()
    });
    of_group.map_or(u64::MAX, |limits| limits.total_memory).min(system.total_memory())
}

/// Bytes of memory that requests have together.
pub fn request_memory_bytes(config: &Config) -> usize {
    match config.request_memory_mib {
        Some(mib) => mib.saturating_mul(1 << 20),
        None => (memory_bytes() / SHARE_OF_REQUESTS).max(MIN_REQUEST_MEMORY) as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_a_quarter_of_the_memory_unless_the_settings_say_otherwise() {
        let memory = memory_bytes();
        assert!(memory > 64 << 20, "{memory} bytes");
        let set = |request_memory_mib| request_memory_bytes(&Config { request_memory_mib, ..Config::default() });
        assert_eq!(set(None) as u64, (memory / 4).max(MIN_REQUEST_MEMORY));
        assert_eq!(set(Some(300)), 300 << 20);
    }
}
