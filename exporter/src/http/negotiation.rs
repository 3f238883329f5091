//! Which format a client wants, by its `Accept` header (RFC 9110, section 12.5.1).

use crate::outputs::scrape::Format;

/// Picks the format with the highest quality; `OpenMetrics` wins a tie.
///
/// Text is also the answer to no header, to `*/*`, and to wishes that can not be met: a client that
/// sends nonsense is a person with a browser or curl.
pub fn format(accept: Option<&str>) -> Format {
    let accept = accept.unwrap_or("*/*");
    let quality = |wanted: fn(&Range<'_>) -> Option<u8>| {
        // The most exact range that fits decides, not the most generous one.
        let ranges = accept.split(',').map(Range::parse);
        ranges
            .filter_map(|range| Some((wanted(&range)?, range.quality)))
            .max()
            .map_or(0, |(_, quality)| quality)
    };
    let openmetrics = quality(|range| match range.media_type {
        "application/openmetrics-text" => range.is_version("1.0.0").then_some(1),
        _ => None,
    });
    let text = quality(|range| match range.media_type {
        "text/plain" => range.is_version("0.0.4").then_some(3),
        "text/*" => Some(2),
        "*/*" => Some(1),
        _ => None,
    });
    if openmetrics > 0 && openmetrics >= text { Format::OpenMetrics } else { Format::Text }
}

/// Whether the client takes a compressed body, by its `Accept-Encoding` header (section 12.5.3).
pub fn takes_gzip(accept_encoding: Option<&str>) -> bool {
    let ranges = accept_encoding.unwrap_or_default().split(',').map(Range::parse);
    let fitting = ranges.filter_map(|range| match range.media_type.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Some((2, range.quality)),
        "*" => Some((1, range.quality)),
        _ => None,
    });
    fitting.max().is_some_and(|(_, quality)| quality > 0)
}

/// One entry of the header.
struct Range<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    /// In thousandths: the header has at most three decimals.
    quality: u32,
}

impl<'a> Range<'a> {
    fn parse(entry: &'a str) -> Self {
        let mut parts = entry.split(';').map(str::trim);
        let mut range = Self { media_type: parts.next().unwrap_or_default(), version: None, quality: 1000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name {
                "version" => range.version = Some(value.trim_matches('"')),
                "q" | "Q" => range.quality = thousandths(value),
                _ => {}
            }
        }
        range
    }

    /// A range that names no version takes any.
    fn is_version(&self, version: &str) -> bool {
        self.version.is_none_or(|wanted| wanted == version)
    }
}

fn thousandths(quality: &str) -> u32 {
    let quality: f64 = quality.parse().unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1000; NaN gives 0"
    )]
    let thousandths = (quality * 1000.0).round().clamp(0.0, 1000.0) as u32;
    thousandths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_formats_of_real_clients() {
        // Prometheus 2.42 and 3.x.
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            (Some(prometheus_2), Format::OpenMetrics),
            (Some(prometheus_3), Format::OpenMetrics),
            (Some(firefox), Format::Text),
            (Some("*/*"), Format::Text),
            (None, Format::Text),
        ] {
            assert_eq!(format(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn quality_decides() {
        for (accept, expected) in [
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text; version=\"1.0.0\"; q=0.5, text/plain; q=0.4",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0.4,text/*;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.1,*/*", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("application/openmetrics-text;q=nonsense", Format::Text),
            (",;;=,", Format::Text),
        ] {
            assert_eq!(format(Some(accept)), expected, "{accept}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (header, expected) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("gzip, deflate, br, zstd"), true),
            (Some("GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("*"), true),
            (Some("*, gzip;q=0"), false),
            (Some("identity"), false),
            (Some("zstd"), false),
        ] {
            assert_eq!(takes_gzip(header), expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(accept: String) {
            format(Some(&accept));
            takes_gzip(Some(&accept));
        }
    }
}
