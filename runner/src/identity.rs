//! Who this run is: its id, and who started it.

use std::env;

use backup_common::record::Trigger;
use rustix::rand::{GetRandomFlags, getrandom};

/// Id and trigger of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// systemd's `INVOCATION_ID`, else 32 random hex digits.
    pub run_id: String,
    /// Who started it.
    pub trigger: Trigger,
}

impl Identity {
    /// Told from the environment that systemd sets (systemd.exec(5)).
    ///
    /// A shell that was started below some service inherits that service's `INVOCATION_ID`;
    /// `SYSTEMD_EXEC_PID` names the one process that it was meant for.
    pub fn of_this_process() -> Self {
        let variable = |name: &str| env::var(name).ok();
        Self::told_by(
            variable("SYSTEMD_EXEC_PID").is_some_and(|pid| pid == std::process::id().to_string()),
            variable("INVOCATION_ID"),
            variable("TRIGGER_UNIT"),
        )
    }

    fn told_by(from_systemd: bool, invocation_id: Option<String>, trigger_unit: Option<String>) -> Self {
        let is_id = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        match invocation_id.filter(is_id).filter(|_| from_systemd) {
            Some(run_id) => {
                let by_timer = trigger_unit.is_some_and(|unit| unit.strip_suffix(".timer").is_some());
                Self { run_id, trigger: if by_timer { Trigger::Timer } else { Trigger::Service } }
            }
            None => Self { run_id: random_id(), trigger: Trigger::Manual },
        }
    }
}

fn random_id() -> String {
    let mut bytes = [0; 16];
    // Up to 256 bytes come whole and without an error once the machine is up (getrandom(2)).
    let _ = getrandom(&mut bytes, GetRandomFlags::empty());
    format!("{:032x}", u128::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_trigger_follows_the_environment() {
        let told = |systemd, id: &str, unit: Option<&str>| {
            Identity::told_by(systemd, Some(id.to_owned()), unit.map(str::to_owned))
        };
        assert_eq!(told(true, ID, Some("backup.timer")).trigger, Trigger::Timer);
        assert_eq!(told(true, ID, None), Identity { run_id: ID.to_owned(), trigger: Trigger::Service });
        assert_eq!(told(false, ID, Some("backup.timer")).trigger, Trigger::Manual);
        assert_ne!(told(false, ID, None).run_id, ID);
        assert_eq!(told(true, "x", None).trigger, Trigger::Manual);
    }

    #[test]
    fn random_ids_have_32_hex_digits() {
        let id = random_id();
        assert_eq!(id.len(), 32);
        assert_ne!(id, random_id());
    }
}
