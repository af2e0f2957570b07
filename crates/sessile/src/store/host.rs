//! Hosts in store URLs.

use super::percent::decoded;

/// `host`, `host:port` or `[::1]:port`, percent-decoded; what is not said is empty or this port.
///
/// # Errors
/// What is wrong, without the text: what is no port may be a password in the wrong place.
pub(super) fn host_and_port(text: &str, port: u16) -> Result<(String, u16), &'static str> {
    let (host, said) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, said)| (host, Some(said))),
    };
    let port = match said.filter(|said| !said.is_empty()) {
        Some(said) => said.parse().map_err(|_| "the port is no number up to 65535")?,
        None => port,
    };
    Ok((decoded(host).ok_or("the host is not UTF-8")?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_names_numbers_and_ports() {
        for (text, host, port) in [
            ("db.example", "db.example", 7),
            ("db.example:8", "db.example", 8),
            ("db.example:", "db.example", 7),
            ("[::1]", "::1", 7),
            ("[::1]:8", "::1", 8),
            ("a%2Db:8", "a-b", 8),
            (":8", "", 8),
            ("", "", 7),
        ] {
            assert_eq!(host_and_port(text, 7), Ok((host.to_owned(), port)), "{text}");
        }
        for wrong in ["h:70000", "h:hunter2", "%FF"] {
            let problem = host_and_port(wrong, 7).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
