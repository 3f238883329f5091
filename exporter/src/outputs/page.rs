//! The status page: the state as HTML, for the person without Grafana.
//!
//! Pure: a state, a time and what was asked for go in, one document comes out. It needs nothing from
//! elsewhere, no script, and no attribute `style`, so that [`content_security_policy`] can forbid all of
//! them. maud escapes whatever is put into the document; names and messages come from other machines.

mod chart;
mod hosts;
mod overview;
pub mod query;
pub mod standing;
mod style;
pub mod verdict;
mod words;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};

use crate::state::State;
use query::Query;
use verdict::{Tone, Verdict};

pub use hosts::{LISTED, matching};
pub use style::content_security_policy;

/// Seconds after which the page loads itself again, while nothing runs and while something does.
const REFRESH: (u32, u32) = (60, 15);

/// What a page is made for.
#[derive(Clone, Debug)]
pub struct View {
    /// The time of all ages.
    pub now: Timestamp,
    /// Times are written in this zone.
    pub zone: TimeZone,
    /// What was asked for.
    pub query: Query,
    /// Name of the backup server, for the title.
    pub server: String,
    /// Path of the metrics, relative to the page, such as `./metrics`.
    pub metrics: String,
}

/// The whole document.
pub fn render(state: &State, view: &View) -> String {
    let verdict = Verdict::of(state, view.now);
    let running = state.hosts().any(|(_, host)| host.is_running());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if !view.query.paused {
                    meta http-equiv="refresh" content=(if running { REFRESH.1 } else { REFRESH.0 });
                }
                title { (verdict.tone.title()) " – backups of " (words::name(&view.server)) }
                link rel="icon" href=(style::icon(verdict.tone));
                (style::sheet())
            }
            body {
                a.skip href="#paths" { "Skip to the hosts and paths" }
                header {
                    h1 { "Backups of " (words::name(&view.server)) }
                    p.quiet { "As of " (words::absolute(view.now, &view.zone)) " · " (refresh(view, running)) }
                }
                main {
                    (headline(&verdict))
                    (concerns(&verdict))
                    (overview::running(state, view))
                    (hosts::section(state, view))
                    (overview::schedule(state, view))
                    (overview::growth(state))
                    (overview::snapshots(state, view))
                    (overview::exporter(state, view))
                }
                (footer(view))
            }
        }
    }
    .into_string()
}

fn refresh(view: &View, running: bool) -> Markup {
    let mut other = view.query.clone();
    other.paused = !view.query.paused;
    html! {
        @if view.query.paused {
            "This page stays as it is. " a href=(other.link()) { "Refresh it by itself" }
        } @else {
            "Loads again every " (if running { REFRESH.1 } else { REFRESH.0 }) " s. "
            a href=(other.link()) { "Stop that" }
        }
    }
}

fn headline(verdict: &Verdict) -> Markup {
    html! {
        section.verdict.(verdict.tone.class()) aria-labelledby="verdict" {
            h2 #verdict {
                span.mark aria-hidden="true" { (verdict.tone.mark()) }
                span { (verdict.headline) }
            }
            @match verdict.concerns.len() {
                0 => {},
                1 => p { "One more thing needs attention, see below." },
                more => p { (more) " more things need attention, see below." },
            }
        }
    }
}

fn concerns(verdict: &Verdict) -> Markup {
    html! {
        @if !verdict.concerns.is_empty() {
            section aria-labelledby="concerns" {
                h2 #concerns { "Needs attention" }
                ul.concerns {
                    @for concern in &verdict.concerns {
                        li.(concern.tone.class()) {
                            strong { (concern.tone.title()) ": " } (concern.text)
                            @for message in concern.messages.iter() { " " code { (words::name(message)) } }
                            @if !concern.remedy.is_empty() { " " span.remedy { (concern.remedy) } }
                        }
                    }
                }
            }
        }
    }
}

fn footer(view: &View) -> Markup {
    html! {
        footer {
            nav aria-label="Other views" {
                a href=(view.metrics) { "Metrics for Prometheus" }
                " · " a href="./api/v1/status" { "This page as JSON" }
                " · " a href="./-/ready" { "Ready?" }
            }
            p.quiet {
                "backup-exporter " (env!("CARGO_PKG_VERSION")) ". What the states mean: " code { "docs/states.md" }
                "; notices: " code { "docs/notices.md" } "; schedule: " code { "docs/schedule.md" }
                "; sizes: " code { "docs/sizes.md" } "; this page: " code { "docs/web.md" } "."
            }
        }
    }
}

impl Tone {
    /// In a word.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Good => "Good",
            Self::Unknown => "Unknown",
            Self::Warning => "Warning",
            Self::Bad => "Problem",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Unknown => "?",
            Self::Warning => "!",
            Self::Bad => "✗",
        }
    }
}
