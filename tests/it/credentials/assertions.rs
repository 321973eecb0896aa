//! Certificates and federated tokens: both are client assertions.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::lab::*;
use crate::support::stand_ins;

fn certificate(lab: &crate::support::Lab, file: &str, more: &str) -> String {
    format!("{{kind: client_certificate, client_id: {}, certificate_file: {file}{more}}}", client_id(lab))
}

#[test]
fn a_certificate_proves_the_identity_and_its_expiry_is_exposed() {
    let lab = lab();
    let (pem, key) = new_key(&lab, "app");
    tenant(&lab).change_application(|application| {
        application.secrets.clear();
        application.certificates.push(pem.clone());
    });
    let directory = lab.directory.path();
    fs::write(directory.join("app.pem"), format!("{pem}{key}")).unwrap();
    fs::write(directory.join("password"), "s3cr3t-of-the-file\n").unwrap();
    openssl(directory, "pkcs12 -export -in app.crt -inkey app.key -passout file:password -out app.pfx");
    let with_password = ", certificate_password_file: password";
    for (run_number, credential) in
        [certificate(&lab, "app.pem", ""), certificate(&lab, "app.pfx", with_password)].iter().enumerate()
    {
        let output = run(&lab, &mut command(&lab, credential), &["s3cr3t-of-the-file", &key]);
        let scrape = counted(&output);
        let expiry = scrape.value(r#"credential_expiry_timestamp_seconds{tenant="contoso"}"#);
        let days = (expiry - lab.now().timestamp() as f64) / 86_400.0;
        assert!((29.0..30.1).contains(&days), "run {run_number}: {days}");
        let token = scrape.value(r#"token_expiry_timestamp_seconds{tenant="contoso"}"#);
        assert!(token < expiry && token > lab.now().timestamp() as f64);
    }
}

#[test]
fn a_certificate_that_entra_does_not_take_is_told_with_the_remedy() {
    let _stand_ins = stand_ins();
    let lab = lab();
    let (pem, key) = new_key(&lab, "app");
    let file = lab.directory.path().join("app.pem");
    fs::write(&file, format!("{pem}{key}")).unwrap();
    let credential = certificate(&lab, "app.pem", "");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"time=\S+ ", "");
    settings.add_filter(r"used by client: '[\w-]+'", "used by client: 'THUMBPRINT'");
    settings.bind(|| {
        assert_snapshot!(refused(&run(&lab, &mut command(&lab, &credential), &[])), @r#"level=error msg="Poll failed" reason=authentication error="the token endpoint https://localhost:PORT/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token answered 401: invalid_client: AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: 'THUMBPRINT']; Entra does not know the certificate: upload the one in credential.certificate_file to the app registration, and check client_id" tenant=contoso"#);
        fs::write(&file, &pem).unwrap();
        assert_snapshot!(refused(&run(&lab, &mut command(&lab, &credential), &[])), @r#"level=error msg="Poll failed" reason=credential error="credential.certificate_file DIRECTORY/app.pem: holds no private key; add it to the file, beside the certificate" tenant=contoso"#);
        let old = expired_certificate(&key);
        fs::write(&file, format!("{old}{key}")).unwrap();
        let before = tenant(&lab).requests().len();
        assert_snapshot!(refused(&run(&lab, &mut command(&lab, &credential), &[])), @r#"level=error msg="Poll failed" reason=credential error="credential.certificate_file DIRECTORY/app.pem: the certificate expired on 2024-02-01 00:00 UTC; add a new one to the app registration and put it into the file" tenant=contoso"#);
        assert_eq!(tenant(&lab).requests().len(), before, "nothing was asked");
    });
}

fn expired_certificate(key: &str) -> String {
    let key = rcgen::KeyPair::from_pem(key).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2024, 2, 1);
    params.self_signed(&key).unwrap().pem()
}

#[test]
fn a_federated_token_proves_the_identity() {
    let lab = lab();
    let issuer = Issuer::trusted(&lab);
    let token = issuer.token(&lab, &[]);
    let file = lab.directory.path().join("federated");
    fs::write(&file, &token).unwrap();
    let credential = format!("{{kind: workload_identity, client_id: {}, token_file: federated}}", client_id(&lab));
    counted(&run(&lab, &mut command(&lab, &credential), &[&token]));
}

#[test]
fn the_webhooks_variables_stand_in_for_what_the_configuration_leaves_out() {
    let lab = lab();
    let issuer = Issuer::trusted(&lab);
    let file = lab.directory.path().join("azure-identity-token");
    fs::write(&file, issuer.token(&lab, &[])).unwrap();
    let options = tenant(&lab).options().clone();
    let mut command = command(&lab, "{kind: workload_identity}");
    let configuration = lab.directory.path().join("exporter.yaml");
    let text = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, text.replace(&format!("tenant_id: {}, ", options.tenant_id), "")).unwrap();
    command.env("AZURE_CLIENT_ID", &options.client_id).env("AZURE_TENANT_ID", &options.tenant_id);
    command.env("AZURE_FEDERATED_TOKEN_FILE", &file);
    counted(&run(&lab, &mut command, &[]));
}

#[test]
fn a_federated_token_that_entra_does_not_take_is_told_with_the_remedy() {
    let _stand_ins = stand_ins();
    let lab = lab();
    let issuer = Issuer::trusted(&lab);
    let file = lab.directory.path().join("federated");
    let credential = format!("{{kind: workload_identity, client_id: {}, token_file: federated}}", client_id(&lab));
    let told = |others: &[(&str, serde_json::Value)]| {
        let token = issuer.token(&lab, others);
        fs::write(&file, &token).unwrap();
        let line = refused(&run(&lab, &mut command(&lab, &credential), &[&token]));
        line[line.find("answered").unwrap_or_default()..].to_owned()
    };
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME");
    settings.bind(|| {
        assert_snapshot!(told(&[("iss", json!("https://other.example/"))]), @r#"answered 401: invalid_client: AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://other.example/'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion; no federated credential of the application matches the token: compare issuer, subject and audience, letter by letter" tenant=contoso"#);
        assert_snapshot!(told(&[("aud", json!("https://kubernetes.default.svc"))]), @r#"answered 401: invalid_client: AADSTS700212: No matching federated identity record found for presented assertion audience 'https://kubernetes.default.svc'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion; no federated credential of the application matches the token: compare issuer, subject and audience, letter by letter" tenant=contoso"#);
        assert_snapshot!(told(&[("sub", json!("system:serviceaccount:default:default"))]), @r#"answered 401: invalid_client: AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:default:default'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion; no federated credential of the application matches the token: compare issuer, subject and audience, letter by letter" tenant=contoso"#);
        assert_snapshot!(told(&[("exp", json!(lab.now().timestamp() - 5))]), @r#"answered 401: invalid_client: AADSTS700024: Client assertion is not within its valid time range. Current time: TIME, assertion valid from TIME, expiry time of assertion TIME; the assertion is expired or not valid yet: check this machine's clock, and what keeps token_file fresh" tenant=contoso"#);
    });
}
