//! Names that become directories, arguments and labels: checked once, when they are read.

use std::fmt;

use crate::text;

/// A host as the configuration names it: also its directory below `backup_base` and its label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// Letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`, at most 255 bytes (`NAME_MAX`).
    pub fn new(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() || name.len() > 255 {
            return Err("a host's name has 1 to 255 bytes");
        }
        if name.starts_with(['.', '-']) {
            return Err("a host's name can not begin with . or -");
        }
        if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            return Err(
                "a host's name has letters, digits, . _ and - only, because it names a directory too",
            );
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// Checks the name of a network host or an address, as ssh takes it.
///
/// The rule is stricter than any resolver so that the name can never be an option or shell text.
pub fn check_network_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() || host.len() > 253 {
        return Err("a host name has 1 to 253 characters");
    }
    if host.starts_with('-') {
        return Err("a host name can not begin with -, because ssh would take it for an option");
    }
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '%')) {
        return Err("a host name has letters, digits and . _ - : % only");
    }
    Ok(())
}

/// Checks a user name for ssh.
pub fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() {
        return Err("the user before @ is empty");
    }
    if user.starts_with('-') {
        return Err("a user name can not begin with -, because ssh would take it for an option");
    }
    // A backslash or an @ stands in directory accounts such as DOMAIN\user.
    if !user.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '\\' | '@' | '$')) {
        return Err("a user name has letters, digits and . _ - + \\ @ $ only");
    }
    Ok(())
}

/// Checks the absolute path of a source directory.
pub fn check_source_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("a path must be absolute: begin it with /");
    }
    if path.chars().any(text::is_unsafe) {
        return Err("a path can not hold control characters");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("a path can not hold ..");
    }
    Ok(())
}

/// Checks a directory below another one and returns its parts.
pub fn relative_parts(path: &str) -> Result<Vec<&str>, &'static str> {
    if path.starts_with('/') {
        return Err("must be relative: it stands below the host's directory");
    }
    if path.chars().any(text::is_unsafe) {
        return Err("can not hold control characters");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("can not hold ..");
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err("has a part longer than 255 bytes");
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn host_names() {
        for good in ["server1", "web-01.example.com", "büro", "a_b"] {
            assert!(HostName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-o", ".snapshots", "a/b", "a b", "a\nb", "..", "a:b", &"x".repeat(256)] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn network_names() {
        for good in ["server2.local", "192.0.2.1", "fe80::1%eth0"] {
            assert!(check_network_host(good).is_ok(), "{good}");
        }
        for bad in ["-oProxyCommand=x", "a;b", "", "a b", "$(id)", "a\0"] {
            assert!(check_network_host(bad).is_err(), "{bad}");
        }
        assert!(check_user("backup").is_ok());
        assert!(check_user("-x").is_err());
        assert!(check_user("a b").is_err());
    }

    #[test]
    fn relative_directories() {
        assert_eq!(relative_parts("var//www/./html/"), Ok(vec!["var", "www", "html"]));
        assert!(relative_parts("../x").is_err());
        assert!(relative_parts("/x").is_err());
        assert!(relative_parts("a\0b").is_err());
        assert_eq!(relative_parts(""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_safe_path_component(name: String) {
            if HostName::new(&name).is_ok() {
                prop_assert!(!name.contains('/') && !name.starts_with('.') && !name.starts_with('-'));
                prop_assert_eq!(text::clean(&name, 1000), name);
            }
        }
    }
}
