"""Other people's test suites against a bare engine and against two nodes in front of the same engine.

    python tools/compat/run.py FOLDER [--only openai|langchain|llm] [--markdown]

Makes a virtual environment in FOLDER (kept for the next time), fetches openai's source distribution there,
and runs its own tests for chats, completions, models, embeddings and responses, langchain-openai's standard
integration tests, and the `llm` command. The engine is llama.cpp with the pocket model; of the two nodes
one serves it, and the other, which the tests talk to, only asks. A test that fails at both says nothing of
the gateway; one that passes at the bare engine and fails at the nodes does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from opengateway.engines import llama_child  # noqa: E402
from opengateway.models import pocket  # noqa: E402
from tools.local_node import LocalNode, merged, private_network  # noqa: E402

OPENAI = "3.57.0"
PACKAGES = [
    f"openai=={OPENAI}",
    "langchain-openai",
    "langchain-tests",
    "llm",
    "pytest",
    "pytest-asyncio",
    "pytest-xdist",
    # What openai's own conftest imports.
    "inline-snapshot",
    "rich",
    "trio",
    "Pillow",
    "httpx-aiohttp",
]
KEY = "My API Key"
"""What openai's tests send."""
NAMES = ("gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small", "model", "gpt-4o-mini")
"""Models that the suites ask for."""
SUITES = {
    "openai: chat completions": "tests/api_resources/chat/test_completions.py",
    "openai: completions": "tests/api_resources/test_completions.py",
    "openai: models": "tests/api_resources/test_models.py",
    "openai: embeddings": "tests/api_resources/test_embeddings.py",
    "openai: responses": "tests/api_resources/test_responses.py",
}
ASYNC = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session")
LIMIT_S = 900.0


@dataclass
class Outcome:
    passed: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Test -> the last line of why."""


def prepare(folder: Path) -> tuple[Path, Path]:
    """(python, openai's sources), made if they are not there."""
    python, sources = folder / "venv/bin/python", folder / f"openai-{OPENAI}"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    if not sources.exists():
        fetch = [
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
            "-d",
            str(folder),
            f"openai=={OPENAI}",
        ]
        subprocess.run([str(python), "-m", "pip", *fetch], check=True)
        with tarfile.open(next(folder.glob("openai-*.tar.gz"))) as packed:
            packed.extractall(folder, filter="data")
    return python, sources


@contextlib.contextmanager
def bare_engine() -> Iterator[str]:
    """llama.cpp as the node runs it, with the key that the tests send."""
    order: dict[str, Any] = {"model": str(pocket.path()), "alias": "pocket", "slots": 4, "threads": 1}
    order |= {"context": 1024, "embedding": False, "key": KEY}
    process = subprocess.Popen(
        [sys.executable, "-P", llama_child.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/v1"
    finally:
        process.stdin.close()
        process.wait(10)


@contextlib.contextmanager
def two_nodes() -> Iterator[str]:
    network = private_network() | {"aliases": dict.fromkeys(NAMES, "pocket")}
    with tempfile.TemporaryDirectory(prefix="opengateway-compat-") as folder:
        serving = merged(network, {"engine": {"kind": "pocket"}})
        with LocalNode(Path(folder), name="serving", config=serving) as server:
            known = merged(network, {"wire": {"bootstrap": [server.endpoint]}})
            with LocalNode(Path(folder), name="asking", config=known) as asking:
                deadline = time.monotonic() + 30
                while not asking.get("/v1/models")["data"]:
                    if time.monotonic() > deadline:
                        raise RuntimeError("the two nodes did not meet")
                    time.sleep(0.05)
                yield f"{asking.http}/v1"


def run_pytest(python: Path, cwd: Path, target: str, url: str) -> Outcome:
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        environment = os.environ | {"TEST_API_BASE_URL": url, "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url}
        environment["PYTHONPATH"] = str(HERE)
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no_retries", "-n", "0"]
        subprocess.run(
            # One loop for all: langchain's client keeps connections, which a closed loop takes along.
            [*command, *ASYNC, "-W", "ignore", f"--junitxml={report.name}", target],
            cwd=cwd,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT_S,
            check=False,
        )
        return _read(Path(report.name))


def _read(report: Path) -> Outcome:
    outcome = Outcome()
    for case in ET.parse(report).iter("testcase"):
        bad = case.find("failure")
        bad = bad if bad is not None else case.find("error")
        if bad is not None:
            message = (bad.get("message") or "").strip().splitlines()
            outcome.failed[str(case.get("name"))] = (message or ["?"])[0][:300]
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    return outcome


def run_llm(python: Path, url: str) -> Outcome:
    """The `llm` command: an answer in one piece, streamed, with a system prompt, and as a conversation."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="opengateway-llm-") as folder:
        entry = {"model_id": "ours", "model_name": "pocket", "api_base": url, "api_key_name": "ours"}
        lines = [
            f"{'- ' if i == 0 else '  '}{name}: {value}" for i, (name, value) in enumerate(entry.items())
        ]
        (Path(folder) / "extra-openai-models.yaml").write_text("\n".join(lines) + "\n")
        (Path(folder) / "keys.json").write_text(json.dumps({"ours": KEY}))
        for name, words in {
            "streamed": ["What is 2+2?"],
            "in one piece": ["What is 2+2?", "--no-stream"],
            "with a system prompt": ["What is 2+2?", "-s", "Be brief."],
            "with options": [
                "What is 2+2?",
                "-o",
                "temperature",
                "0",
                "-o",
                "max_tokens",
                "5",
                "-o",
                "seed",
                "1",
            ],
            "continued": ["And 3+3?", "-c"],
        }.items():
            said = subprocess.run(
                [str(python), "-m", "llm", "-m", "ours", *words],
                env=os.environ | {"LLM_USER_PATH": folder},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if said.returncode == 0 and said.stdout.strip():
                outcome.passed += 1
            else:
                outcome.failed[name] = (said.stderr.strip().splitlines() or ["no answer"])[-1]
    return outcome


def run(folder: Path, only: str) -> dict[str, dict[str, Outcome]]:
    python, sources = prepare(folder)
    found: dict[str, dict[str, Outcome]] = {}

    def note(suite: str, subject: str, outcome: Outcome) -> None:
        found.setdefault(suite, {})[subject] = outcome
        print(f"{suite} | {subject}: {outcome.passed} passed, {len(outcome.failed)} failed", file=sys.stderr)

    for subject, standing in (("bare engine", bare_engine), ("two nodes", two_nodes)):
        with standing() as url:
            if only in ("", "openai"):
                for suite, target in SUITES.items():
                    note(suite, subject, run_pytest(python, sources, target, url))
            if only in ("", "langchain"):
                target = str(HERE / "langchain_standard.py")
                outcome = run_pytest(python, folder, target, url)
                note("langchain-openai: standard integration tests", subject, outcome)
            if only in ("", "llm"):
                note("llm", subject, run_llm(python, url))
    return found


def show(found: dict[str, dict[str, Outcome]]) -> str:
    lines = ["| suite | bare engine | two nodes | passes there and not here |", "|---|---:|---:|---|"]
    for suite, outcomes in found.items():
        bare, ours = outcomes["bare engine"], outcomes["two nodes"]
        lost = [name for name in ours.failed if name not in bare.failed]
        counts = [f"{o.passed} of {o.passed + len(o.failed)}" for o in (bare, ours)]
        lines.append(f"| {suite} | {counts[0]} | {counts[1]} | {', '.join(lost) or 'none'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=["", "openai", "langchain", "llm"], default="")
    parser.add_argument("--markdown", action="store_true", help="only the table")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    found = run(given.folder.resolve(), given.only)
    print(show(found))
    if not given.markdown:
        for suite, outcomes in found.items():
            for subject, outcome in outcomes.items():
                for name, why in outcome.failed.items():
                    print(f"{suite} | {subject} | {name}: {why}")


if __name__ == "__main__":
    main()
