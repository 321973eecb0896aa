//! The block `credential`.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Kind, Place, kind, line};
use crate::config::environment::{CLIENT_ID, FEDERATED_TOKEN_FILE, place as variable_place};
use crate::config::raw::Key;
use crate::config::rules::Checked;
use crate::config::{Around, Credential, Error, Secret, files, raw, rules};

const CREDENTIALS: &[Kind] = &[
    Kind { name: "client_secret", keys: &["client_id", "client_secret", "client_secret_file"] },
    Kind { name: "client_certificate", keys: &["client_id", "certificate_file", "certificate_password_file"] },
    Kind { name: "workload_identity", keys: &["client_id", "token_file"] },
    Kind { name: "managed_identity", keys: &["client_id"] },
    Kind { name: "azure_cli", keys: &[] },
    Kind { name: "bearer_token_file", keys: &["token_file"] },
    Kind { name: "none", keys: &[] },
];

/// The rules of `credential`.
pub(in crate::config) fn credential(
    raw: &raw::Credential,
    place: &Place,
    around: &Around<'_>,
) -> Result<Credential, Error> {
    let given = [
        ("client_id", line(&raw.client_id)),
        ("client_secret", line(&raw.client_secret)),
        ("client_secret_file", line(&raw.client_secret_file)),
        ("certificate_file", line(&raw.certificate_file)),
        ("certificate_password_file", line(&raw.certificate_password_file)),
        ("token_file", line(&raw.token_file)),
    ];
    let client_id = || place.required("client_id", &raw.client_id, |id| rules::client_id(id));
    let secret = |name: &String| files::secret(name, around.base);
    match kind(CREDENTIALS, &raw.kind, &given, place)? {
        "client_secret" => {
            Ok(Credential::ClientSecret { client_id: client_id()?, secret: client_secret(raw, place, around)? })
        }
        "client_certificate" => Ok(Credential::ClientCertificate {
            client_id: client_id()?,
            certificate_file: place
                .required("certificate_file", &raw.certificate_file, |name| files::key_pair(name, around.base))?,
            password: place
                .optional("certificate_password_file", &raw.certificate_password_file, secret)?
                .map(Secret::File),
        }),
        "workload_identity" => workload_identity(raw, place, around),
        "managed_identity" => Ok(Credential::ManagedIdentity {
            client_id: place.optional("client_id", &raw.client_id, |id| rules::client_id(id))?,
        }),
        "azure_cli" => Ok(Credential::AzureCli),
        "bearer_token_file" => {
            Ok(Credential::BearerTokenFile { token_file: place.required("token_file", &raw.token_file, secret)? })
        }
        _ => Ok(Credential::None),
    }
}

fn client_secret(raw: &raw::Credential, place: &Place, around: &Around<'_>) -> Result<Secret, Error> {
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
            place.child("client_secret_file", file).check(files::secret(&file.value, around.base)).map(Secret::File)
        }
    }
}

/// What is not given comes from the variables that Azure's webhook sets in a pod.
fn workload_identity(raw: &raw::Credential, place: &Place, around: &Around<'_>) -> Result<Credential, Error> {
    let client_id = |id: &String| rules::client_id(id);
    let token_file = |name: &String| files::secret(name, around.base);
    Ok(Credential::WorkloadIdentity {
        client_id: given_or_set(("client_id", &raw.client_id), CLIENT_ID, client_id, place, around)?,
        token_file: given_or_set::<PathBuf>(
            ("token_file", &raw.token_file),
            FEDERATED_TOKEN_FILE,
            token_file,
            place,
            around,
        )?,
    })
}

fn given_or_set<T>(
    (name, key): (&str, &Key<String>),
    variable: &str,
    rule: impl Fn(&String) -> Checked<T>,
    place: &Place,
    around: &Around<'_>,
) -> Result<T, Error> {
    if let Some(value) = place.optional(name, key, &rule)? {
        return Ok(value);
    }
    match around.variable(variable) {
        Some(value) => variable_place(variable).check(rule(&value)),
        None => Err(place.missing(name, &format!("add it, or set the variable {variable}"))),
    }
}
