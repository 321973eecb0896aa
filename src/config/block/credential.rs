//! The block `credential`.

use std::path::Path;
use std::sync::Arc;

use super::{Kind, Place, kind, line};
use crate::config::{Credential, Error, Secret, files, raw, rules};

const CREDENTIALS: &[Kind] = &[
    Kind { name: "client_secret", keys: &["client_id", "client_secret", "client_secret_file"], supported: true },
    Kind { name: "bearer_token_file", keys: &["token_file"], supported: true },
    Kind { name: "none", keys: &[], supported: true },
    Kind {
        name: "client_certificate",
        keys: &["client_id", "certificate_file", "certificate_password_file"],
        supported: false,
    },
    Kind { name: "workload_identity", keys: &["client_id", "token_file"], supported: false },
    Kind { name: "managed_identity", keys: &["client_id"], supported: false },
    Kind { name: "azure_cli", keys: &[], supported: false },
];

/// The rules of `credential`.
pub(in crate::config) fn credential(raw: &raw::Credential, place: &Place, base: &Path) -> Result<Credential, Error> {
    let given = [
        ("client_id", line(&raw.client_id)),
        ("client_secret", line(&raw.client_secret)),
        ("client_secret_file", line(&raw.client_secret_file)),
        ("certificate_file", line(&raw.certificate_file)),
        ("certificate_password_file", line(&raw.certificate_password_file)),
        ("token_file", line(&raw.token_file)),
    ];
    match kind(CREDENTIALS, &raw.kind, &given, place)? {
        "client_secret" => Ok(Credential::ClientSecret {
            client_id: place.required("client_id", &raw.client_id, |id| rules::client_id(id))?,
            secret: client_secret(raw, place, base)?,
        }),
        "bearer_token_file" => Ok(Credential::BearerTokenFile {
            token_file: place.required("token_file", &raw.token_file, |name| files::secret(name, base))?,
        }),
        _ => Ok(Credential::None),
    }
}

fn client_secret(raw: &raw::Credential, place: &Place, base: &Path) -> Result<Secret, Error> {
    match (&raw.client_secret, &raw.client_secret_file) {
        (Some(_), Some(file)) => {
            Err(place.child("client_secret_file", file).error("client_secret is given as well; remove one of the two"))
        }
        (None, None) => Err(place.missing("client_secret_file", "name the file that holds the secret")),
        (Some(secret), None) if secret.value.trim().is_empty() => {
            Err(place.child("client_secret", secret).error("empty; give the secret's value"))
        }
        (Some(secret), None) => Ok(Secret::Inline(Arc::from(secret.value.as_str()))),
        (None, Some(file)) => {
            place.child("client_secret_file", file).check(files::secret(&file.value, base)).map(Secret::File)
        }
    }
}
