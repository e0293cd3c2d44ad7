//! What an error code of the group APIs means to a member.

/// What to do about an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The coordinator is elsewhere, or was not to be reached.
    CoordinatorGone,
    /// Ask the same coordinator again, a little later.
    Later,
    /// The group is forming a new generation.
    Rebalance,
    /// The coordinator does not know the member id: join anew.
    UnknownMember,
    /// The member is known, its generation is over.
    Outdated,
    /// Another process has the static member's name.
    Fenced,
    /// Trying again cannot help.
    Hopeless,
    /// Trying again helps when somebody has mended the cause.
    Alarm,
}

/// Judges an error code of FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup or OffsetCommit.
/// Source: `org.apache.kafka.common.protocol.Errors` and the handlers of Java's `AbstractCoordinator`.
pub(super) const fn verdict(code: i16) -> Verdict {
    match code {
        // Coordinator not available, not coordinator, request timed out, and what a broker answers while it starts
        // or stops.
        7 | 13 | 15 | 16 | 56 | 72 | 129 => Verdict::CoordinatorGone,
        14 => Verdict::Later,
        27 => Verdict::Rebalance,
        25 => Verdict::UnknownMember,
        22 => Verdict::Outdated,
        82 => Verdict::Fenced,
        23 | 24 | 26 | 35 | 42 => Verdict::Hopeless,
        _ => Verdict::Alarm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_judged_as_java_judges_them() {
        for (code, expected) in [
            (7, Verdict::CoordinatorGone),
            (14, Verdict::Later),
            (15, Verdict::CoordinatorGone),
            (16, Verdict::CoordinatorGone),
            (22, Verdict::Outdated),
            (23, Verdict::Hopeless),
            (24, Verdict::Hopeless),
            (25, Verdict::UnknownMember),
            (26, Verdict::Hopeless),
            (27, Verdict::Rebalance),
            (30, Verdict::Alarm),
            (81, Verdict::Alarm),
            (82, Verdict::Fenced),
            (-1, Verdict::Alarm),
        ] {
            assert_eq!(verdict(code), expected, "code {code}");
        }
    }
}
