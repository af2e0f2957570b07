//! Store URLs, read without any server: what is shown of one never has a piece of its password.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use proptest::prelude::*;
use sessile::store::StoreUrl;

const SCHEMES: [&str; 16] = [
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "redis",
    "rediss",
    "redis-cluster",
    "rediss-cluster",
    "sqlite",
    "memory",
    "psql",
    "pgsql",
    "Postgres",
    "postgresql+asyncpg",
    "jdbc:postgresql",
    "",
];

/// With the password in the place of `@@`, as it is typed by somebody who encodes nothing.
const SHAPES: [&str; 12] = [
    "SCHEME://ada:@@@db.example:5432/shop?table=web",
    "SCHEME://ada:@@@db.example/shop",
    "SCHEME://:@@@db.example",
    "SCHEME://:@@@db.example/2?prefix=web",
    "SCHEME://ada:@@@a,b:1",
    "SCHEME:ada:@@@db.example/shop",
    "SCHEME:/ada:@@@db.example/shop",
    "SCHEME//ada:@@@db.example/shop",
    "SCHEME://ada@db.example/shop?password=@@&table=web",
    "SCHEME://db.example/shop?user=ada&password=@@",
    "SCHEME://db.example/shop?table=web&passwd=@@&user=ada",
    "SCHEME://ada:@@@db.example/shop?tabel=web",
];

/// What a user is shown: the URL, or why it is none.
fn shown(url: &str) -> String {
    match url.parse::<StoreUrl>() {
        Ok(url) => format!("{url}\n{url:?}"),
        Err(error) => format!("{error}\n{error:?}"),
    }
}

/// The pieces of three characters of the password that the rest of the URL does not have. Those without a letter or a
/// digit may stand in any message.
fn pieces<'a>(password: &'a [char], rest: &'a str) -> impl Iterator<Item = String> + 'a {
    let pieces = password.windows(3).map(|piece| piece.iter().collect::<String>());
    pieces.filter(move |piece| piece.contains(char::is_alphanumeric) && !rest.contains(piece))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// [S14]
    #[test]
    fn no_piece_of_a_password_is_shown(
        password in prop::collection::vec(prop::sample::select("@@//??##&&::=%+,;.!ZQXJ79zqj".chars().collect::<Vec<_>>()), 3..14),
        scheme in prop::sample::select(&SCHEMES[..]),
        shape in prop::sample::select(&SHAPES[..]),
    ) {
        let text: String = password.iter().collect();
        let shape = shape.replace("SCHEME", scheme);
        let url = shape.replacen("@@", &text, 1);
        let shown = shown(&url);
        for piece in pieces(&password, &shape.replacen("@@", " ", 1)) {
            prop_assert!(!shown.contains(&piece), "{piece:?} of {url}: {shown}");
        }
    }
}

/// [S14] Passwords as people have them.
#[test]
fn typed_passwords_are_not_shown() {
    for url in [
        "postgres://ada:P@ssw0rd/x@db.example/shop",
        "postgres://ada:P@ssw0rd?x@db.example/shop",
        "mysql://ada:P@ssw0rd/x@db.example/shop",
        "redis://:P@ssw0rd/1@cache.example",
        "redis-cluster://ada:P@ssw0rd/1@a,b",
        "postgres://ada@db.example/shop?password=Tr0ub4dor&ssw0rd",
        "postgres://db.example/shop?user=ada&password=Tr0&ssw0rd&table=t",
        "psql://db.example/shop?password=Passw0rd",
        "pgsql://db.example/shop?password=Passw0rd&user=ada",
        "sqlite:ada:P@ssw0rd@db.example/shop",
        "P@ssw0rd",
        "ssw0rd@db.example",
    ] {
        let shown = shown(url);
        assert!(!shown.contains("w0rd"), "{url}: {shown}");
    }
}
