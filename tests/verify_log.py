"""A second verifier of log.db, written from docs/log-format.md alone.

Usage: verify_log.py LOG_DB
Payloads packed with zstd need the `zstandard` module or the `zstd` program; without, they are not
checked, and stderr says so.
Prints `whole EVENTS PAYLOADS LOG_HASH`, or the first place that is wrong, and then exits with 1.
"""

import hashlib
import shutil
import sqlite3
import struct
import subprocess
import sys

ZERO = bytes(32)


def u64(number):
    return struct.pack(">Q", number)


def i64(number):
    return struct.pack(">q", number)


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return u64(len(value)) + value


def opt(value):
    return b"\0" if value is None else b"\1" + value


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unpack_zstd(packed):
    """The plaintext of a frame; None if there is nothing to unpack it with."""
    try:
        import zstandard
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=1 << 28)
    except ImportError:
        pass
    if shutil.which("zstd"):
        command = ["zstd", "-dcq"]
        return subprocess.run(command, input=packed, capture_output=True, check=True).stdout
    return None


def check_payload(position, codec, salt, packed, length, commit):
    """Whether the payload could be checked; ends the program if it is wrong."""
    if commit is None:
        wrong(position, "has a payload that its event does not have")
    if codec not in (0, 1):
        wrong(position, f"has a payload in codec {codec}")
    try:
        plain = packed if codec == 0 else unpack_zstd(packed)
    except Exception as error:
        wrong(position, f"has a payload that cannot be unpacked: {error}")
    if plain is None:
        return False
    if len(plain) != length or sha(salt, plain) != commit:
        wrong(position, "has another payload than was written")
    return True


def wrong(position, what):
    print(f"position {position}: {what}")
    sys.exit(1)


def main(path):
    log = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    redacted = {
        row[0]
        for row in log.execute(
            "SELECT json_extract(facts, '$.position') FROM events WHERE type = 'payload-redacted'"
        )
    }
    streams, before, clock = {}, ZERO, None
    count, payloads, unchecked = 0, 0, 0
    rows = log.execute(
        "SELECT e.position, stream, version, event_id, command_id, type, schema_version, recorded_at,"
        " occurred_at, actor, door, causation_id, correlation_id, facts, payload_len, payload_commit,"
        " event_hash, log_hash, p.codec, p.salt, p.bytes"
        " FROM events e LEFT JOIN payloads p ON p.position = e.position ORDER BY e.position"
    )
    for row in rows:
        (position, stream, version, event_id, command_id, kind, schema, recorded, occurred, actor, door,
         cause, correlation, facts, length, commit, event_hash, log_hash, codec, salt, packed) = row
        count += 1
        if position != count:
            wrong(count, f"is missing; {position} follows")
        last_version, last_hash = streams.get(stream, (0, ZERO))
        if version != last_version + 1:
            wrong(position, f"version {version} follows {last_version}")
        if clock is not None and recorded < clock:
            wrong(position, "was recorded before the one before it")
        clock = recorded
        if commit is not None and packed is None and position not in redacted:
            wrong(position, "has lost its payload, and no event says so")
        if packed is not None:
            if check_payload(position, codec, salt, packed, length, commit):
                payloads += 1
            else:
                unchecked += 1
        expected = sha(
            b"cody-batch/event/1", last_hash, text(stream), u64(version), event_id, command_id,
            text(kind), u64(schema), i64(recorded), i64(occurred), text(actor), text(door), opt(cause),
            opt(correlation), text(facts), opt(None if commit is None else u64(length) + commit),
        )
        if event_hash != expected:
            wrong(position, "has a hash that does not fit its content")
        before = sha(b"cody-batch/log/1", before, u64(position), event_hash)
        if log_hash != before:
            wrong(position, "has a log hash that does not fit")
        streams[stream] = (version, event_hash)
    stray = log.execute("SELECT COUNT(*) FROM payloads WHERE position NOT IN (SELECT position FROM events)")
    if stray.fetchone()[0] > 0:
        wrong(0, "there is a payload without an event")
    if unchecked > 0:
        print(f"{unchecked} payloads were not checked: install zstd", file=sys.stderr)
    print(f"whole {count} {payloads} {before.hex()}")


if __name__ == "__main__":
    main(sys.argv[1])
