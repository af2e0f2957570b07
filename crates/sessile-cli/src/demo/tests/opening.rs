//! When the shop cannot open: what it says, and what it leaves behind.

use clap::Parser;
use tokio::net::TcpListener;

use crate::demo::{DemoArgs, run};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    demo: DemoArgs,
}

fn arguments(addr: &str, store: &str) -> Result<DemoArgs, clap::Error> {
    Line::try_parse_from(["demo", "--addr", addr, "--store", store]).map(|line| line.demo)
}

async fn refusal(addr: &str, store: &str) -> String {
    run(arguments(addr, store).unwrap()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_port_in_use_is_named_and_no_file_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let said = refusal(&address, &format!("sqlite:{}", file.display())).await;
    assert!(
        said.starts_with(&format!("{address} is in use")) && said.contains("--addr 127.0.0.1:0"),
        "{said}"
    );
    assert!(!file.exists());
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("letter.txt");
    std::fs::write(&text, "Dear Ada, this is a letter and no database at all.").unwrap();
    for (path, problem) in [
        (folder.path().to_owned(), "it is a directory"),
        (folder.path().join("none/shop.db"), "there is no directory"),
        (text, "is not a SQLite database"),
    ] {
        let said = refusal("127.0.0.1:0", &format!("sqlite:{}", path.display())).await;
        assert!(said.contains(problem) && said.contains("--store sqlite:PATH"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn what_is_no_address_is_refused_with_an_example() {
    for wrong in ["banana", "127.0.0.1", "127.0.0.1:99999", ""] {
        let said = arguments(wrong, "memory:").unwrap_err().to_string();
        assert!(said.contains("for example 127.0.0.1:8080"), "{wrong}: {said}");
    }
    arguments("localhost:0", "memory:").unwrap();
}
