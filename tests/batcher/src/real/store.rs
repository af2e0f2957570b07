//! What stands beside the batcher in the library.

pub(crate) mod ground {
    include!("../ground.rs");
}
#[path = "../../../../crates/sessile/src/store/group/mod.rs"]
pub(crate) mod group;
#[path = "../../../../crates/sessile/src/store/line.rs"]
mod line;
