"""Other people's test suites against a bare engine and against two nodes in front of the same engine.

    python tools/compat/run.py FOLDER [--only openai|langchain|llm] [--markdown]

Makes a virtual environment in FOLDER (kept for the next time), fetches openai's source distribution there,
and runs its own tests for chats, completions, models, embeddings and responses, langchain-openai's standard
integration tests, and the `llm` command. The engine is llama.cpp with the pocket model; of the two nodes
one serves it, and the other, which the tests talk to, only asks. A test that fails at both says nothing of
the gateway; one that passes at the bare engine and fails at the nodes does, and the table says why. It takes
some 5 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[0] = str(HERE.parents[1])

from opengateway.models import pocket  # noqa: E402
from tools.compat import embedding_model  # noqa: E402
from tools.compat.outcomes import BARE, OURS, Found, Outcome, read, reasons, table  # noqa: E402
from tools.compat.subjects import KEY, bare_engine, two_nodes  # noqa: E402

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
SUITES = {
    "openai: chat completions": "tests/api_resources/chat/test_completions.py",
    "openai: completions": "tests/api_resources/test_completions.py",
    "openai: models": "tests/api_resources/test_models.py",
    "openai: responses": "tests/api_resources/test_responses.py",
}
EMBEDDINGS = {"openai: embeddings": "tests/api_resources/test_embeddings.py"}
"""Against a model of their own: the pocket model with a pooling type."""
ASYNC = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session")
LIMIT_S = 900.0


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
        return read(Path(report.name))


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
                outcome.passed.add(name)
            else:
                outcome.failed[name] = (said.stderr.strip().splitlines() or ["no answer"])[-1]
    return outcome


def run(folder: Path, only: str) -> Found:
    python, sources = prepare(folder)
    vectors = folder / "pocket-embedding.gguf"
    embedding_model.write(vectors)
    found: Found = {}

    def note(suite: str, subject: str, outcome: Outcome) -> None:
        found.setdefault(suite, {})[subject] = outcome
        print(f"{suite} | {subject}: {outcome}", file=sys.stderr)

    def openai(subject: str, url: str, suites: dict[str, str]) -> None:
        for suite, target in suites.items():
            note(suite, subject, run_pytest(python, sources, target, url))

    for subject, standing in ((BARE, bare_engine), (OURS, two_nodes)):
        with standing(pocket.path()) as url:
            if only in ("", "openai"):
                openai(subject, url, SUITES)
            if only in ("", "langchain"):
                target = str(HERE / "langchain_standard.py")
                outcome = run_pytest(python, folder, target, url)
                note("langchain-openai: standard integration tests", subject, outcome)
            if only in ("", "llm"):
                note("llm", subject, run_llm(python, url))
    if only in ("", "openai"):
        with bare_engine(vectors, embedding=True) as url:
            openai(BARE, url, EMBEDDINGS)
        with two_nodes(vectors) as url:
            openai(OURS, url, EMBEDDINGS)
    return found


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
    print(table(found))
    if not given.markdown:
        print(reasons(found))


if __name__ == "__main__":
    main()
