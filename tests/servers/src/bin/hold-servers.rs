//! Starts servers, names their processes and folders, and waits to be killed: the tests' proof that the servers
//! end with the program that started them.

use sessile_test_servers::{MariaDb, Outcome, Postgres, Redis};

fn main() -> Outcome {
    let (postgres, mariadb, redis) = (Postgres::start()?, MariaDb::start()?, Redis::start()?);
    // A paused one cannot act on the signal that ends it.
    postgres.pause()?;
    for server in [&*postgres, &*mariadb, &*redis] {
        println!("{} {}", server.pid().unwrap_or_default(), server.folder().display());
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}
