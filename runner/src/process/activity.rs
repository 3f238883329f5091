//! Whether a transfer moves, seen from outside: the bytes that the rsync processes have read.
//!
//! A hostile or frozen peer can keep rsync's own time limit from firing, so the kernel's counters
//! are asked (proc(5), `/proc/PID/io`). ssh is left out: its keep-alives move bytes for ever.

use std::fs;

use rustix::process::Pid;

/// Sum over the process and its descendants; 0 when nothing can be read.
pub fn bytes_read(pid: Pid) -> u64 {
    let mut sum = 0;
    let mut waiting = vec![pid.as_raw_nonzero().get()];
    // rsync has three processes at most; the limit only guards against a loop in what is read.
    for _ in 0..64 {
        let Some(pid) = waiting.pop() else { break };
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.trim_end() != "ssh" {
            sum += fs::read_to_string(format!("/proc/{pid}/io")).map_or(0, |text| read_counter(&text));
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        waiting.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok()));
    }
    sum
}

fn read_counter(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found() {
        assert_eq!(read_counter("rchar: 4292\nwchar: 0\nsyscr: 13\n"), 4292);
        assert_eq!(read_counter(""), 0);
    }
}
