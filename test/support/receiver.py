#!/usr/bin/env python3
"""A receiver of Sluice batches, written from the ingest contract alone, with nothing but Python's standard library.

Exactly once with one number per queue: lines and number are in one SQLite transaction, and no 2xx is said before its
commit. Ends hard at any moment without losing what it acknowledged.

    receiver.py --db FILE [--port N] [--lose SHARE] [--busy SHARE] [--partial SHARE] [--refuse TEXT] [--seed N]

POST anything: a batch. GET /records?stream=NAME: stored lines as NDJSON. GET /stats: what it did, as JSON.
Prints its URL once it listens. The faults: answers lost after the commit, 503 before it, half a batch stored,
lines that hold TEXT refused.
"""

import argparse
import json
import random
import sqlite3
import threading
import urllib.parse
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY_BYTES = 64 * 1024 * 1024

SCHEMA = """
CREATE TABLE IF NOT EXISTS queues (gateway TEXT, spool TEXT, stream TEXT, highest INTEGER NOT NULL,
                                   PRIMARY KEY (gateway, spool, stream));
CREATE TABLE IF NOT EXISTS records (gateway TEXT, spool TEXT, stream TEXT, seq INTEGER, line BLOB NOT NULL,
                                    PRIMARY KEY (gateway, spool, stream, seq));
"""


class BadBatch(Exception):
    """The request is not one of the contract."""


def batch_lines(headers, body):
    """The body's lines without LF. Splits on LF only: U+2028 and U+0085 may stand inside strings."""
    if headers.get("Content-Encoding") == "gzip":
        inflater = zlib.decompressobj(wbits=31)
        body = inflater.decompress(body, MAX_BODY_BYTES)
        if not inflater.eof:
            raise BadBatch("the body is not one whole gzip member")
    checksum = headers["Idempotency-Key"].strip('"').rsplit(":", 1)[1]
    if format(zlib.crc32(body), "08x") != checksum:
        raise BadBatch("the body does not fit its checksum")
    if not body.endswith(b"\n"):
        raise BadBatch("the last line does not end with LF")
    lines = body[:-1].split(b"\n")
    if len(lines) != int(headers["Sluice-Record-Count"]):
        raise BadBatch("the number of lines is not Sluice-Record-Count")
    return lines


def store(connection, headers, lines, limit, refuses):
    """The contract's rule, in one transaction. The answer: how far, and which line is refused for good."""
    queue = (headers["Sluice-Gateway"], headers["Sluice-Spool"], headers["Sluice-Stream"])
    connection.execute("BEGIN IMMEDIATE")
    try:
        row = connection.execute(
            "SELECT highest FROM queues WHERE gateway = ? AND spool = ? AND stream = ?", queue
        ).fetchone()
        highest = row[0] if row else 0
        through = int(headers["Sluice-First-Seq"]) - 1
        stored = repeats = 0
        rejected = []
        for line in lines:
            seq = json.loads(line)["seq"]
            if seq <= highest:
                repeats += 1
            elif refuses(line):
                rejected.append({"seq": seq, "status": 422, "reason": "refused on request"})
                break
            elif stored == limit:
                break
            else:
                connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?)", (*queue, seq, line))
                highest = seq
                stored += 1
            through = seq
        connection.execute("INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?)", (*queue, highest))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    answer = {"ackedThrough": through}
    if rejected:
        answer["rejected"] = rejected
    return answer, stored, repeats


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, options):
        super().__init__(("127.0.0.1", options.port), Handler)
        self.options = options
        self.random = random.Random(options.seed)
        self.lock = threading.Lock()
        self.stats = {"requests": 0, "stored": 0, "repeats": 0, "refused": 0, "lost": 0, "busy": 0, "partial": 0, "bad": 0}
        with self.connect() as connection:
            connection.executescript(SCHEMA)

    def connect(self):
        connection = sqlite3.connect(self.options.db, isolation_level=None, timeout=30)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def happens(self, share):
        return self.random.random() < share


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.connection_to_db = self.server.connect()

    def finish(self):
        self.connection_to_db.close()
        super().finish()

    def log_message(self, *_):
        pass

    def answer(self, status, body, content_type="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        server, options = self.server, self.server.options
        if "Sluice-Probe" in self.headers:
            self.answer(204, b"")
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.stats["requests"] += 1
            if server.happens(options.busy):
                server.stats["busy"] += 1
                self.answer(503, b'"busy"')
                return
            try:
                lines = batch_lines(self.headers, body)
                limit = -1
                if len(lines) > 1 and server.happens(options.partial):
                    limit = len(lines) // 2
                refuses = (lambda line: options.refuse.encode() in line) if options.refuse else (lambda _: False)
                answer, stored, repeats = store(self.connection_to_db, self.headers, lines, limit, refuses)
            except (BadBatch, KeyError, TypeError, ValueError, zlib.error) as error:
                server.stats["bad"] += 1
                self.answer(400, json.dumps(str(error)).encode())
                return
            server.stats["stored"] += stored
            server.stats["repeats"] += repeats
            server.stats["refused"] += len(answer.get("rejected", []))
            server.stats["partial"] += 0 <= limit == stored
            lost = server.happens(options.lose)
            server.stats["lost"] += lost
        if lost:
            self.close_connection = True
        else:
            self.answer(200, json.dumps(answer).encode())

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/stats":
            self.answer(200, json.dumps(self.server.stats).encode())
            return
        stream = urllib.parse.parse_qs(url.query).get("stream", ["telemetry"])[0]
        rows = self.connection_to_db.execute(
            "SELECT line FROM records WHERE stream = ? ORDER BY gateway, spool, seq", (stream,)
        )
        self.answer(200, b"".join(line + b"\n" for (line,) in rows), "application/x-ndjson")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lose", type=float, default=0)
    parser.add_argument("--busy", type=float, default=0)
    parser.add_argument("--partial", type=float, default=0)
    parser.add_argument("--refuse", default="")
    parser.add_argument("--seed", type=int, default=1)
    server = Receiver(parser.parse_args())
    print(f"http://127.0.0.1:{server.server_address[1]}/ingest", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
