//! What the kernel says: processor time, memory, the machine.

use std::fs;

/// Nanoseconds that the main thread of a process was on a processor; 0 if it is gone.
pub fn cpu(process: u32) -> u64 {
    nanoseconds(&format!("/proc/{process}/schedstat"))
}

pub fn own_cpu() -> u64 {
    nanoseconds("/proc/self/schedstat")
}

fn nanoseconds(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Resident memory of a process in bytes.
pub fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Rss:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    kib << 10
}

pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).expect("this process can be pinned");
}

/// Nanoseconds that the core was taken away or used by others is not told apart; this is the part
/// of steal time in all time of the machine since it started counting, in clock ticks.
pub fn steal() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    (ticks.get(7).copied().unwrap_or(0), ticks.iter().sum())
}

/// One line about the machine.
pub fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let cores = info.matches("processor\t").count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(1).collect();
    format!(
        "{model}, {cores} cores, Linux {}, load average at the start {}",
        kernel.trim(),
        load.concat()
    )
}
