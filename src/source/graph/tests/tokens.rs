//! Tokens that the service finds wanting.

use super::*;

#[tokio::test]
async fn a_token_that_is_quoted_and_cut_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let token = "secret-".repeat(200);
    let unauthorized = || answer("401 Unauthorized", &[], &format!(r#"{{"error":{{"message":"bad {token}"}}}}"#));
    let fake = Fake::start(vec![unauthorized(), unauthorized()]).await;
    let mut tenant = report_tenant(&fake);
    tenant.credential = token_file(directory.path(), &token);
    let error = Session::new(&tenant).error().await;
    assert!(error.message.contains("bad <token>…") && !error.message.contains("secret-"), "{error}");
    assert!(error.message.ends_with("belong together, and that whatever writes token_file keeps it fresh"), "{error}");
}

#[tokio::test]
async fn a_permission_that_was_missing_is_looked_for_in_a_new_token() {
    let forbidden = answer("403 Forbidden", &[], "");
    let fake = Fake::start_tls(vec![token("first"), forbidden, token("second"), ok("{}"), ok("{}")]).await;
    let session = Session::new(&with_secret(&fake));
    assert_eq!(session.error().await.reason, FailureReason::Forbidden);
    session.send().await.unwrap();
    session.send().await.unwrap();
    let heard = session.witness.heard();
    assert_eq!(heard.iter().filter(|heard| *heard == "token 200").count(), 2, "{heard:?}");
    assert_eq!(fake.received()[3].header("authorization"), Some("Bearer second"));
}
