//! What a browser says it is, cut down to what its owner recognises: `Firefox on Android`.
//!
//! Family and system only, never a version: the label is stored, and a list of one's sessions needs no fingerprint.

use super::pages::sessions::Device;

/// Some say that they are others too, so the more particular ones come first: Edge also says Chrome, Chrome also Safari.
const FAMILIES: [(&str, &str); 12] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
];

/// Android also says Linux, and an iPhone that it is "like Mac OS X".
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

const UNKNOWN: &str = "Unknown device";

/// A label for the device of that `User-Agent`.
pub(super) fn label(user_agent: &str) -> String {
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&FAMILIES), find(&SYSTEMS)) {
        (Some(family), Some(system)) => format!("{family} on {system}"),
        (Some(family), None) => family.to_owned(),
        (None, Some(system)) => format!("A browser on {system}"),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// The label of a session, whoever wrote it, and the kind of device it speaks of.
pub(super) fn of_session(label: Option<String>) -> (String, Device) {
    let label = label.unwrap_or_else(|| UNKNOWN.to_owned());
    let device = match label.rsplit_once(" on ") {
        Some((_, "Android" | "iPhone" | "iPad")) => Device::Phone,
        Some(_) => Device::Computer,
        None => Device::Unknown,
    };
    (label, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [P03]
    #[test]
    fn a_label_names_family_and_system_and_no_version() {
        for (user_agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox on Linux"),
            ("Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0", "Firefox on Android"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("curl/8.14.1", "curl"),
            ("Some thing (Windows)", "A browser on Windows"),
            ("<script>alert(1)</script>", "Unknown device"),
            ("", "Unknown device"),
        ] {
            assert_eq!(label(user_agent), expected, "{user_agent}");
        }
    }

    #[test]
    fn the_kind_of_device_is_read_from_the_label() {
        let kind = |label: &str| of_session(Some(label.to_owned())).1;
        assert_eq!(kind("Chrome on Android"), Device::Phone);
        assert_eq!(kind("Safari on macOS"), Device::Computer);
        assert_eq!(kind("curl"), Device::Unknown);
        assert_eq!(of_session(None), ("Unknown device".to_owned(), Device::Unknown));
    }
}
