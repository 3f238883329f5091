//! Edge: hands lines to the server and judges its answer.

use std::time::SystemTime;

use backup_common::error_chain::ErrorChain;

use super::answer::{self, Class, Verdict};
use super::api::{Api, RequestError, ServerInfo};
use super::client::{self, Client};
use super::config::InfluxConfig;
use super::payload::Payload;

/// A connection with what is known of the server.
pub struct Courier {
    client: Client,
    api: Api,
    asked: bool,
}

/// What became of some lines.
#[derive(Debug)]
pub struct Outcome {
    /// What to do.
    pub verdict: Verdict,
    /// In words, if they were not all taken.
    pub message: String,
}

impl Courier {
    /// Connects when there is something to send.
    pub fn new(config: InfluxConfig) -> Self {
        Self { client: Client::new(config.server.clone()), api: Api::new(config), asked: false }
    }

    /// Sends lines once. The server is asked what it is before the first, and again after a failure:
    /// behind the same name there may be another one now.
    pub async fn send(&mut self, payload: &Payload) -> Outcome {
        let outcome = match self.try_send(payload).await {
            Ok(outcome) => outcome,
            Err(error) => error,
        };
        if matches!(outcome.verdict, Verdict::Keep(_) | Verdict::Wait(..)) {
            self.asked = false;
        }
        outcome
    }

    async fn try_send(&mut self, payload: &Payload) -> Result<Outcome, Outcome> {
        if !self.asked {
            let request = self.api.ping().map_err(|error| refused(&error))?;
            let answer =
                self.client.send(request, client::SHORT).await.map_err(|error| unanswered(&error))?;
            self.api.learn(ServerInfo::from_ping(&answer));
            self.asked = true;
        }
        let request = self.api.write(payload).map_err(|error| refused(&error))?;
        let answer = self.client.send(request, client::SHORT).await.map_err(|error| unanswered(&error))?;
        let body = String::from_utf8_lossy(&answer.body);
        let verdict = answer::judge(
            answer.status,
            answer.header("retry-after"),
            &body,
            payload.lines(),
            SystemTime::now(),
        );
        let message = match (verdict, answer.header("location")) {
            (Verdict::Done, _) => String::new(),
            (_, Some(location)) if (300..400).contains(&answer.status) => format!(
                "{}: it sends to {}; redirects are not followed, correct host, port and ssl",
                answer.status,
                backup_common::text::clean(location, 200)
            ),
            _ => format!("{}: {}", answer.status, answer.message()),
        };
        Ok(Outcome { verdict, message })
    }
}

fn unanswered(error: &client::ClientError) -> Outcome {
    Outcome { verdict: Verdict::Wait(error.class(), None), message: ErrorChain(error).to_string() }
}

fn refused(error: &RequestError) -> Outcome {
    let class = match error {
        RequestError::Mismatch(_) => Class::Mismatch,
        RequestError::Credential(_) | RequestError::Secret => Class::Unauthorized,
    };
    Outcome { verdict: Verdict::Keep(class), message: ErrorChain(error).to_string() }
}
