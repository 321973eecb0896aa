//! Why a configuration was refused, on one line.

use std::fmt;

/// The file (or `environment`), the line where known, the key, what is wrong and the remedy.
///
/// Never quotes a configured text: any of them may be a secret in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    origin: String,
    line: Option<u64>,
    key: String,
    problem: String,
}

impl Error {
    /// A problem with a key. An empty `key` stands for the whole file; line 0 for an unknown one.
    pub(super) fn new(key: impl Into<String>, line: u64, problem: impl Into<String>) -> Self {
        Self { origin: String::new(), line: (line > 0).then_some(line), key: key.into(), problem: problem.into() }
    }

    /// The same, with the file or other place that the configuration came from.
    pub(super) fn of(self, origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file's name may hold anything, and the error has to stay on one line.
        for character in self.origin.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?
            } else {
                write!(f, "{character}")?
            }
        }
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_line_key_and_problem_stand_on_one_line() {
        let error = Error::new("tenants[2].name", 7, "missing; name the tenant").of("a.yaml");
        assert_eq!(error.to_string(), "a.yaml:7: tenants[2].name: missing; name the tenant");
        let error = Error::new("", 0, "too large; split it").of("a\nb");
        assert_eq!(error.to_string(), "a\\nb: too large; split it");
    }
}
