//! What a child prints, read in large pieces.
//!
//! rsync tells of each file that it has transferred with a write of its own. To wake up for each would cost more than
//! all else that the runner does, so the pipes are left alone for a while after they were read.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::spawn::Child;
use super::{Stream, wait};

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Longest time in which the pipes are left alone; the child's end is seen at once.
const REST: Duration = Duration::from_millis(100);
/// Bytes in a piece after which the rest is shorter, so that a child that prints much never waits: a quarter of what
/// fits into the pipe of standard error.
const MUCH_BYTES: usize = 16 * 1024;
/// Time to read what is left in the pipes; somebody else may hold their other ends for ever.
const DRAIN: Duration = Duration::from_millis(500);

/// The pipes of a child that are still open.
pub struct Pipes<'a> {
    open: Vec<(Stream, BorrowedFd<'a>)>,
    buffer: Box<[u8]>,
    rest: Duration,
    until: Option<Instant>,
}

impl<'a> Pipes<'a> {
    pub fn of(child: &'a Child) -> io::Result<Self> {
        let open = vec![(Stream::Output, child.output.as_fd()), (Stream::Error, child.error.as_fd())];
        for (_, pipe) in &open {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { open, buffer: vec![0; PIECE_BYTES].into_boxed_slice(), rest: Duration::ZERO, until: None })
    }

    /// Until when they are left alone.
    pub fn rest(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// What to wait for; [`Self::read`] takes the answers in the same order.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN))
    }

    /// Reads once from each pipe that is ready and closes those at their end; tells whether there was anything.
    pub fn read(&mut self, ready: &[bool], heard: &mut impl FnMut(Stream, &[u8])) -> io::Result<bool> {
        let mut most = 0;
        let mut index = 0;
        let buffer = &mut self.buffer;
        let mut failure = None;
        self.open.retain(|(stream, pipe)| {
            let is_ready = ready.get(index).copied().unwrap_or(false);
            index += 1;
            if !is_ready {
                return true;
            }
            match rustix::io::read(pipe, &mut buffer[..]) {
                Ok(0) => false,
                Ok(count) => {
                    heard(*stream, &buffer[..count]);
                    most = most.max(count);
                    true
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
                Err(error) => {
                    failure = Some(error.into());
                    false
                }
            }
        });
        if most > 0 {
            self.rest = next_rest(self.rest, most);
            self.until = Instant::now().checked_add(self.rest);
        }
        failure.map_or(Ok(most > 0), Err)
    }

    /// Reads what is left after the child's end.
    pub fn drain(&mut self, heard: &mut impl FnMut(Stream, &[u8])) -> io::Result<()> {
        let until = Instant::now() + DRAIN;
        while !self.open.is_empty() && Instant::now() < until {
            let mut watched: Vec<_> = self.watched().collect();
            wait(&mut watched, Some(until))?;
            let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(watched);
            self.read(&ready, heard)?;
        }
        Ok(())
    }
}

/// The next rest: longer after little, shorter after much.
fn next_rest(rest: Duration, bytes: usize) -> Duration {
    if bytes >= MUCH_BYTES { rest / 4 } else { (rest * 2).clamp(Duration::from_millis(1), REST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_prints_little_is_read_rarely_and_who_prints_much_often() {
        let mut rest = Duration::ZERO;
        for _ in 0..20 {
            rest = next_rest(rest, 80);
        }
        assert_eq!(rest, REST);
        for _ in 0..4 {
            rest = next_rest(rest, PIECE_BYTES);
        }
        assert!(rest < Duration::from_millis(1), "{rest:?}");
    }
}
