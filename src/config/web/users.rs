//! `basic_auth_users`: names and hashed passwords.

use std::sync::Arc;

use crate::config::rules::Checked;

/// The lowest cost that bcrypt has.
pub const MIN_COST: u32 = 4;
/// The highest cost that is taken: about a second of a core for each password that is not yet known to be
/// right or wrong. Each step doubles it, and a scraper waits ten seconds.
pub const MAX_COST: u32 = 14;
/// The forms of bcrypt that are right; `2x` marks hashes that a defect has made.
const PREFIXES: &[&str] = &["$2a$", "$2b$", "$2y$"];
/// `$2b$10$`, then 22 characters of salt and 31 of hash, in bcrypt's own base64.
const HASH_LENGTH: usize = 60;
/// Far longer than any name; it is sent with every request.
const MAX_NAME_BYTES: usize = 256;

/// One of `basic_auth_users`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The name, without a colon or control characters.
    pub name: Arc<str>,
    /// The hashed password.
    pub hash: PasswordHash,
}

/// A bcrypt hash, well formed. `Debug` does not show it.
#[derive(Clone, PartialEq)]
pub struct PasswordHash {
    text: Arc<str>,
    cost: u32,
}

impl PasswordHash {
    /// The hash as bcrypt writes it. A secret.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The binary logarithm of bcrypt's rounds, within [`MIN_COST`] and [`MAX_COST`].
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// The rule.
    pub(super) fn parse(text: &str) -> Checked<Self> {
        const REMEDY: &str = "hash the password, such as by htpasswd -nBC 10 NAME";
        if text.starts_with("$2x$") {
            return Err(format!("a hash of the form 2x, which a defect has made; {REMEDY}"));
        }
        if !PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(format!("not a bcrypt hash ($2a$, $2b$ or $2y$); {REMEDY}"));
        }
        let cost = text.get(4..6).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let cost = cost.and_then(|digits| digits.parse().ok());
        let (Some(cost), Ok(_)) = (cost, text.parse::<bcrypt::HashParts>()) else {
            return Err(format!("a damaged bcrypt hash, which has {HASH_LENGTH} characters; {REMEDY}"));
        };
        if cost < MIN_COST {
            return Err(format!("a bcrypt hash of cost {cost}, which bcrypt has not; {REMEDY}"));
        }
        if cost > MAX_COST {
            return Err(format!(
                "a bcrypt hash of cost {cost}, which takes seconds for each new password; take {MAX_COST} at most: {REMEDY}"
            ));
        }
        Ok(Self { text: Arc::from(text), cost })
    }
}

/// The rule for names: what basic authentication can carry (RFC 7617).
pub(super) fn name(text: &str) -> Checked<()> {
    if text.contains(':') {
        Err("a name has a colon, which basic authentication cannot send; choose another".to_owned())
    } else if text.chars().any(char::is_control) {
        Err("a name has control characters, which basic authentication cannot send; remove them".to_owned())
    } else if text.len() > MAX_NAME_BYTES {
        Err(format!("a name is longer than {MAX_NAME_BYTES} bytes; shorten it"))
    } else {
        Ok(())
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hash>")
    }
}
