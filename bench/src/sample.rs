//! The data every subject stores, those of the workspace `peers` too: about 1 KiB of JSON.

use serde_json::{Map, Value, json};

/// The data of session `i`.
pub fn data(i: u64) -> Map<String, Value> {
    let item = |k: u64| {
        json!({
            "sku": format!("SKU-{:06}", (i * 8 + k) % 1_000_000),
            "qty": k + 1,
            "price_cents": 1299 + k,
            "title": format!("An item with a plain title, number {k}"),
        })
    };
    let data = json!({
        "user": format!("user-{i:06}"),
        "user_id": i,
        "n": 0,
        "csrf": "6f1ed002ab5595859014ebf0951522d9c1a0b1f0a1e2d3c4b5a697887766554a",
        "locale": "en-GB",
        "theme": "dark",
        "roles": ["editor", "reviewer"],
        "cart": (0..8).map(item).collect::<Vec<_>>(),
        "return_to": "/account/orders?page=3&sort=date",
    });
    let Value::Object(data) = data else { unreachable!("it is written as an object") };
    data
}
