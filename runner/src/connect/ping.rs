//! One ping, by the system's own program, because a raw socket needs rights that ping has.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::capture::capture;

/// Seconds to wait for the answer.
const WAIT_SECONDS: u64 = 2;
/// Longest time for the program itself.
const LIMIT: Duration = Duration::from_secs(WAIT_SECONDS + 3);

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The host is there.
    Alive,
    /// Nothing.
    Silent,
    /// ping itself could not work, so nothing is known.
    Unknown,
}

/// Pings an address once.
pub fn ping(address: SocketAddr, stop: BorrowedFd<'_>) -> Answer {
    match capture("ping", &arguments(address), LIMIT, stop) {
        Ok(captured) if captured.ending.cut.is_none() => answer(captured.ending.code),
        _ => Answer::Unknown,
    }
}

/// Options that iputils and busybox share. An address, not a name, so that nothing is looked up again.
fn arguments(address: SocketAddr) -> Vec<String> {
    let target = match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    };
    let wait = WAIT_SECONDS.to_string();
    ["-q", "-c", "1", "-W", &wait, &target].map(str::to_owned).to_vec()
}

/// ping(8): 1 when no answer came, 2 for other errors.
fn answer(code: Option<i32>) -> Answer {
    match code {
        Some(0) => Answer::Alive,
        Some(1) => Answer::Silent,
        _ => Answer::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_target_is_an_address() {
        let last = |text: &str| arguments(text.parse().expect("an address")).pop();
        assert_eq!(last("192.0.2.1:22").as_deref(), Some("192.0.2.1"));
        assert_eq!(last("[2001:db8::1]:22").as_deref(), Some("2001:db8::1"));
        assert_eq!(last("[fe80::1%3]:22").as_deref(), Some("fe80::1%3"));
    }

    #[test]
    fn exit_codes() {
        assert_eq!(answer(Some(0)), Answer::Alive);
        assert_eq!(answer(Some(1)), Answer::Silent);
        assert_eq!(answer(Some(2)), Answer::Unknown);
        assert_eq!(answer(None), Answer::Unknown);
    }

    /// Needs the program ping, which the tests install.
    #[test]
    fn this_machine_answers_itself() {
        let (stop, _held) = UnixStream::pair().expect("a pair");
        let alive = ping("127.0.0.1:1".parse().expect("an address"), stop.as_fd());
        assert_eq!(alive, Answer::Alive);
    }
}
