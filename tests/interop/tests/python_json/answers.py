"""Answers what Python's json module makes of each case: one JSON array in, one line out."""

import json
import struct
import sys


def loads(text):
    """What json.loads accepts, and for an object its keys and values in order."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    except RecursionError:
        return None
    try:
        dumped = json.dumps(value)
    except (ValueError, RecursionError):
        dumped = None
    members = None
    if isinstance(value, dict) and dumped is not None:
        members = [[json.dumps(key), json.dumps(item)] for key, item in value.items()]
    return {"dumped": dumped, "members": members}


def double(bits):
    return json.dumps(struct.unpack(">d", bytes.fromhex(bits))[0])


def string(points):
    return json.dumps("".join(map(chr, points)))


def integer(digits):
    return json.dumps(int(digits))


def keys(kind):
    samples = {
        "integers": {-7: 1, 0: 2, 2**127: 3},
        "booleans": {False: 1, True: 2},
        "null": {None: 1},
        "floats": {-0.0: 1, 1e-05: 2, 1e16: 3, 1.5: 4, float("inf"): 5},
    }
    return json.dumps(samples[kind])


CASES = {"loads": loads, "double": double, "string": string, "integer": integer, "keys": keys}

# The transport is ASCII both ways: the platform's encoding plays no part.
for line in sys.stdin:
    operation, argument = json.loads(line)
    print(json.dumps(CASES[operation](argument)))
