"""Three real nodes on this machine, one prompt, what it cost, and proof; then everything is gone again.

`tools/quickstart` installs and runs this. The nodes live in a temporary folder and in a private network of
their own on 127.0.0.1: nothing is asked of, or told to, any other machine. Exit 0 only if the answer is 4,
another node gave it, credit moved, every audit is valid and nothing was left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import http
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from tools.local_node import LocalNode, NodeFailed, merged, private_network, processes_of  # noqa: E402

QUESTION, ANSWER = "What is 2+2?", "4"
PATIENCE_S = 30.0
"""Nodes on one machine meet in about 0.2 s and settle in less; a busy laptop may be 50 times slower."""
CREDIT = 1_000_000
"""Micro-credits in a credit."""


class Interrupted(BaseException):
    """Ctrl-C, or somebody else who wants us to end."""


class Disappointed(Exception):
    """Everything ran, but not with the result that it should have."""


def say(text: str = "") -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--began", type=float, default=time.time(), help=argparse.SUPPRESS)
    began = parser.parse_args().began
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="opengateway-quickstart-"))
    code = 1
    try:
        try:
            show(folder)
            code = 0
        finally:
            # From here on nothing may interrupt the cleaning up.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            left = clean_up(folder)
    except Interrupted:
        say("\nInterrupted: the nodes are stopped and their folder is removed.")
        return 130
    except (NodeFailed, Disappointed, subprocess.TimeoutExpired) as error:
        notes = "\n".join(getattr(error, "__notes__", []))
        print(f"\nThis did not work: {error}\n{notes}", file=sys.stderr)
        print("\nPlease report it with the text above.", file=sys.stderr)
    if left:
        print(f"These processes had to be killed: {left}", file=sys.stderr)
        return 1
    if code == 0:
        say("The three nodes have ended; no process and no file of theirs is left.")
        say(f"All this took {time.time() - began:.1f} s.")
        say(
            "\nNext: tools/install.sh puts `opengateway` on your PATH, `opengateway start` joins the network."
        )
    return code


def show(folder: Path) -> None:
    """The demonstration. Raises `Disappointed` or `NodeFailed`."""
    network = private_network()
    serving = merged(network, {"engine": {"kind": "pocket"}})
    with contextlib.ExitStack() as stack:
        say("Three nodes start on this machine, in a private network that only they know the secret of:")
        ada = stack.enter_context(running(LocalNode(folder, name="ada", config=serving)))
        ben = stack.enter_context(running(LocalNode(folder, name="ben", config=dialling(serving, ada))))
        cleo = stack.enter_context(
            running(LocalNode(folder, name="cleo", config=dialling(network, ada, ben)))
        )
        nodes = [ada, ben, cleo]
        for node, role in zip(nodes, ("serves", "serves", "has no model at all"), strict=True):
            model = (
                "the pocket model, 1.3 MB, real inference by llama.cpp"
                if role == "serves"
                else "it can only ask"
            )
            say(f"  {node.name:5} {node.get('/node/status')['short']}  {role}: {model}")

        began = time.monotonic()
        until(lambda: all(count_up(node) == len(nodes) - 1 for node in nodes), "the nodes see each other")
        until(lambda: has_model(cleo), "cleo learns who serves what")
        met = f"{time.monotonic() - began:.1f} s"
        say(f"They found each other and shook hands ({met}): every session is sealed end to end.")

        say("\nNow cleo, who has no model, asks:")
        say(f'  $ opengateway prompt "{QUESTION}" --temperature 0 --stats')
        given = ["--home", str(cleo.home), "prompt", QUESTION, "--temperature", "0", "--stats"]
        asked = cleo.cli(*given)
        say("".join(f"  {line}\n" for line in (asked.stdout + asked.stderr).splitlines()).rstrip())
        server = check_answer(asked, nodes, cleo)
        first = re.search(r"first token: ([\d.]+ m?s)", asked.stderr)
        say(f"{server.name} computed it" + (f"; the first word came after {first[1]}." if first else "."))

        say("\nServing earns credit, asking spends it; each node keeps its own signed ledger:")
        until(lambda: balance(server)["earned"] > 0 and balance(cleo)["spent"] > 0, "credit has moved")
        for node in nodes:
            own = balance(node)
            moved = f"earned {credits_of(own['earned'])}, spent {credits_of(own['spent'])}"
            say(f"  {node.name:5} balance {credits_of(own['balance']):>9} credits   ({moved})")
        if balance(server)["earned"] != balance(cleo)["spent"]:
            raise Disappointed(f"{server.name} earned {balance(server)}, but cleo spent {balance(cleo)}")

        say("\nNobody has to believe them. The audit needs only the exported file, no node:")
        for node in nodes:
            say(f"  $ opengateway-audit {node.name}.ledger  ->  {audit(node, folder)}")
        say()
    if left := [words for node in nodes for words in node.left_behind]:
        raise Disappointed(f"nodes left processes behind: {left}")


def dialling(config: dict[str, Any], *others: LocalNode) -> dict[str, Any]:
    """`config` of a node that knows these from the start, as two machines on different networks would."""
    return merged(config, {"wire": {"bootstrap": [node.endpoint for node in others]}})


@contextlib.contextmanager
def running(node: LocalNode) -> Iterator[LocalNode]:
    """As the node's own `with` block, but its log is shown only where the node itself failed."""
    try:
        yield node.start()
    finally:
        node.stop()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Disappointed(f"after {PATIENCE_S:.0f} s it is still not so that {what}")
        time.sleep(0.05)


def count_up(node: LocalNode) -> int:
    return sum(peer["state"] == "up" for peer in node.get("/node/peers")["peers"])


def has_model(node: LocalNode) -> bool:
    return any(peer["models"] for peer in node.get("/node/peers")["peers"])


def balance(node: LocalNode) -> dict[str, int]:
    found: dict[str, int] = node.get("/node/ledger/balance")
    return found


def credits_of(micro: int) -> str:
    return f"{micro / CREDIT:.6f}"


def check_answer(
    asked: subprocess.CompletedProcess[str], nodes: list[LocalNode], asker: LocalNode
) -> LocalNode:
    """The node that answered. Raises `Disappointed` unless it said 4 and is not the one that asked."""
    if asked.returncode or asked.stdout.strip() != ANSWER:
        raise Disappointed(
            f"the answer should be {ANSWER}, but was: {asked.stdout + asked.stderr} (exit {asked.returncode})"
        )
    named = re.search(r"node: (\w+)", asked.stderr)
    for node in nodes:
        if named and node.name == named[1] and node is not asker:
            return node
    raise Disappointed(f"another node than {asker.name} should have answered: {asked.stderr}")


def audit(node: LocalNode, folder: Path) -> str:
    """The verdict on the node's exported ledger, by the program that needs no node."""
    exported = folder / f"{node.name}.ledger"
    status, data = node.request("GET", "/node/ledger/export")
    if status != http.HTTPStatus.OK or not isinstance(data, bytes):
        raise Disappointed(f"{node.name} did not export its ledger: {status} {data!r}")
    exported.write_bytes(data)
    program = str(Path(sys.executable).parent / "opengateway-audit")
    found: Any = subprocess.run(
        [program, str(exported)], capture_output=True, text=True, check=False, timeout=60
    )
    if found.returncode or not found.stdout.startswith("VALID"):
        raise Disappointed(f"the audit of {node.name} says: {found.stdout}{found.stderr}")
    checked = re.search(r"(\d+) signatures", found.stdout)
    return f"VALID ({len(data)} bytes, {checked[1] if checked else '?'} signatures checked)"


def clean_up(folder: Path) -> list[str]:
    """Remove the folder. The processes that were still there: none, unless something went wrong."""
    left = []
    for process in processes_of(folder):
        left.append(f"{process.pid} {process.name()}")
        process.kill()
        process.wait(10)
    with contextlib.suppress(FileNotFoundError):
        import shutil

        shutil.rmtree(folder)
    return left


def _interrupt(_: int, __: FrameType | None) -> None:
    raise Interrupted


if __name__ == "__main__":
    sys.exit(main())
