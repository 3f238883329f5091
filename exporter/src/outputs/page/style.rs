//! The style sheet inside the page, and the policy that lets nothing else in.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use super::verdict::Tone;

/// It holds no `<`, so it stands in the page as it is.
const SHEET: &str = include_str!("style.css");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, SHEET.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

/// The value of `Content-Security-Policy`: this one style sheet by its hash, the icon in the page, a form
/// that asks here, and nothing else.
pub fn content_security_policy() -> &'static str {
    &POLICY
}

pub(super) fn sheet() -> Markup {
    html! { style { (PreEscaped(SHEET)) } }
}

/// The icon of the tab: how things are, in colour and form.
pub(super) const fn icon(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => concat!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E",
            "%3Ccircle cx='8' cy='8' r='8' fill='%23187a2f'/%3E",
            "%3Cpath d='M4 8l3 3 5-6' fill='none' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E"
        ),
        Tone::Unknown => concat!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E",
            "%3Ccircle cx='8' cy='8' r='7' fill='%23fff' stroke='%23666' stroke-width='2'/%3E%3C/svg%3E"
        ),
        Tone::Warning => concat!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E",
            "%3Cpath d='M8 0l8 15H0z' fill='%23d97706'/%3E",
            "%3Cpath d='M8 5v5m0 2v1' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E"
        ),
        Tone::Bad => concat!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E",
            "%3Cpath d='M0 0h16v16H0z' fill='%23c01c28'/%3E",
            "%3Cpath d='M4 4l8 8m0-8l-8 8' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_can_stand_in_the_page() {
        assert!(!SHEET.contains('<') && !SHEET.contains("url(") && !SHEET.contains("@import"));
        assert!(content_security_policy().starts_with("default-src 'none'; style-src 'sha256-"));
    }
}
