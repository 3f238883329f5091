//! Questions to a person at a terminal. Without a terminal there are none.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longest answer that is read; a terminal's line is shorter.
const ANSWER_BYTES: usize = 4096;

/// A person who can read a question and answer it.
#[derive(Clone, Copy, Debug)]
pub struct Console<'a> {
    stop: BorrowedFd<'a>,
}

impl<'a> Console<'a> {
    /// The person, if both standard input and standard output are a terminal.
    pub fn find(stop: BorrowedFd<'a>) -> Option<Self> {
        (io::stdin().is_terminal() && io::stdout().is_terminal()).then_some(Self { stop })
    }

    /// Becomes readable when the person has asked for the end.
    pub fn stop(self) -> BorrowedFd<'a> {
        self.stop
    }

    /// Whether the person has asked for the end.
    pub fn is_stopped(self) -> bool {
        let mut watched = [PollFd::from_borrowed_fd(self.stop, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
    }

    /// Whether the answer is yes; anything else, an end of input or Ctrl-C is a no.
    pub fn agrees(self, question: &str) -> bool {
        let mut out = io::stdout().lock();
        if write!(out, "{question} [y/N] ").and_then(|()| out.flush()).is_err() {
            return false;
        }
        drop(out);
        let answer = self.read_line();
        if answer.is_none() {
            crate::print::line("");
        }
        answer.is_some_and(|answer| is_yes(&answer))
    }

    /// A line of the terminal, which hands over whole lines (termios(3), canonical mode).
    fn read_line(self) -> Option<Vec<u8>> {
        let stdin = io::stdin();
        loop {
            let mut watched = [
                PollFd::from_borrowed_fd(self.stop, PollFlags::IN),
                PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
            ];
            match poll(&mut watched, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return None,
            }
            if !watched[0].revents().is_empty() {
                return None;
            }
            let mut buffer = [0; ANSWER_BYTES];
            return match rustix::io::read(stdin.as_fd(), &mut buffer[..]) {
                Ok(0) | Err(_) => None,
                Ok(count) => Some(buffer[..count].to_vec()),
            };
        }
    }
}

fn is_yes(answer: &[u8]) -> bool {
    matches!(answer.trim_ascii().to_ascii_lowercase().as_slice(), b"y" | b"yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "yes\n", " Yes \n"] {
            assert!(is_yes(yes.as_bytes()), "{yes}");
        }
        for no in ["\n", "n\n", "yep\n", "", "y\ny\n", "\u{4}"] {
            assert!(!is_yes(no.as_bytes()), "{no}");
        }
    }
}
