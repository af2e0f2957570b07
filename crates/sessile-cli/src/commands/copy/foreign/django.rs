//! Django: JSON, deflated where that pays, as base64url, with a time and a signature:
//! `[.]data:time:signature`, as `django.core.signing.dumps` writes it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sessile::SessionData;
use sessile::record::RESERVED_KEY;
use sha2_for_hmac::{Digest as _, Sha256};

use super::{Content, Row, Secret, Unfit, user};

/// `TimestampSigner` appends the word to the salt that `SessionStore` has.
const SALT: &[u8] = b"django.contrib.sessions.SessionStoresigner";

const USER: &str = "_auth_user_id";
/// 0: until the browser is closed.
const EXPIRY: &str = "_session_expiry";

/// Bytes of data that are inflated at most.
const MAX_BYTES: usize = sessile::record::MAX_STORED_BYTES;

pub(super) fn content(row: &Row, keys: &[Secret]) -> Result<Content, Unfit> {
    let malformed = |problem: &str| Unfit::Malformed(problem.to_owned());
    let signed = str::from_utf8(&row.data).map_err(|_| malformed("its data is not UTF-8"))?;
    let (value, signature) = signed.rsplit_once(':').ok_or_else(|| malformed("its data has no signature"))?;
    if !keys.is_empty() && !keys.iter().any(|key| is_signed_with(value, signature, key)) {
        return Err(malformed("its signature is not by this secret key"));
    }
    let (encoded, _) = value.rsplit_once(':').ok_or_else(|| malformed("its data has no time"))?;
    let text = decoded(encoded)?;
    // Escaped or not, nothing may pass for what sessile itself remembers.
    if [RESERVED_KEY, r"\u005f", r"\u005F"].iter().any(|mark| text.contains(mark)) {
        return Err(Unfit::Impossible(format!("its data has the key {RESERVED_KEY}, which is reserved")));
    }
    let data = SessionData::parse(text.as_str().into())
        .map_err(|_| malformed("its data is no JSON object: only Django's JSONSerializer is read"))?;
    let user_id: Option<String> =
        data.get(USER).map_err(|_| Unfit::Impossible(format!("what {USER} holds is no text")))?;
    let ends_with_browser = matches!(data.get::<i64>(EXPIRY), Ok(Some(0)));
    let user = user_id.map(|id| user(&id)).transpose()?;
    Ok(Content { text, user, ends_with_browser })
}

fn decoded(encoded: &str) -> Result<String, Unfit> {
    let malformed = |problem: &str| Unfit::Malformed(problem.to_owned());
    let (encoded, is_deflated) = match encoded.strip_prefix('.') {
        Some(encoded) => (encoded, true),
        None => (encoded, false),
    };
    let mut bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| malformed("its data is no base64url"))?;
    if is_deflated {
        bytes = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&bytes, MAX_BYTES)
            .map_err(|_| malformed("its data cannot be inflated"))?;
    }
    String::from_utf8(bytes).map_err(|_| malformed("its data is not UTF-8"))
}

/// Django's `salted_hmac` with SHA-256.
fn is_signed_with(value: &str, signature: &str, key: &Secret) -> bool {
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    let derived = Sha256::new().chain_update(SALT).chain_update(key.0.as_bytes()).finalize();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&derived) else { return false };
    mac.update(value.as_bytes());
    mac.verify_slice(&signature).is_ok()
}
