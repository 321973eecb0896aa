//! What a token says of itself. Read without checking the signature, which is the service's to do: good
//! for telling people what their application was granted, and for no decision.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::errors::one_line;

/// Roles and scopes that are kept of a token. Graph has some hundreds of each, an application a few.
const MAX_NAMES: usize = 200;

/// The claims of an access token that tell whose it is and what it may do. Absent where the token has no
/// such claim or in another shape. Texts are one line each and of bounded length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `roles`: the application permissions that were granted.
    pub roles: Vec<String>,
    /// `scp`: the delegated permissions, of a person's token.
    pub scopes: Vec<String>,
    /// `appid`: the application.
    pub appid: Option<String>,
    /// `tid`: the tenant.
    pub tid: Option<String>,
    /// `aud`: the service that it is for.
    pub aud: Option<String>,
    /// `exp`: when it expires.
    pub exp: Option<DateTime<Utc>>,
}

impl Claims {
    /// The claims of a JSON Web Token; `None` where the text is none, which a token need not be.
    pub fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
        // Any claim may be of any shape: each is taken for itself.
        let raw: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
        let text = |name| raw.get(name).and_then(Value::as_str).map(one_line).filter(|text| !text.is_empty());
        Some(Self {
            roles: names(raw.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)),
            scopes: names(raw.get("scp").and_then(Value::as_str).unwrap_or_default().split_whitespace()),
            appid: text("appid"),
            tid: text("tid"),
            aud: text("aud"),
            exp: raw.get("exp").and_then(Value::as_i64).and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        })
    }
}

fn names<'a>(found: impl Iterator<Item = &'a str>) -> Vec<String> {
    found.take(MAX_NAMES).map(one_line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(claims: &[u8]) -> String {
        format!("h.{}.s", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    fn claims(claims: Value) -> Claims {
        Claims::of(&token(claims.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn an_applications_token_tells_its_roles() {
        let found = claims(json!({
            "aud": "https://graph.microsoft.com", "appid": "a", "tid": "t", "exp": 1_774_000_000, "iss": "x",
            "roles": ["DeviceManagementConfiguration.Read.All", "User.Read.All"],
        }));
        assert_eq!((found.appid.as_deref(), found.tid.as_deref()), (Some("a"), Some("t")));
        assert_eq!(found.aud.as_deref(), Some("https://graph.microsoft.com"));
        assert_eq!(found.exp, DateTime::from_timestamp(1_774_000_000, 0));
        assert_eq!(found.roles, ["DeviceManagementConfiguration.Read.All", "User.Read.All"]);
        assert_eq!(Claims::of(&format!("{}=", token(b"{}"))), Some(Claims::default()), "padding is tolerated");
    }

    #[test]
    fn a_persons_token_tells_its_scopes() {
        let found = claims(json!({"scp": "User.Read DeviceManagementConfiguration.Read.All"}));
        assert_eq!(found.scopes, ["User.Read", "DeviceManagementConfiguration.Read.All"]);
        assert!(found.roles.is_empty());
    }

    #[test]
    fn odd_claims_are_left_out_and_long_ones_cut() {
        let found = claims(json!({"roles": ["a\r\nb", 5, "x".repeat(5000)], "appid": 7, "tid": "", "exp": "soon"}));
        assert_eq!(found.roles[0], "a b");
        assert!(found.roles[1].chars().count() < 400, "cut");
        assert_eq!((found.appid, found.tid, found.exp), (None, None, None));
        assert_eq!(claims(json!({"roles": vec!["r"; 5000]})).roles.len(), MAX_NAMES);
        assert_eq!(claims(json!({"exp": i64::MAX})).exp, None);
    }

    #[test]
    fn other_texts_have_no_claims() {
        for text in ["", "opaque", "a.b", "a.b.c", "a.b.c.d", &token(b"[]"), &token(b"not json"), "h.%%%.s"] {
            assert_eq!(Claims::of(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC*", claims in proptest::prelude::any::<Vec<u8>>()) {
            let _ = (Claims::of(&text), Claims::of(&token(&claims)));
        }
    }
}
