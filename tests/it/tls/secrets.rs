//! Key material is in no log line, page or error, whatever is logged.

use std::fs;

use super::client::Client;
use super::lab::{Kind, Site, run};

/// The lines of a key's Base64, and a piece of what they stand for, as a structure would show it.
fn pieces(pem: &str) -> Vec<String> {
    let lines: Vec<_> =
        pem.lines().filter(|line| line.len() > 20 && !line.starts_with('-')).map(str::to_owned).collect();
    assert!(!lines.is_empty());
    let key = rcgen::KeyPair::from_pem(pem).unwrap().serialize_der();
    let bytes = key[40..48].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    lines.into_iter().chain([bytes]).collect()
}

#[test]
fn keys_are_never_shown() {
    let site = Site::new(Kind::Rsa);
    let keys = [fs::read_to_string(site.path("server.key")).unwrap(), site.authority.server(Kind::P384).key];
    let hidden: Vec<_> = keys.iter().flat_map(|key| pieces(key)).collect();
    let check = |text: &str| {
        let shown = hidden.iter().find(|piece| text.contains(*piece));
        assert!(shown.is_none(), "{shown:?} is shown in {text}");
    };
    // As a file and as a text.
    let indented = keys[0].trim_end().replace('\n', "\n      ");
    let certificate = fs::read_to_string(site.path("server.crt")).unwrap().trim_end().replace('\n', "\n      ");
    let inline = format!("tls_server_config:\n  cert: |\n      {certificate}\n  key: |\n      {indented}\n");
    for web in ["tls_server_config: {cert_file: server.crt, key_file: server.key}", &inline] {
        site.write("web.yml", web);
        let mut exporter = crate::support::Exporter::start(
            site.flags().into_iter().chain(["--log.level=trace".to_owned()]).filter(|flag| flag != "--log.level=debug"),
        );
        let client = Client::new(&site.authority.certificate);
        for path in ["/", "/metrics", "/status", "/config"] {
            check(&client.get(exporter.address(), path).unwrap().0.text());
        }
        crate::support::get(exporter.address(), "/metrics").unwrap();
        check(&exporter.stop().join("\n"));
    }
    // A key that does not belong, where a certificate belongs, or broken in the middle.
    site.write("other.key", &keys[1]);
    site.write("broken.key", &keys[0][..keys[0].len() / 2]);
    let program = env!("CARGO_BIN_EXE_remote-assistance-exporter");
    let broken_inline = inline.replacen("\n      -----END PRIVATE", "\n      !-----END PRIVATE", 1);
    for web in [
        "tls_server_config: {cert_file: server.crt, key_file: other.key}",
        "tls_server_config: {cert_file: server.key, key_file: server.key}",
        "tls_server_config: {cert_file: server.crt, key_file: broken.key}",
        &broken_inline,
        &inline.replace("key: |", "kye: |"),
        &inline.replace("  key: |\n", "  key:\n"),
    ] {
        site.write("web.yml", web);
        let flags = site.flags();
        let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
        flags.extend(["--log.level=trace", "--web.listen-address=127.0.0.1:0"]);
        flags.retain(|flag| *flag != "--log.level=debug");
        let (succeeded, said) = run(site.directory.path(), program, &flags);
        assert!(!succeeded && said.contains("tls_server_config"), "{said}");
        check(&said);
    }
}
