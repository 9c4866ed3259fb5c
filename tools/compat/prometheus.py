"""A real Prometheus beside two nodes: /metrics by promtool's rules, and every query of the Grafana dashboard.

    python tools/compat/prometheus.py FOLDER

Takes Prometheus from Debian's package (unpacked into FOLDER, nothing is installed), has it scrape two nodes
of which one serves the pocket model and the other asks it, and evaluates every query of docs/grafana. Exit
code 1 if promtool complains, a query is refused, or one that should have a series has none.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from tools.local_node import LocalNode, merged, private_network  # noqa: E402

BOARD = ROOT / "docs/grafana/opengateway.json"
QUIET = re.compile(r"> 0$")
"""Queries that are empty while all is well."""
LIMIT_S = 60.0
CONFIG = """global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs: [{job_name: opengateway, static_configs: [{targets: [%s]}]}]
"""


def unpacked(folder: Path) -> Path:
    """The folder with `prometheus` and `promtool`."""
    programs = folder / "prometheus/usr/bin"
    if not (programs / "promtool").exists():
        subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=True)
        [package] = folder.glob("prometheus_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder / "prometheus")], check=True)
    return programs


@contextmanager
def prometheus(program: Path, targets: list[str]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="opengateway-prometheus-") as folder:
        config = Path(folder) / "prometheus.yml"
        config.write_text(CONFIG % ", ".join(f"'{target}'" for target in targets))
        words = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        process = subprocess.Popen(
            [str(program), *words, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL
        )
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def query(base: str, expression: str) -> list[Any]:
    """Raises `HTTPError` for what is no PromQL."""
    url = f"{base}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
        return found


def ready(base: str, targets: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            if len(query(base, "count_over_time(up[1m]) >= 3")) == targets:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError("Prometheus did not begin to scrape")


def use(node: LocalNode) -> None:
    """Some answers, and one that fails."""
    ask = {"messages": [{"role": "user", "content": "What is 2+2?"}], "stream": True}
    for _ in range(5):
        node.request("POST", "/v1/chat/completions", ask)
    node.request("POST", "/v1/chat/completions", ask | {"model": "nobody-has-it"})


def queries() -> list[tuple[str, str]]:
    panels = json.loads(BOARD.read_text())["panels"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    values = {"$instance": ".*", "$__rate_interval": "30s", "$__interval": "30s"}
    for name, value in values.items():
        found = [(title, expression.replace(name, value)) for title, expression in found]
    return found


def checked(programs: Path, nodes: list[LocalNode]) -> int:
    wrong = 0
    for node in nodes:
        status, page = node.request("GET", "/metrics")
        said = subprocess.run(
            [str(programs / "promtool"), "check", "metrics"],
            input=page, capture_output=True, text=True, check=False,
        )  # fmt: skip
        wrong += status != 200 or said.returncode != 0
        print(
            f"promtool check metrics, {node.name}: {(said.stdout + said.stderr).strip() or 'nothing to say'}"
        )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    programs, network = unpacked(folder), private_network()
    with (
        tempfile.TemporaryDirectory(prefix="opengateway-scraped-") as homes,
        LocalNode(
            Path(homes), name="serving", config=merged(network, {"engine": {"kind": "pocket"}})
        ) as serving,
        LocalNode(
            Path(homes), name="asking", config=merged(network, {"wire": {"bootstrap": [serving.endpoint]}})
        ) as asking,
        prometheus(
            programs / "prometheus", [n.http.removeprefix("http://") for n in (serving, asking)]
        ) as base,
    ):
        deadline = time.monotonic() + LIMIT_S
        while not asking.get("/v1/models")["data"] and time.monotonic() < deadline:
            time.sleep(0.05)
        use(asking)
        ready(base, 2)
        use(asking)  # a counter that was never scraped before it rose has no rate
        time.sleep(3.0)
        wrong = checked(programs, [serving, asking])
        for title, expression in queries():
            series = query(base, expression)
            missing = not series and not QUIET.search(expression)
            wrong += missing
            print(f"{'MISSING' if missing else 'fine':7} {len(series):3} series  {title}: {expression}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
