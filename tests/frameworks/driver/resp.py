"""A raw RESP2 connection to the store, for looking past the session stacks.

It uses no Redis library on purpose: what it says about a key must not depend on code that is under
test here as part of a stack.
"""

import socket


class StoreError(Exception):
    """The store answered with an error."""


class Store:
    """One connection. Every call waits at most `seconds` for its answer."""

    def __init__(self, port, seconds=5.0):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._reader = self._socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._reader.close()
        self._socket.close()

    def command(self, *words):
        """Sends one command and returns its reply: bytes, str (status), int, list or None."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def keys(self):
        """Every key of database 0, sorted."""
        return sorted(self.command("KEYS", "*"))

    def only_key(self):
        """The store's one key; anything but exactly one is a failure."""
        keys = self.keys()
        assert len(keys) == 1, f"expected one key in the store, found {keys}"
        return keys[0]

    def _reply(self):
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise StoreError(f"the store closed the connection after {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise StoreError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self._reply() for _ in range(count)]
        raise StoreError(f"not a RESP2 reply: {line!r}")

    def _bulk(self, length):
        if length < 0:
            return None
        data = self._reader.read(length + 2)
        if len(data) != length + 2 or data[-2:] != b"\r\n":
            raise StoreError("a bulk string was cut short")
        return data[:-2]
