//! Redis: one connection, on which all requests are pipelined; a script for the conditional write.

use redis::aio::MultiplexedConnection;
use redis::{Client, Script, cmd, pipe};

use super::{ByHand, Id, LIFETIME};

const SWAP: &str = "if redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return 0 end
if KEYS[1] ~= KEYS[2] then redis.call('RENAME', KEYS[1], KEYS[2]) end
redis.call('HSET', KEYS[2], 'data', ARGV[1])
redis.call('HINCRBY', KEYS[2], 'version', 1)
return 1";

/// The store.
pub struct RedisByHand {
    connection: MultiplexedConnection,
    swap: Script,
}

impl RedisByHand {
    /// Connects.
    pub async fn connect(url: &str) -> RedisByHand {
        let client = Client::open(url).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        RedisByHand { connection, swap: Script::new(SWAP) }
    }
}

fn key(id: Id) -> Vec<u8> {
    [b"hand:", &id[..]].concat()
}

impl ByHand for RedisByHand {
    async fn create(&self, id: Id, data: Vec<u8>) {
        let key = key(id);
        let mut both = pipe();
        both.cmd("HSET").arg(&key).arg("data").arg(data).arg("version").arg(0).ignore();
        both.cmd("EXPIRE").arg(&key).arg(LIFETIME).ignore();
        let () = both.query_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn load<T: Send>(&self, id: Id, read: impl FnOnce(&[u8]) -> T + Send) -> Option<(T, i64)> {
        let mut command = cmd("HMGET");
        command.arg(key(id)).arg("data").arg("version");
        let found: (Option<Vec<u8>>, Option<i64>) =
            command.query_async(&mut self.connection.clone()).await.unwrap();
        let (Some(data), Some(version)) = found else { return None };
        Some((read(&data), version))
    }

    async fn swap(&self, id: Id, new: Id, data: Vec<u8>, version: i64) -> bool {
        let mut call = self.swap.key(key(id));
        call.key(key(new)).arg(data).arg(version);
        let made: i64 = call.invoke_async(&mut self.connection.clone()).await.unwrap();
        made == 1
    }

    async fn delete(&self, id: Id) {
        let () = cmd("DEL").arg(key(id)).query_async(&mut self.connection.clone()).await.unwrap();
    }
}
