//! The user's own ssh options, turned into arguments.
//!
//! They follow the runner's own on the command line, and ssh takes the first value of each option
//! (man page `ssh_config(5)`), so that none of them can undo what keeps the transfer safe.

/// Flags that may be given, with or without a value; all others change what ssh does with the connection.
const FLAGS: &str = "46Cq";
const FLAGS_WITH_VALUE: &str = "BFIJbcimo";

/// Options that would run something or open a door; they are refused although the runner's own come first,
/// because the runner does not set them all.
const REFUSED: &[&str] = &[
    "ControlMaster",
    "ControlPath",
    "ControlPersist",
    "DynamicForward",
    "ForkAfterAuthentication",
    "LocalCommand",
    "LocalForward",
    "RemoteCommand",
    "RemoteForward",
    "RequestTTY",
    "SessionType",
    "StdinNull",
    "Tunnel",
];

/// Turns one entry of `ssh_options` (`-o Name=value`, `Name=value`, `-4`, `-J host`) into arguments.
///
/// # Errors
/// What is wrong with the entry, to be shown behind its key.
pub fn arguments(entry: &str) -> Result<Vec<String>, String> {
    if !entry.starts_with('-') {
        return Ok(vec!["-o".to_owned(), named_option(entry)?]);
    }
    let words = shell_words::split(entry).map_err(|_| "a quote is not closed".to_owned())?;
    let mut arguments = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-') else {
            return Err(format!("{word} is not an option"));
        };
        let letter = flag.chars().next().unwrap_or('-');
        if flag.len() == 1 && FLAGS.contains(letter) {
            arguments.push(word);
        } else if FLAGS_WITH_VALUE.contains(letter) {
            let value = match flag[1..].trim_start() {
                "" => words.next().ok_or_else(|| format!("-{letter} needs a value"))?,
                value => value.to_owned(),
            };
            let value = if letter == 'o' { named_option(&value)? } else { value };
            arguments.extend([format!("-{letter}"), value]);
        } else {
            return Err(format!("{word} is refused: only -4, -6, -C, -J, -o and the like fit a transfer"));
        }
    }
    Ok(arguments)
}

fn named_option(text: &str) -> Result<String, String> {
    let Some((name, value)) = text.split_once(['=', ' ']) else {
        return Err(format!("expected Name=value, found {text}"));
    };
    let name = name.trim();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("expected Name=value, found {text}"));
    }
    if let Some(refused) = REFUSED.iter().find(|refused| refused.eq_ignore_ascii_case(name)) {
        return Err(format!("{refused} is refused: the runner decides what the connection may do"));
    }
    Ok(format!("{name}={}", value.trim_start_matches([' ', '=']).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_usual_forms_are_read() {
        for (entry, expected) in [
            ("UserKnownHostsFile=/k", vec!["-o", "UserKnownHostsFile=/k"]),
            ("ProxyCommand=nc %h %p", vec!["-o", "ProxyCommand=nc %h %p"]),
            ("-o 'ProxyCommand=nc %h %p'", vec!["-o", "ProxyCommand=nc %h %p"]),
            ("-oCompression=yes -4", vec!["-o", "Compression=yes", "-4"]),
            ("-J jump.example.com", vec!["-J", "jump.example.com"]),
        ] {
            assert_eq!(arguments(entry), Ok(expected.into_iter().map(str::to_owned).collect()), "{entry}");
        }
    }

    #[test]
    fn what_opens_a_door_is_refused() {
        for entry in [
            "-A",
            "-R 1:localhost:2",
            "LocalCommand=id",
            "-o remoteforward=1",
            "-N",
            "-t",
            "x",
            "=x",
            "-o",
            "--",
            "'",
        ] {
            assert!(arguments(entry).is_err(), "{entry}");
        }
    }
}
