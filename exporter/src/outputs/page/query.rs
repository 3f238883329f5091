//! What the address of the page asks for, and addresses that ask for something else.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::standing::Standing;

/// Longest text of a filter, in bytes.
const TEXT_BYTES: usize = 200;

/// What is shown of the paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only hosts with this in their name.
    pub host: String,
    /// Only paths with this in it.
    pub path: String,
    /// Only these.
    pub state: Option<Filter>,
    /// Which part of the list, from 0.
    pub page: usize,
    /// The page does not load itself again.
    pub paused: bool,
}

/// A choice of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All that is not well.
    Problems,
    /// Under way.
    Running,
    /// One standing.
    Is(Standing),
}

impl Filter {
    /// Every filter, in the order of the form.
    pub const ALL: [Self; 8] = [
        Self::Problems,
        Self::Running,
        Self::Is(Standing::Failed),
        Self::Is(Standing::Late),
        Self::Is(Standing::Never),
        Self::Is(Standing::Warning),
        Self::Is(Standing::Skipped),
        Self::Is(Standing::Good),
    ];

    /// The value in the address.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Problems => "problems",
            Self::Running => "running",
            Self::Is(standing) => standing.name(),
        }
    }

    /// The words in the form.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Problems => "Not well",
            Self::Running => "Running",
            Self::Is(standing) => standing.words(),
        }
    }
}

impl Query {
    /// Reads the part of an address behind the question mark; what is not known there is passed over.
    pub fn parse(raw: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in raw.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decode(value);
            match name {
                "host" => query.host = value,
                "path" => query.path = value,
                "state" => query.state = Filter::ALL.into_iter().find(|filter| filter.name() == value),
                "page" => query.page = value.parse().unwrap_or(0),
                "refresh" => query.paused = value == "off",
                _ => {}
            }
        }
        query
    }

    /// An address, relative to the page, that asks for this.
    pub fn link(&self) -> String {
        let mut link = "?".to_owned();
        let mut add = |name: &str, value: &str| {
            let sign = if link.len() > 1 { "&" } else { "" };
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            // Writing into a String has no way to fail.
            let _ = write!(link, "{sign}{name}={value}");
        };
        if !self.host.is_empty() {
            add("host", &self.host);
        }
        if !self.path.is_empty() {
            add("path", &self.path);
        }
        if let Some(state) = self.state {
            add("state", state.name());
        }
        if self.page > 0 {
            add("page", &self.page.to_string());
        }
        if self.paused {
            add("refresh", "off");
        }
        link
    }

    /// Whether not all paths are asked for.
    pub fn filters(&self) -> bool {
        !self.host.is_empty() || !self.path.is_empty() || self.state.is_some()
    }
}

/// As a form writes it: `+` is a space.
fn decode(value: &str) -> String {
    let spaced = value.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8_lossy();
    backup_common::text::clean(text.trim(), TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_a_form_sends() {
        let query = Query::parse("host=web+1&path=%2Fsrv%26x&state=failed&page=2&refresh=off&other=1&page");
        assert_eq!((query.host.as_str(), query.path.as_str()), ("web 1", "/srv&x"));
        assert_eq!((query.state, query.page, query.paused), (Some(Filter::Is(Standing::Failed)), 2, true));
        assert_eq!(Query::parse("page=-1&state=odd&host="), Query::default());
    }

    proptest! {
        #[test]
        fn a_link_asks_for_the_same(raw: String) {
            let query = Query::parse(&raw);
            prop_assert_eq!(Query::parse(&query.link()[1..]), query);
        }

        #[test]
        fn texts_come_back(host in "[a-zé0-9 &=%+<>/.#?]{0,40}", path in "[a-zé0-9 &=%+<>/.#?]{0,40}") {
            let query = Query { host: host.trim().to_owned(), path: path.trim().to_owned(), ..Query::default() };
            prop_assert_eq!(Query::parse(&query.link()[1..]), query);
        }
    }
}
