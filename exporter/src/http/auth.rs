//! Basic authentication (RFC 7617) against bcrypt hashes, at a bounded cost.
//!
//! One hash is computed at a time, off the event loop, with a bounded queue before it; what was found is
//! remembered. An unknown user costs as much as a known one, so that time does not tell who exists.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use super::web_config::Secret;

/// Hashes that may wait for their turn; a client beyond them is told to come back.
const QUEUE: usize = 16;
/// Answers that are remembered, of each kind.
const REMEMBERED: usize = 100;
/// What the password of an unknown user is compared with: the hash of random bytes nobody kept.
const NOBODY: &str = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze";

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Allowed,
    /// Answer 401.
    Denied,
    /// Too many others are being checked: answer 503.
    Busy,
}

/// Checks passwords.
pub struct Authenticator {
    turn: Semaphore,
    queue: Semaphore,
    key: hmac::Key,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    good: Answers,
    // Apart, so that a flood of wrong ones does not push out the right ones.
    bad: Answers,
}

/// The last answers, the oldest first. They are found by a keyed hash: no password stays in memory, and no
/// two combinations can be made to look the same.
#[derive(Default)]
struct Answers(VecDeque<[u8; 32]>);

impl Answers {
    fn add(&mut self, answer: [u8; 32]) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(answer);
    }
}

impl Authenticator {
    /// One that has seen nobody; the error is that the system has no random bytes.
    pub fn new() -> std::io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| std::io::Error::other("no random bytes"))?;
        Ok(Self { turn: Semaphore::new(1), queue: Semaphore::new(QUEUE), key, known: Mutex::default() })
    }

    /// Checks the `Authorization` header of a request; without users everybody is allowed.
    pub async fn check(&self, users: &BTreeMap<String, Secret>, header: Option<&HeaderValue>) -> Verdict {
        if users.is_empty() {
            return Verdict::Allowed;
        }
        let Some((user, password)) = header.and_then(credentials) else {
            return Verdict::Denied;
        };
        let known_user = users.get(&user);
        let hash = known_user.map_or(NOBODY, |hash| hash.0.as_str()).to_owned();
        let combination = self.fingerprint(&user, &hash, &password);
        if let Some(verdict) = self.remembered(&combination) {
            return verdict;
        }
        let Ok(_waiting) = self.queue.try_acquire() else {
            return Verdict::Busy;
        };
        let Ok(_turn) = self.turn.acquire().await else {
            return Verdict::Busy;
        };
        // Another connection of the same client may have had it checked meanwhile.
        if let Some(verdict) = self.remembered(&combination) {
            return verdict;
        }
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        let allowed = known_user.is_some() && matches!(compared, Ok(Ok(true)));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed {
            known.good.add(combination);
            Verdict::Allowed
        } else {
            known.bad.add(combination);
            Verdict::Denied
        }
    }

    fn remembered(&self, combination: &[u8; 32]) -> Option<Verdict> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.good.0.contains(combination) {
            Some(Verdict::Allowed)
        } else if known.bad.0.contains(combination) {
            Some(Verdict::Denied)
        } else {
            None
        }
    }

    /// The lengths are part of it, so that no text can move from one field into the next.
    fn fingerprint(&self, user: &str, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for field in [user.as_bytes(), hash.as_bytes(), password] {
            context.update(&field.len().to_le_bytes());
            context.update(field);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

/// User and password out of `Basic base64(user:password)`.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((user, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(user: &str, password: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).unwrap()
    }

    fn users() -> BTreeMap<String, Secret> {
        BTreeMap::from([("alice".to_owned(), Secret(bcrypt::hash("wonder:land", 4).unwrap()))])
    }

    #[tokio::test]
    async fn passwords_are_compared() {
        let authenticator = Authenticator::new().unwrap();
        let users = users();
        for _ in 0..2 {
            for (given, verdict) in [
                (Some(header("alice", "wonder:land")), Verdict::Allowed),
                (Some(header("alice", "wrong")), Verdict::Denied),
                (Some(header("bob", "wonder:land")), Verdict::Denied),
                (Some(HeaderValue::from_static("Bearer abc")), Verdict::Denied),
                (Some(HeaderValue::from_static("Basic ~~~")), Verdict::Denied),
                (None, Verdict::Denied),
            ] {
                assert_eq!(authenticator.check(&users, given.as_ref()).await, verdict, "{given:?}");
            }
        }
        assert_eq!(authenticator.check(&BTreeMap::new(), None).await, Verdict::Allowed);
    }

    /// CVE-2022-46146 of exporter-toolkit: fields that run into each other let a client plant an answer.
    #[tokio::test]
    async fn no_answer_is_found_for_another_combination() {
        let authenticator = Authenticator::new().unwrap();
        let one = authenticator.fingerprint("ab", "c", b"d");
        assert_ne!(one, authenticator.fingerprint("a", "bc", b"d"));
        assert_ne!(one, authenticator.fingerprint("ab", "", b"cd"));
    }

    #[tokio::test]
    async fn a_changed_hash_is_asked_again() {
        let authenticator = Authenticator::new().unwrap();
        let given = header("alice", "wonder:land");
        assert_eq!(authenticator.check(&users(), Some(&given)).await, Verdict::Allowed);
        let changed = BTreeMap::from([("alice".to_owned(), Secret(bcrypt::hash("other", 4).unwrap()))]);
        assert_eq!(authenticator.check(&changed, Some(&given)).await, Verdict::Denied);
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_and_does_not_push_out_who_is_known() {
        let authenticator = Authenticator::new().unwrap();
        let users = users();
        let good = header("alice", "wonder:land");
        assert_eq!(authenticator.check(&users, Some(&good)).await, Verdict::Allowed);
        let guesses: Vec<_> = (0..200).map(|guess| header("alice", &guess.to_string())).collect();
        let mut verdicts = Vec::new();
        for guesses in guesses.chunks(50) {
            let checks = guesses.iter().map(|guess| authenticator.check(&users, Some(guess)));
            verdicts.extend(join_all(checks).await);
        }
        assert!(verdicts.contains(&Verdict::Busy) && !verdicts.contains(&Verdict::Allowed));
        assert_eq!(authenticator.check(&users, Some(&good)).await, Verdict::Allowed);
    }

    async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
        std::future::poll_fn(|context| {
            let mut pending = false;
            for (future, done) in &mut futures {
                if done.is_none() {
                    match future.as_mut().poll(context) {
                        std::task::Poll::Ready(value) => *done = Some(value),
                        std::task::Poll::Pending => pending = true,
                    }
                }
            }
            if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
        })
        .await;
        futures.into_iter().filter_map(|(_, done)| done).collect()
    }
}
