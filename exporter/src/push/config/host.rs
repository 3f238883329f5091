//! The key `host`: a name, an address, or the URL that people copy from a browser.

/// What `host` says.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    /// Name or address, without brackets.
    pub host: String,
    /// The port, if there is one.
    pub port: Option<u16>,
    /// TLS, if there is a scheme.
    pub tls: Option<bool>,
}

/// Takes it apart.
///
/// # Errors
/// What is wrong with it.
pub fn split(text: &str) -> Result<Parts, String> {
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(false), rest),
        Some(("https", rest)) => (Some(true), rest),
        Some((scheme, _)) => return Err(format!("the scheme {scheme} is unknown; http and https are known")),
        None => (None, text),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err("a path is no part of a host; the server must be at the root".to_owned());
    }
    if rest.contains('@') {
        return Err("a user is no part of a host; give username and password, or a token".to_owned());
    }
    let is_bare_address = rest.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !is_bare_address && !rest.ends_with(']') => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, Some(port.ok_or("what stands after the colon is no port")?))
        }
        _ => (rest, None),
    };
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
    if host.is_empty() || !(is_address || host.chars().all(is_name)) {
        return Err("expected a name or an address, such as localhost, influx.example.com or ::1".to_owned());
    }
    Ok(Parts { host: host.to_owned(), port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, host, port, tls) in [
            ("localhost", "localhost", None, None),
            ("10.0.0.1", "10.0.0.1", None, None),
            ("::1", "::1", None, None),
            ("[::1]", "::1", None, None),
            ("[::1]:8086", "::1", Some(8086), None),
            ("influx.example.com:443", "influx.example.com", Some(443), None),
            ("http://influx:8086/", "influx", Some(8086), Some(false)),
            ("https://influx.example.com", "influx.example.com", None, Some(true)),
        ] {
            let parts = Parts { host: host.to_owned(), port, tls };
            assert_eq!(split(text), Ok(parts), "{text}");
        }
        for text in
            ["", "a b", "ftp://x", "http://x/influx", "http://u:p@x", "x:0", "x:y", "x\r\nX: y", "http://"]
        {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
