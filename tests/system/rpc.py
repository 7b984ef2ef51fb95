# SPDX-License-Identifier: BSD-2-Clause
"""A JSON-RPC 2.0 client for the daemon's control socket: one connection, one call at a time."""

import json
import socket

from .patience import Deadline


class RpcError(Exception):
    def __init__(self, method, error):
        super().__init__(f"{method}: {error['message']} ({error['code']})")
        self.code = error["code"]
        self.message = error["message"]


class Rpc:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.received = b""
        self.id = 0

    def close(self):
        self.socket.close()

    def call(self, method, timeout=20, **params):
        """The result of a call; RpcError when the daemon refuses it."""
        self.id += 1
        request = {"jsonrpc": "2.0", "id": self.id, "method": method}
        if params:
            request["params"] = params
        self.socket.sendall(json.dumps(request).encode())
        answer = json.loads(self.read_line(Deadline(timeout, f"the answer to {method}")))
        assert answer["jsonrpc"] == "2.0" and answer["id"] == self.id, answer
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]

    def read_line(self, deadline):
        while b"\n" not in self.received:
            self.socket.settimeout(deadline.remaining())
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                raise ConnectionError("the daemon closed the control connection")
            self.received += data
        line, self.received = self.received.split(b"\n", 1)
        return line
