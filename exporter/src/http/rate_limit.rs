//! Pure: a token bucket, as `rate_limit` of the web configuration describes it.

use std::time::Instant;

use super::web_config::RateLimit;

/// Holds at most `burst` tokens and gains one each `interval`; a request takes one.
#[derive(Debug)]
pub struct TokenBucket {
    limit: RateLimit,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full one.
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, tokens: f64::from(limit.burst), filled: now }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let gained =
            now.saturating_duration_since(self.filled).as_secs_f64() / self.limit.interval.as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + gained).min(f64::from(self.limit.burst));
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_one_each_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RateLimit { interval: Duration::from_secs(1), burst: 3 }, start);
        let taken = |bucket: &mut TokenBucket, at: f64| bucket.take(start + Duration::from_secs_f64(at));
        assert_eq!(
            [0.0, 0.0, 0.0, 0.0, 0.5].map(|at| taken(&mut bucket, at)),
            [true, true, true, false, false]
        );
        assert_eq!([1.1, 1.2, 2.2].map(|at| taken(&mut bucket, at)), [true, false, true]);
        assert_eq!([99.0; 4].map(|at| taken(&mut bucket, at)), [true, true, true, false]);
    }
}
