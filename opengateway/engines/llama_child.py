"""The process that runs llama.cpp, started by `LlamaServer`; imports nothing of ours.

A C++ abort ends the whole process, and loading a model may hold the GIL for minutes, so llama.cpp never
runs inside the node. The conversation with the parent:

    stdin    one JSON line: model, alias, slots, threads, context, embedding, key. Then silence, until
             the pipe closes: that is the parent's end, however it came about, and so it is ours.
    stdout   one JSON line: {"port": n, "digest": sha256} once the model is loaded, or {"error": text}.
    stderr   llama.cpp's log, a file that the parent opened for appending.

The API key comes through stdin because every user of the machine can read a process's arguments.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

LOG_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of log after which it begins anew. llama.cpp writes about 1 kB a request."""
LOG_CHECK_S: Final = 20.0
PROMPT_CACHE_MIB: Final = 256
"""MiB of finished prompts kept for reuse. llama.cpp's own default is 8192: too much for a guest."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides
    _die_with_parent()
    # Whatever a library prints goes to the log: the pipe to the parent carries our one line only, and
    # nobody reads it afterwards.
    answer = os.dup(1)
    os.dup2(2, 1)
    order = json.loads(sys.stdin.buffer.readline() or b"null")
    if order is None:
        return
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()
    try:
        server = _serve(order)
        port = urlsplit(server.listening_address).port
        digest = file_digest(Path(order["model"]))
    except Exception as error:
        _say(answer, {"error": str(error) or type(error).__name__})
        _leave(1)
    _say(answer, {"port": port, "digest": digest})
    os.close(answer)
    while True:
        time.sleep(LOG_CHECK_S)
        if os.fstat(2).st_size > LOG_LIMIT:
            os.ftruncate(2, 0)  # opened for appending, so the next line lands at the new end


def file_digest(path: Path) -> str:
    """SHA-256 of the file, hex. Some 1.5 GB/s where the processor has SHA instructions."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _serve(order: dict[str, Any]) -> Any:
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = order["model"]
    p.model_alias = {order["alias"]}
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.api_keys = [order["key"]]
    p.n_parallel = order["slots"]
    p.n_ctx = order["context"] * order["slots"]  # llama.cpp divides it among the slots
    p.cpuparams.n_threads = order["threads"]
    p.cpuparams_batch.n_threads = order["threads"]
    p.n_threads_http = order["slots"] + 4  # a stream holds one; health and token counts need others
    p.embedding = order["embedding"]
    p.cache_ram_mib = PROMPT_CACHE_MIB
    p.ui = False
    return xllamacpp.Server(p)


def _die_with_parent() -> None:
    """Linux: SIGKILL when the thread that started us ends. It covers the time of loading, in which
    the watch on stdin may not get the GIL; elsewhere stdin alone does it, a little later."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def _exit_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    _leave(0)


def _say(answer: int, words: dict[str, Any]) -> None:
    os.write(answer, json.dumps(words).encode() + b"\n")


def _leave(code: int) -> None:
    # Not sys.exit: a server that is destroyed in the instant of its creation deadlocks, and nothing
    # here needs a destructor.
    os._exit(code)


if __name__ == "__main__":
    main()
