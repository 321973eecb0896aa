//! The closed sets of values that a session's properties take. Each becomes a label value.

use std::fmt::Debug;

/// A closed set of label values. Every value exists as a series from the start.
pub trait Label: Copy + Debug + Eq + 'static {
    /// The label's name in the exposition.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The position in [`Label::ALL`].
    fn index(self) -> usize;
    /// The value as it stands in the exposition and in the ledger.
    fn as_str(self) -> &'static str;
    /// The value with this spelling.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == name)
    }
}

macro_rules! label {
    ($(#[$meta:meta])* $name:ident($label:literal) { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $crate::session::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
            fn index(self) -> usize { self as usize }
            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}
pub(crate) use label;

label! {
    /// What the helper could do. Graph's own spelling is kept.
    #[derive(Default)]
    SessionType("session_type") {
        /// 0: the helper sees the screen.
        ViewOnly = "viewOnly",
        /// 1: the helper controls the device.
        FullControl = "fullControl",
        /// 2: the helper may answer elevation prompts.
        Elevation = "elevation",
        /// Nobody sits at the device. Its number is not published.
        Unattended = "unattended",
        /// A value that we do not know.
        Other = "other",
        /// Not reported.
        #[default]
        Unreported = "unreported",
    }
}

label! {
    /// Whether a participant's device is enrolled in Intune. `unknown` is a value that Graph sends.
    #[derive(Default)]
    EnrollmentState("enrollment_state") {
        /// 0.
        Unknown = "unknown",
        /// 1.
        Enrolled = "enrolled",
        /// 2.
        PendingReset = "pendingReset",
        /// 3.
        Failed = "failed",
        /// 4.
        NotContacted = "notContacted",
        /// 5.
        Blocked = "blocked",
        /// A value that we do not know.
        Other = "other",
        /// Not reported.
        #[default]
        Unreported = "unreported",
    }
}

label! {
    /// The family of a participant's operating system.
    Os("os") {
        /// Windows, any edition.
        Windows = "windows",
        /// macOS.
        MacOs = "macos",
        /// Linux, any distribution.
        Linux = "linux",
        /// Android.
        Android = "android",
        /// iOS and iPadOS.
        Ios = "ios",
        /// ChromeOS.
        ChromeOs = "chromeos",
        /// A name that we do not know.
        Other = "other",
        /// Not reported.
        Unreported = "unreported",
    }
}

label! {
    /// The side of a session.
    Role("role") {
        /// Gives help.
        Helper = "helper",
        /// Shares the screen.
        Sharer = "sharer",
    }
}

impl SessionType {
    /// The type that Graph numbers so.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::ViewOnly,
            1 => Self::FullControl,
            2 => Self::Elevation,
            _ => Self::Other,
        }
    }

    /// The type of this name, number in a string, or display name ("Full control").
    pub fn parse(text: &str) -> Self {
        parse_enum(text, Self::from_number, Self::Other)
    }
}

impl EnrollmentState {
    /// The state that Graph numbers so.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Unknown,
            1 => Self::Enrolled,
            2 => Self::PendingReset,
            3 => Self::Failed,
            4 => Self::NotContacted,
            5 => Self::Blocked,
            _ => Self::Other,
        }
    }

    /// The state of this name, number in a string, or display name ("Pending reset").
    pub fn parse(text: &str) -> Self {
        parse_enum(text, Self::from_number, Self::Other)
    }
}

impl Os {
    /// The family of a system named so, whatever its version or edition.
    pub fn classify(reported: Option<&str>) -> Self {
        const PREFIXES: &[(&str, Os)] = &[
            ("windows", Os::Windows),
            ("macos", Os::MacOs),
            ("mac os", Os::MacOs),
            ("macintosh", Os::MacOs),
            ("os x", Os::MacOs),
            ("darwin", Os::MacOs),
            ("linux", Os::Linux),
            ("ubuntu", Os::Linux),
            ("android", Os::Android),
            ("ios", Os::Ios),
            ("ipados", Os::Ios),
            ("iphone", Os::Ios),
            ("ipad", Os::Ios),
            ("chrome", Os::ChromeOs),
        ];
        let Some(text) = reported else { return Self::Unreported };
        let starts = |prefix: &str| text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        PREFIXES
            .iter()
            .find(|(prefix, _)| starts(prefix) || text.eq_ignore_ascii_case(prefix))
            .map_or(Self::Other, |(_, os)| *os)
    }
}

/// Exact names first, since nearly every value is one; then numbers; then display names, which
/// differ in case, spaces and hyphens only. The two names that are ours and not Graph's
/// (`unreported` and `other`) never come from the wire.
fn parse_enum<L: Label>(text: &str, from_number: fn(i64) -> L, other: L) -> L {
    let ours = |value: &L| matches!(value.as_str(), "other" | "unreported");
    let graphs = || L::ALL.iter().copied().filter(|value| !ours(value));
    if let Some(value) = graphs().find(|value| value.as_str() == text) {
        return value;
    }
    if let Ok(number) = text.parse() {
        return from_number(number);
    }
    let same_letters = |name: &str| {
        let letters = |s: &str| {
            s.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).flat_map(char::to_lowercase).collect::<String>()
        };
        letters(name) == letters(text)
    };
    graphs().find(|value| same_letters(value.as_str())).unwrap_or(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_indexes_its_own_place() {
        fn check<L: Label>() {
            for (place, value) in L::ALL.iter().enumerate() {
                assert_eq!(value.index(), place);
                assert_eq!(L::from_name(value.as_str()), Some(*value));
            }
        }
        check::<SessionType>();
        check::<EnrollmentState>();
        check::<Os>();
        check::<Role>();
    }

    #[test]
    fn enums_are_read_as_name_number_numeric_string_and_display_name() {
        assert_eq!(SessionType::parse("fullControl"), SessionType::FullControl);
        assert_eq!(SessionType::parse("2"), SessionType::Elevation);
        assert_eq!(SessionType::parse("Full control"), SessionType::FullControl);
        assert_eq!(SessionType::parse("view-only"), SessionType::ViewOnly);
        assert_eq!(SessionType::parse("unattended"), SessionType::Unattended);
        assert_eq!(EnrollmentState::parse("PENDINGRESET"), EnrollmentState::PendingReset);
        assert_eq!(EnrollmentState::from_number(5), EnrollmentState::Blocked);
    }

    #[test]
    fn unpublished_values_are_other() {
        assert_eq!(SessionType::from_number(3), SessionType::Other);
        assert_eq!(SessionType::parse("holographic"), SessionType::Other);
        assert_eq!(SessionType::parse("unreported"), SessionType::Other);
        assert_eq!(EnrollmentState::from_number(-1), EnrollmentState::Other);
        assert_eq!(EnrollmentState::parse("quarantined"), EnrollmentState::Other);
    }

    #[test]
    fn systems_are_told_by_their_family() {
        for (text, os) in [
            ("Windows", Os::Windows),
            ("Windows 11 Enterprise 10.0.26100", Os::Windows),
            ("macOS 15.1", Os::MacOs),
            ("Mac OS X", Os::MacOs),
            ("iPadOS", Os::Ios),
            ("Android 15", Os::Android),
            ("Linux (ubuntu)", Os::Linux),
            ("ChromeOS", Os::ChromeOs),
            ("Haiku", Os::Other),
            ("ü", Os::Other),
        ] {
            assert_eq!(Os::classify(Some(text)), os, "{text}");
        }
        assert_eq!(Os::classify(None), Os::Unreported);
    }
}
