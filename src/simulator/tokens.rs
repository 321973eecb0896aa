//! The tokens that were issued: JSON Web Tokens with the claims of an application's token. To Graph they
//! are opaque texts: the signature is not one.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::draw::digest;
use super::state::TenantState;

/// How many tokens are remembered; the oldest is forgotten first, and refused from then on.
const TOKENS: usize = 4096;
/// The role that reading sessions needs, in the token of an application that has it.
const ROLE: &str = "DeviceManagementConfiguration.Read.All";

/// A token's tenant and validity.
#[derive(Clone)]
pub(super) struct Token {
    /// The tenant that it is for.
    pub tenant: Arc<TenantState>,
    /// From when on it is refused.
    pub expires: DateTime<Utc>,
    /// Its number among all tokens.
    pub serial: u64,
}

/// The tokens that were issued.
#[derive(Default)]
pub(super) struct Tokens {
    by_text: HashMap<String, Token>,
    issued: u64,
}

impl Tokens {
    /// How many tokens were issued.
    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// The texts of those that are remembered.
    pub fn texts(&self) -> Vec<String> {
        self.by_text.keys().cloned().collect()
    }

    /// The token of this text.
    pub fn find(&self, text: &str) -> Option<Token> {
        self.by_text.get(text).cloned()
    }

    /// A token of the tenant's application for a resource.
    pub fn issue(
        &mut self,
        tenant: &Arc<TenantState>,
        resource: &str,
        now: DateTime<Utc>,
        expires: DateTime<Utc>,
    ) -> String {
        let serial = self.issued;
        self.issued += 1;
        let known = &tenant.options;
        let roles: &[&str] = if known.permitted { &[ROLE] } else { &[] };
        let claims = json!({
            "aud": resource,
            "iat": now.timestamp(),
            "nbf": now.timestamp(),
            "exp": expires.timestamp(),
            "appid": known.client_id,
            "tid": known.tenant_id,
            "roles": roles,
        });
        let time = now.timestamp_nanos_opt().unwrap_or_default().to_le_bytes();
        let key = [b"signature".as_slice(), known.tenant_id.as_bytes(), &serial.to_le_bytes(), &time];
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(&json!({"typ": "JWT", "alg": "RS256"}));
        let text = format!("{header}.{}.{}", part(&claims), BASE64_URL_SAFE_NO_PAD.encode(digest(&key)));
        if self.by_text.len() == TOKENS {
            self.by_text.retain(|_, token| token.serial + (TOKENS as u64) / 2 > serial);
        }
        self.by_text.insert(text.clone(), Token { tenant: tenant.clone(), expires, serial });
        text
    }
}
