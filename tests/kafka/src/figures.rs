//! What every bench needs: its arguments, figures of its process and of the machine, as Linux tells them.

use std::fs;

/// CPU time of this thread in seconds, to the nanosecond.
pub fn thread_cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the time on the CPU");
    let nanoseconds: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a number");
    nanoseconds / 1e9
}

/// CPU time of all threads of this process in seconds, to the hundredth.
pub fn process_cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux tells the times");
    let after_name = text.rsplit(") ").next().expect("a name in brackets");
    let ticks: f64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    // Every Linux has 100 ticks per second in this file.
    ticks / 100.0
}

/// A line of `/proc/self/status` in bytes: `VmRSS` now, `VmHWM` at most so far.
pub fn memory_bytes(line: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux tells the memory");
    let line = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("a number of kB") * 1024
}

/// The processor and how many of it.
pub fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} x {}", model.map_or("unknown processor", |(_, name)| name))
}

/// The value after `name` among the arguments of this process, else `full`, or `quick` with `--quick`.
pub fn size(name: &str, full: u64, quick: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == name);
    match given.and_then(|place| arguments.get(place + 1)) {
        Some(text) => text.replace('_', "").parse().expect("a number"),
        None if arguments.iter().any(|argument| argument == "--quick") => quick,
        None => full,
    }
}
