//! What an error of PostgreSQL means, and what an operator can do about it.

use std::io::ErrorKind;

use sqlx::Error as Sql;

use crate::Error;

const FIX_TLS: &str =
    "see that the server speaks TLS and that sslmode and sslrootcert in the URL fit its certificate";

/// What was to be done, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'attempt> {
    pub(super) server: &'attempt str,
    pub(super) action: &'static str,
    /// True when it may be made although its answer was lost.
    pub(super) writes: bool,
}

/// Why the server says no or nothing, by its code (appendix A of PostgreSQL's manual, "Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Away, or about to go: nothing was made, or that is not known.
    Away { is_known: bool },
    /// Alive, and short of something.
    Short,
    /// No until somebody does this.
    Refused(&'static str),
}

/// What a code means. What a server said is rolled back, but when it says so while it goes down.
pub(super) fn judge_code(code: &str) -> Verdict {
    match code {
        "57P01" | "57P02" => Verdict::Away { is_known: false },
        "57P03" | "57014" | "55P03" | "40001" | "40P01" | "25P03" | "57P05" => {
            Verdict::Away { is_known: true }
        }
        // A standby, or a primary that was set so: a failover may be on its way.
        "25006" => Verdict::Away { is_known: true },
        "28P01" | "28000" => {
            Verdict::Refused("check user and password in the URL, and that pg_hba.conf lets this machine in")
        }
        "3D000" => Verdict::Refused("create the database, or name the one that there is in the URL"),
        "42501" => Verdict::Refused(
            "let the user create and use the schema that is named above: as a superuser, CREATE SCHEMA with that name and AUTHORIZATION for the \
             user",
        ),
        "3F000" | "42P01" => Verdict::Refused(
            "the tables are gone: restore them from a backup, or restart so that they are made anew, empty",
        ),
        _ if code.starts_with("08") => Verdict::Away { is_known: false },
        // Disk full, out of memory, too many connections, and limits that are set.
        _ if code.starts_with("53") => Verdict::Short,
        _ if code.starts_with("58") => Verdict::Short,
        _ => Verdict::Refused("look the code up in appendix A of PostgreSQL's manual"),
    }
}

impl Attempt<'_> {
    pub(super) fn failed(&self, error: &Sql) -> Error {
        match error {
            Sql::Database(said) => {
                let code = said.code().unwrap_or_default();
                self.said(&code, said.message())
            }
            Sql::Tls(reason) => self.refused(reason.to_string(), FIX_TLS),
            Sql::Io(reason) if is_certificate(reason) => self.refused(reason.to_string(), FIX_TLS),
            Sql::Io(reason) if reason.kind() == ErrorKind::ConnectionRefused => {
                self.away(&reason.to_string(), false)
            }
            Sql::Configuration(_) => self.refused(
                // The reason may hold the URL, and with it a password.
                "the URL cannot be read".to_owned(),
                "write it as postgres://user:password@host:5432/database?sslmode=verify-full",
            ),
            // No connection stood: nothing was sent.
            Sql::PoolTimedOut | Sql::PoolClosed => self.away("no connection was to be had in time", false),
            Sql::Io(reason) => self.away(&reason.to_string(), self.writes),
            other => self.away(&other.to_string(), self.writes),
        }
    }

    fn said(&self, code: &str, message: &str) -> Error {
        let reason = format!("{message} (SQLSTATE {code})");
        match judge_code(code) {
            Verdict::Away { is_known } => {
                let reason = match code {
                    "25006" => format!("{reason}: it is a standby or read-only, name the primary"),
                    _ => reason,
                };
                self.away(&reason, self.writes && !is_known)
            }
            Verdict::Short => Error::Throttled {
                server: self.server.to_owned(),
                action: self.action,
                reason: match code {
                    "53100" => format!("{reason}: its disk is full"),
                    "53300" => format!("{reason}: raise max_connections, or start fewer processes"),
                    _ => reason,
                },
                may_have_been_made: false,
            },
            Verdict::Refused(remedy) => self.refused(reason, remedy),
        }
    }

    pub(super) fn away(&self, reason: &str, may_have_been_made: bool) -> Error {
        Error::Unreachable {
            server: self.server.to_owned(),
            action: self.action,
            reason: reason.to_owned(),
            may_have_been_made,
        }
    }

    pub(super) fn refused(&self, reason: String, remedy: &str) -> Error {
        Error::Refused {
            server: self.server.to_owned(),
            action: self.action,
            reason,
            remedy: remedy.to_owned(),
            may_have_been_made: false,
        }
    }
}

/// A certificate that was refused, before anything was sent, comes as a reason inside of one.
fn is_certificate(reason: &std::io::Error) -> bool {
    reason.kind() == ErrorKind::InvalidData && reason.to_string().starts_with("invalid peer certificate")
}

/// Whether the same statement may go well at once: others came between, or a generation was dropped under it. It was rolled
/// back.
pub(super) fn is_passing(error: &Sql) -> bool {
    let code = error.as_database_error().and_then(|said| said.code());
    // 23514: no partition for the row. 42P01, XX000: the partition went while the statement waited for it.
    matches!(
        code.as_deref(),
        Some("40001" | "40P01" | "23514" | "42P01" | "XX000")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        for (code, expected) in [
            ("53100", Verdict::Short),
            ("53300", Verdict::Short),
            ("57P03", Verdict::Away { is_known: true }),
            ("57P01", Verdict::Away { is_known: false }),
            ("08006", Verdict::Away { is_known: false }),
            ("25006", Verdict::Away { is_known: true }),
        ] {
            assert_eq!(judge_code(code), expected, "{code}");
        }
        for code in ["28P01", "3D000", "42501", "42P01", "22000"] {
            assert!(matches!(judge_code(code), Verdict::Refused(_)), "{code}");
        }
    }

    #[test]
    fn what_was_lost_while_writing_may_have_been_made() {
        let attempt = |writes| Attempt {
            server: "PostgreSQL db:5432/orders",
            action: "write",
            writes,
        };
        let broken = || Sql::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(attempt(true).failed(&broken()).may_have_been_made());
        assert!(!attempt(false).failed(&broken()).may_have_been_made());
        assert!(!attempt(true).failed(&Sql::PoolTimedOut).may_have_been_made());
        assert!(attempt(true).said("57P01", "bye").may_have_been_made());
        assert!(!attempt(true).said("53100", "no space left").may_have_been_made());
    }
}
