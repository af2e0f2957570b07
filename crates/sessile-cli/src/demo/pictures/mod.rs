//! The shop's pictures, drawn by code as SVG: flat shapes in one palette, so that the shop ships no image files.
//!
//! Everything is set as attributes: a picture needs no style, no script and no other file, and is the same
//! to the byte each time it is drawn.

mod draw;
mod goods;
mod life;
mod scenes;
mod signs;

/// The picture of that name (a good's slug, or one of the shop's own), as an SVG document.
pub(crate) fn picture(name: &str) -> Option<String> {
    let drawn = match name {
        "barnacle-mug" => goods::barnacle_mug(),
        "coral-lamp" => goods::coral_lamp(),
        "anemone-cushion" => goods::anemone_cushion(),
        "sponge-set" => goods::sponge_set(),
        "oyster-notebook" => goods::oyster_notebook(),
        "mussel-bowl" => goods::mussel_bowl(),
        "sea-lily-print" => goods::sea_lily_print(),
        "kelp-scarf" => goods::kelp_scarf(),
        "sea-floor" => scenes::sea_floor(),
        "empty-shell" => scenes::empty_shell(),
        "mark" => signs::mark(),
        "ada" => signs::ada(),
        "grace" => signs::grace(),
        "computer" => signs::computer(),
        "phone" => signs::phone(),
        "unknown-device" => signs::unknown_device(),
        _ => return None,
    };
    Some(drawn.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::catalogue::GOODS;
    use crate::demo::users::USERS;

    #[test]
    fn every_good_and_every_person_has_a_picture_that_stands_alone() {
        let names = GOODS.iter().map(|good| good.slug).chain(USERS.iter().map(|user| user.id));
        for name in names.chain(["sea-floor", "empty-shell", "mark", "computer", "phone", "unknown-device"]) {
            let svg = picture(name).unwrap_or_else(|| panic!("no picture of {name}"));
            assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{name}");
            assert!(svg.ends_with("</svg>") && svg.len() < 40_000, "{name}: {} bytes", svg.len());
            for forbidden in ["style", "<script", "href", "NaN", "inf"] {
                assert!(!svg.contains(forbidden), "{name} contains {forbidden}");
            }
            assert_eq!(picture(name), Some(svg), "{name} changes");
        }
    }

    /// An XML parser is stricter than an HTML one: every element must be closed, in order.
    #[test]
    fn every_picture_is_well_formed() {
        for name in
            GOODS.iter().map(|good| good.slug).chain(["sea-floor", "empty-shell", "mark", "ada", "grace"])
        {
            let svg = picture(name).unwrap();
            let mut open = Vec::new();
            for tag in svg.split('<').skip(1) {
                let tag = &tag[..tag.find('>').expect("a tag ends")];
                match tag.strip_prefix('/') {
                    Some(closed) => assert_eq!(open.pop(), Some(closed), "{name}"),
                    None => open.push(tag.split_whitespace().next().unwrap()),
                }
            }
            assert!(open.is_empty(), "{name} leaves {open:?} open");
        }
    }

    #[test]
    fn there_is_no_picture_of_anything_else() {
        assert_eq!(picture("../etc/passwd"), None);
        assert_eq!(picture(""), None);
    }
}
