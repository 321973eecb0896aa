//! The web configuration file, looked at as `serve` does at its start.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::{Failure, web_file};
use super::{Verdict, json, table};
use crate::clock;
use crate::config::{ClientAuth, WebConfig};
use crate::status::certificate_ends;

/// What was found in it.
pub(super) struct Web {
    file: PathBuf,
    config: WebConfig,
    certificate_expires: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

impl Web {
    /// Reads it.
    ///
    /// # Errors
    /// Why `serve` would not start with it.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let (config, certificate_expires) = web_file::examine(file)?;
        Ok(Self { file: file.to_owned(), config, certificate_expires, now: clock::now() })
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.warning().is_some() { Verdict::Warning } else { Verdict::Fine }
    }

    fn warning(&self) -> Option<String> {
        const REMEDY: &str = "renew it and replace what cert_file and key_file of tls_server_config name";
        match self.certificate_expires {
            Some(end) if end <= self.now => Some(format!("the server's certificate has expired; {REMEDY}")),
            Some(end) if certificate_ends(end, self.now) => {
                let days = (end - self.now).num_days();
                Some(format!("the server's certificate expires within {} days; {REMEDY}", days + 1))
            }
            _ if self.config == WebConfig::default() => Some(
                "empty: plain HTTP, and everybody may read; configure TLS and users, or leave the flag out".to_owned(),
            ),
            _ => None,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<_> = self.warning().map(|warning| ("warning", warning)).into_iter().collect();
        lines.push(("file", self.file.display().to_string()));
        let tls = self.config.tls.as_ref();
        lines.push(("TLS", if tls.is_some() { "yes" } else { "no: what is sent can be read on its way" }.to_owned()));
        if let Some(end) = self.certificate_expires {
            lines.push(("certificate", format!("expires {}", end.format("%Y-%m-%d %H:%M:%S UTC"))));
        }
        lines.push(("clients", self.clients()));
        table::block("web configuration", self.verdict(), &lines)
    }

    /// What clients have to show.
    fn clients(&self) -> String {
        let certificate = match self.config.tls.as_ref().map(|tls| tls.client_auth).unwrap_or_default() {
            ClientAuth::RequireAndVerify => Some("a certificate of client_ca_file".to_owned()),
            ClientAuth::RequireAny => Some("any certificate".to_owned()),
            ClientAuth::None | ClientAuth::Request | ClientAuth::VerifyIfGiven => None,
        };
        let password = match self.config.users.len() {
            0 => None,
            1 => Some("the password of 1 user".to_owned()),
            users => Some(format!("the password of one of {users} users")),
        };
        let shown: Vec<_> = certificate.into_iter().chain(password).collect();
        if shown.is_empty() { "everybody may read".to_owned() } else { format!("show {}", shown.join(" and ")) }
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        json!({
            "file": self.file.display().to_string(),
            "status": self.verdict().as_str(),
            "message": self.warning(),
            "tls": self.config.tls.is_some(),
            "client_certificates": self.config.tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::RequireAndVerify),
            "users": self.config.users.len(),
            "certificate_expires": self.certificate_expires.map(json::time),
        })
    }
}
