"""Calling a function in a process of its own, in which nothing was imported before.

Functions are named ``"module:attribute"``; arguments and results are JSON values.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import traceback
from functools import cache
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["call_alone", "call_beside_torch"]


def call_alone(function: str, *arguments: Any) -> Any:
    """Call a function in a fresh interpreter.

    Raises:
        RuntimeError: it raised; the message is the traceback.
    """
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        request = json.dumps({"path": sys.path, "function": function, "arguments": arguments})
        code = f"from {__name__} import _write_answer; import sys; _write_answer(sys.argv[1], sys.argv[2])"
        command = [sys.executable, "-c", code, request, str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not result.exists():
            raise RuntimeError(f"the process ended with exit code {done.returncode}:\n{done.stderr.strip()}")
        return _result(result.read_text(encoding="utf-8"))


def call_beside_torch(function: str, *arguments: Any) -> Any:
    """The same in a process that has imported torch and the kernel already, which saves seconds where fork exists.

    Raises:
        RuntimeError: it raised; the message is the traceback.
    """
    if not hasattr(os, "fork"):
        return call_alone(function, *arguments)
    server = _server()
    server.send_bytes(json.dumps({"path": sys.path, "function": function, "arguments": arguments}).encode())
    return _result(server.recv_bytes().decode())


@cache
def _server() -> Connection:
    """One for this process, until its end: the server leaves when this end of the socket is closed."""
    ours, theirs = socket.socketpair()
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import _serve; _serve({theirs.fileno()})"
    subprocess.Popen(
        [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    theirs.close()
    return Connection(ours.detach())


def _serve(descriptor: int) -> None:
    """Answer requests, each in a child that is forked off before anything of it is imported."""
    import_module("slmk.testing.exercise")
    connection = Connection(descriptor)
    while True:
        try:
            request = connection.recv_bytes().decode()
        except (EOFError, ConnectionResetError):
            return
        child = os.fork()
        if not child:
            connection.send_bytes(_answer(request).encode())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            connection.send_bytes(json.dumps({"error": f"the process ended with status {status}"}).encode())


def _write_answer(request: str, path: str) -> None:
    answer = _answer(request)
    Path(path).write_text(answer, encoding="utf-8")


def _answer(request: str) -> str:
    told = json.loads(request)
    sys.path[:] = told["path"]
    try:
        module, _, name = told["function"].partition(":")
        return json.dumps({"result": getattr(import_module(module), name)(*told["arguments"])})
    except BaseException:
        return json.dumps({"error": traceback.format_exc().strip()})


def _result(answer: str) -> Any:
    told = json.loads(answer)
    if "error" in told:
        raise RuntimeError(told["error"])
    return told["result"]
