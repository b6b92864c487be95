//! Label values: closed sets, each with its place in an array of handles.

use crate::base::error::code;

/// A label with a fixed set of values.
pub(super) trait Label: Copy {
    /// Its place in an array of handles.
    fn index(self) -> usize;
}

/// Makes an enum whose variants are the values of a label.
macro_rules! label {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$what])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The value as it stands in the metric.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl Label for $name {
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a transaction ended for the client.
    TransactionOutcome {
        /// COMMIT was acknowledged, at once or after replays.
        Committed = "committed",
        /// The client rolled back, or left with the transaction open.
        RolledBack = "rolled_back",
        /// A conflict error reached the client.
        Conflict = "conflict",
        /// Another error ended it; nothing was written.
        Failed = "failed",
        /// The answer to COMMIT was lost or says nothing.
        Unknown = "unknown",
    }
}

label! {
    /// A clock that PD's is compared with.
    Clock {
        /// That of txguard's machine.
        Local = "local",
        /// That of the backend that differs most.
        Backend = "backend",
    }
}

label! {
    /// What became of the receipt that a policy wanted.
    ReceiptOutcome {
        /// COMMIT's answer was lost; the receipt says that it has happened.
        Committed = "resolved_committed",
        /// COMMIT's answer was lost; it has not happened and never will.
        NotCommitted = "resolved_not_committed",
        /// COMMIT's answer was lost, and there was no decision within the limit.
        Pending = "pending",
        /// The server refused it; COMMIT was sent without.
        Refused = "refused",
        /// It was written outside of any transaction, and removed.
        Void = "void",
        /// Committed without one: nothing was written, or the right is missing.
        Without = "without",
        /// Written with its transaction, and COMMIT was answered.
        Written = "written",
    }
}

label! {
    /// How a replay ended.
    ReplayOutcome {
        /// Every answer came out equal, and the client noticed nothing.
        Succeeded = "succeeded",
        /// An answer came out different; the client got the original error.
        Mismatch = "mismatch",
        /// Its answers came out equal, and then the request was answered by another error.
        OtherError = "other_error",
        /// It met the next conflict.
        ConflictAgain = "conflict_again",
        /// Attempts or time of the policy are used up; the client got the error.
        Exhausted = "exhausted",
        /// It was not begun, because it would not be safe.
        Refused = "refused",
        /// It was not begun, because replays on the same key keep failing.
        CircuitOpen = "circuit_open",
        /// It was not begun, because the process has used up its retry tokens.
        Throttled = "throttled",
        /// The client left meanwhile.
        ClientGone = "client_gone",
        /// The backend connection ended meanwhile.
        BackendLost = "backend_lost",
        /// `observe_only`: it would have been begun.
        Observed = "observed",
    }
}

label! {
    /// What a resolver said of a transaction.
    Fate {
        /// It has committed.
        Committed = "committed",
        /// It has not, and never will.
        NotCommitted = "not_committed",
        /// That can't be said yet.
        Pending = "pending",
    }
}

label! {
    /// Whose connection it is.
    Side {
        /// From an application.
        Client = "client",
        /// To a database server.
        Backend = "backend",
    }
}

/// The codes that call for a replay, as `base::error` classifies them; any other is `other`.
pub(super) const CODES: [(u16, &str); 7] = [
    (code::CHECKREAD, "1020"),
    (code::DEADLOCK, "1213"),
    (code::FOR_UPDATE_CANT_RETRY, "8002"),
    (code::WRITE_CONFLICT_IN_TIDB, "8005"),
    (code::TXN_RETRYABLE, "8022"),
    (code::INFO_SCHEMA_CHANGED, "8028"),
    (code::WRITE_CONFLICT, "9007"),
];

/// The place of a code in an array of `CODES` and `other`.
pub(super) fn code_index(code: u16) -> usize {
    CODES.iter().position(|(known, _)| *known == code).unwrap_or(CODES.len())
}

/// The label of the code in this place.
pub(super) fn code_label(index: usize) -> &'static str {
    CODES.get(index).map_or("other", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::CommitError;

    #[test]
    fn every_conflict_code_has_its_own_label() {
        for code in 1..=u16::MAX {
            let conflict = CommitError::classify(code) == CommitError::Conflict;
            assert_eq!(conflict, code_index(code) < CODES.len(), "{code}");
            assert!(!conflict || code_label(code_index(code)) == code.to_string());
        }
        assert_eq!(code_label(code_index(1105)), "other");
    }

    #[test]
    fn places_are_those_of_the_array() {
        assert!(ReplayOutcome::ALL.iter().enumerate().all(|(at, value)| value.index() == at));
        assert!(TransactionOutcome::ALL.iter().enumerate().all(|(at, value)| value.index() == at));
    }
}
