//! The batcher as it is.

mod store;
pub mod scenarios {
    include!("../scenarios.rs");
}
