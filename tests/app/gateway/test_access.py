"""Who may use a real node's port: keys, pages of other origins, TLS, and paths that lead nowhere."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from harness import Node, NodeFailed, until
from sse import chat

from opengateway.app.cli.entry import run
from opengateway.app.gateway.api_keys import KeyFile

CHAT = "/v1/chat/completions"
PAGE = "https://chat.example.org"
TLS = Path(__file__).parents[2] / "data/tls"
FILES = {"certificate": str(TLS / "certificate.pem"), "certificate_key": str(TLS / "key.pem")}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Keys are needed here too, one page elsewhere may use it, and it speaks TLS."""
    http_section = {"keys": "always", "origins": [PAGE], "names": ["node.example.org"], **FILES}
    folder = tmp_path_factory.mktemp("access")
    with Node(folder, "a", engine={"kind": "pocket"}, http=http_section) as made:
        yield made


def new_key(node: Node, name: str, **limits: Any) -> str:
    return KeyFile(node.home / "api-keys.json").add(name, **limits)[0]


def ask(node: Node, key: str, path: str = CHAT, body: Any = None, method: str = "POST") -> tuple[int, Any]:
    given = (chat() if body is None else body) if method == "POST" else None
    return node.request(method, path, given, {"Authorization": f"Bearer {key}" if key else ""})


def raw(
    node: Node, method: str, path: str, headers: Mapping[str, str], body: str = ""
) -> tuple[int, Mapping[str, str], bytes]:
    connection = node._connection()
    connection.request(method, path, body or None, dict(headers))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, data


# -- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/metrics", "/openapi.json"])
@pytest.mark.parametrize("key", ["", "sk-other", "og-short"])
def test_nothing_is_to_be_had_without_a_key(node: Node, path: str, key: str) -> None:
    status, answer = ask(node, key, path, method="GET")
    assert status in (401, 429)
    assert "key" in json.dumps(answer).lower()


def test_health_is_to_be_had_without_a_key(node: Node) -> None:
    assert ask(node, "", "/healthz", method="GET")[0] == 200


def test_a_key_is_counted_listed_and_revoked(node: Node) -> None:
    said = node.cli("keys", "add", "ada", "--per", "day", "--tokens", "1000", "--json")
    assert said.returncode == 0, said.stderr
    key = str(json.loads(said.stdout)["key"])
    status, answer = ask(node, key)
    assert status == 200

    until((node.home / "api-usage.json").exists, "what was used is written down")
    listed = json.loads(node.cli("keys", "list", "--json").stdout)["keys"]
    [ada] = [one for one in listed if one["name"] == "ada"]
    assert ada["used"]["tokens"] == answer["usage"]["total_tokens"]
    assert (ada["tokens"], ada["period"]) == (1000, "day")
    shown = node.cli("keys", "list").stdout
    assert ada["id"] in shown
    assert key not in shown
    assert node.cli("keys", "revoke", "ada").returncode == 0
    until(lambda: ask(node, key)[0] in (401, 429), "the running node has heard of it")


def test_a_key_sees_and_asks_only_its_models(node: Node) -> None:
    key = new_key(node, "ben", models=("other",))
    assert ask(node, key, "/v1/models", method="GET")[1]["data"] == []
    assert ask(node, key, "/api/tags", method="GET")[1]["models"] == []
    assert ask(node, key, body=chat(model="pocket"))[0] == 404


def test_a_budget_ends_an_answer_and_then_all_answers(node: Node) -> None:
    key = new_key(node, "cleo", tokens=30)
    question = chat("Count to 100.", max_tokens=500)
    status, answer = ask(node, key, body=question)
    assert status == 200
    assert answer["choices"][0]["finish_reason"] == "length"
    assert ask(node, key, body=question)[1]["error"]["code"] == "insufficient_quota"


def test_a_key_is_not_the_owners_token(node: Node) -> None:
    key = new_key(node, "dora")
    assert ask(node, key, "/node/status", method="GET")[0] == 401
    assert ask(node, key, "/node/stop", body={})[0] == 401
    assert ask(node, key, "/api/pull", body={"model": "x"})[0] == 403
    assert ask(node, node.token, "/v1/models", method="GET")[0] == 200


def test_a_rate_is_kept_to(node: Node) -> None:
    key = new_key(node, "eve", per_minute=4)
    assert ask(node, key, "/v1/models", method="GET")[0] == 200
    status, answer = ask(node, key, "/v1/models", method="GET")
    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    assert answer["error"]["retry_after"] > 0


@pytest.mark.parametrize(
    "words",
    [
        ["add", ""],
        ["add", "x", "--per", "week"],
        ["add", "x", "--tokens", "-1"],
        ["add", "x", "--credits", "a"],
        ["add", "x", "--credits", "0.0000001"],
        ["revoke", "nobody"],
    ],
)
def test_a_mistake_in_a_command_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(["--home", str(tmp_path), "keys", *words]) in (1, 2)
    assert capsys.readouterr().err.strip()


def test_a_port_that_others_reach_is_not_opened_without_a_key(tmp_path: Path) -> None:
    with (
        pytest.raises(NodeFailed, match="opengateway keys add"),
        Node(tmp_path, "b", http={"host": "0.0.0.0", "port": 0}),
    ):
        pass


# -- pages ------------------------------------------------------------------------------------


def test_a_page_may_send_what_openais_own_client_adds_and_nothing_else(node: Node) -> None:
    wanted = "content-type, x-stainless-os, OpenAI-Beta, x-opengateway-deadline, x-evil, x-stainless-\tbad"
    given = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": wanted,
    }
    allowed = raw(node, "OPTIONS", CHAT, given)[1]["Access-Control-Allow-Headers"].split(", ")
    ours = {"authorization", "content-type", "x-api-key", "x-opengateway-deadline"}
    assert set(allowed) == ours | {"x-stainless-os", "openai-beta"}


def test_a_page_that_is_named_may_ask_and_read(node: Node) -> None:
    status, headers, _ = raw(node, "OPTIONS", CHAT, {"Origin": PAGE, "Access-Control-Request-Method": "POST"})
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert "authorization" in headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in headers
    key = new_key(node, "page")
    status, headers, _ = raw(node, "GET", "/v1/models", {"Origin": PAGE, "Authorization": f"Bearer {key}"})
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, PAGE, "Origin")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://chat.example.org", f"{PAGE}.evil", "null"]
)
@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_a_page_that_is_not_named_may_not(node: Node, origin: str, method: str) -> None:
    given = {"Origin": origin, "Authorization": f"Bearer {node.token}", "Content-Type": "text/plain"}
    status, headers, _ = raw(node, method, CHAT, given, json.dumps(chat()))
    assert status == 403
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_no_page_elsewhere_may_command_the_node(node: Node, method: str) -> None:
    given = {"Origin": PAGE, "Authorization": f"Bearer {node.token}"}
    status, headers, _ = raw(node, method, "/node/gauge", given)
    assert status in (401, 403)
    assert "Access-Control-Allow-Origin" not in headers


def test_a_request_that_a_page_elsewhere_makes_without_saying_so_is_refused(node: Node) -> None:
    given = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert raw(node, "GET", "/v1/models", {**given, "Authorization": f"Bearer {node.token}"})[0] == 403


@pytest.mark.parametrize(("host", "status"), [("node.example.org", 200), ("evil.example", 403)])
def test_a_name_is_this_nodes_only_if_it_was_given_to_it(node: Node, host: str, status: int) -> None:
    assert (
        raw(node, "GET", "/v1/models", {"Host": host, "Authorization": f"Bearer {node.token}"})[0] == status
    )


# -- TLS --------------------------------------------------------------------------------------


def test_the_port_speaks_tls_and_the_command_line_trusts_its_certificate(node: Node) -> None:
    assert node.http.startswith("https://")
    assert node.cli("status").returncode == 0
    said = node.cli("prompt", "What is 2+2?", "--temperature", "0")
    assert said.stdout.strip() == "4", said.stderr


def test_who_speaks_no_tls_or_trusts_another_certificate_gets_nothing(node: Node) -> None:
    host, _, port = node.http.removeprefix("https://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"ok" not in plain.recv(1000)
    connection = http.client.HTTPSConnection(host, int(port), timeout=10)
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/healthz")
    connection.close()


@pytest.mark.parametrize(
    "files",
    [
        {"certificate": str(TLS / "nothing.pem")},
        {"certificate": str(TLS / "certificate.pem")},
        {"certificate": __file__},
        {"certificate_key": str(TLS / "key.pem")},
    ],
)
def test_certificate_files_that_cannot_be_used_are_named(files: dict[str, str]) -> None:
    from opengateway.app.gateway.tls import server_context
    from opengateway.errors import ConfigInvalid

    with pytest.raises(ConfigInvalid, match=r"http\.certificate"):
        server_context(files.get("certificate", ""), files.get("certificate_key", ""))


# -- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/models/../../node/status",
        "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/models/..%5c..%5cconfig.json",
        "/v1//models/../../../config.json",
        "//etc/passwd",
        "/static/../config.json",
        "/files/..%2fidentity.key",
        "/\x00config.json".replace("\x00", "%00"),
    ],
)
def test_no_path_leads_out_of_the_api(node: Node, path: str) -> None:
    status, _, body = raw(node, "GET", path, {"Authorization": f"Bearer {node.token}"})
    assert status in (400, 404)
    assert b"root:" not in body
    assert b"secret" not in body
