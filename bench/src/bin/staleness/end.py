# Ends the sessions whose ids come in, as a service in Python does, and says when it was answered.
import sys
import time

import sqlalchemy

url, table = sys.argv[1:]
engine = sqlalchemy.create_engine("postgresql+psycopg2" + url[url.index(":"):])
delete = sqlalchemy.text(f"DELETE FROM {table} WHERE id = :id")
print("ready", flush=True)
for line in sys.stdin:
    with engine.begin() as connection:
        assert connection.execute(delete, {"id": line.strip()}).rowcount == 1
    print(time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
