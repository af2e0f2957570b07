use super::*;

fn options(of: &[(&str, &str)]) -> TlsOptions {
    let mut options = TlsOptions::default();
    for (name, value) in of {
        assert_eq!(options.take(name, value), Ok(true), "{name}");
    }
    options
}

#[test]
fn options_have_the_names_of_libpq_and_of_mysql() {
    let of_libpq = [("sslmode", "verify-full"), ("sslrootcert", "r"), ("sslcert", "c"), ("sslkey", "k")];
    let of_mysql = [("ssl-mode", "VERIFY_IDENTITY"), ("ssl-ca", "r"), ("ssl-cert", "c"), ("ssl-key", "k")];
    let of_urls = [("ssl_mode", "verify_identity"), ("ssl_ca", "r"), ("ssl_cert", "c"), ("ssl_key", "k")];
    assert_eq!(options(&of_libpq), options(&of_mysql));
    assert_eq!(options(&of_libpq), options(&of_urls));
    for (text, mode) in [
        ("disable", SslMode::Disable),
        ("DISABLED", SslMode::Disable),
        ("allow", SslMode::Prefer),
        ("preferred", SslMode::Prefer),
        ("require", SslMode::Require),
        ("REQUIRED", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("VERIFY_CA", SslMode::VerifyCa),
    ] {
        assert_eq!(SslMode::parse(text), Some(mode), "{text}");
    }
    let mut options = TlsOptions::default();
    assert_eq!(options.take("table", "t"), Ok(false));
    assert!(options.take("sslmode", "hunter2").unwrap_err().contains("verify-full"));
    assert!(options.take("ssl-ca", "").is_err());
}

#[test]
fn a_named_root_is_used() {
    for (of, mode) in [
        (&[][..], SslMode::Prefer),
        (&[("ssl-ca", "r")], SslMode::VerifyCa),
        (&[("ssl-ca", "system")], SslMode::VerifyFull),
        (&[("ssl-ca", "r"), ("ssl-mode", "required")], SslMode::VerifyCa),
        (&[("ssl-ca", "r"), ("ssl-mode", "preferred")], SslMode::Prefer),
        (&[("ssl-ca", "system"), ("ssl-mode", "verify_ca")], SslMode::VerifyCa),
    ] {
        assert_eq!(options(of).mode(), mode, "{of:?}");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (of, says) in [
        (&[("ssl-ca", "absent.pem")][..], "the root certificate absent.pem cannot be read"),
        (&[("ssl-ca", empty)], "no root certificate in "),
        (&[("ssl-mode", "required"), ("ssl-cert", empty)], "sslcert (ssl-cert) needs sslkey (ssl-key)"),
        (&[("ssl-mode", "required"), ("ssl-key", empty)], "sslkey (ssl-key) needs sslcert (ssl-cert)"),
        (&[("ssl-mode", "required"), ("ssl-key", empty), ("ssl-cert", empty)], "no certificate in "),
        (
            &[("ssl-mode", "required"), ("ssl-key", "k"), ("ssl-cert", "c")],
            "the certificate c cannot be read",
        ),
    ] {
        let error = options(of).config().unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
