import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from opengateway.errors import ConfigInvalid
from opengateway.models import clusters
from opengateway.models.clusters import ClusterRegistry, cluster_for, fetch, load_local, parse

LISTED = {"clusters": {"us-east-1": {"llama3.2:3b": "east-small", "phi": {"name": "east-phi"}}}}


def test_without_a_registry_names_are_derived_alike_by_every_node() -> None:
    assert cluster_for("us-east-1", "llama3.2") == "us-east-1.llama-3.2-3b"
    assert cluster_for("us-east-1", "Llama-3.2-3B-Instruct-Q4_K_M.gguf") == "us-east-1.llama-3.2-3b"


def test_a_registry_names_what_it_lists_and_leaves_the_rest_derived() -> None:
    found = parse(json.dumps(LISTED).encode(), source="file")
    assert found.cluster_for("us-east-1", "Llama-3.2-3B") == "east-small"
    assert found.cluster_for("us-east-1", "phi-2") == "east-phi"
    assert found.cluster_for("eu-west-1", "phi-2") == "eu-west-1.phi-2-2.7b"
    assert found.clusters() == [
        ("east-phi", "us-east-1", "phi-2-2.7b"),
        ("east-small", "us-east-1", "llama-3.2-3b"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"clusters": []}',
        b'{"clusters": {"r": []}}',
        b'{"clusters": {"r": {"m": 1}}}',
        b'{"clusters": {"r": {"m": ""}}}',
        b'{"clusters": {"r": {"m": "a\\u001b[2J"}}}',
        b'{"clusters": {"r\\n": {"m": "a"}}}',
        b" " * (clusters.MOST_BYTES + 1),
        json.dumps({"clusters": {"r": {f"m{n}": "c" for n in range(clusters.MOST_CLUSTERS + 1)}}}).encode(),
    ],
    ids=range(13),
)
def test_a_registry_that_is_wrong_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigInvalid):
        parse(content, source="network")


def test_a_file_is_read_and_a_missing_one_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "registry.json"
    for location in (str(file), f"file://{file}"):
        assert "no such file" in load_local(location, tmp_path / "kept").warning
    file.write_text(json.dumps(LISTED))
    for location in (str(file), f"file://{file}"):
        found = load_local(location, tmp_path / "kept")
        assert (found.source, found.warning) == ("file", "")


def test_a_fetched_registry_is_kept_and_stands_in_when_its_server_is_gone(tmp_path: Path) -> None:
    kept = tmp_path / "clusters.json"

    async def main() -> tuple[list[ClusterRegistry], str]:
        answers = iter([(200, json.dumps(LISTED)), (500, ""), (200, "no json")])

        async def serve(request: web.Request) -> web.Response:
            status, text = next(answers)
            return web.Response(status=status, text=text)

        app = web.Application()
        app.router.add_get("/r.json", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        location = f"http://127.0.0.1:{runner.addresses[0][1]}/r.json"
        found = [await fetch(location, kept) for _ in range(3)]
        await runner.cleanup()
        return [*found, await fetch(location, kept)], location

    found, location = asyncio.run(main())
    assert [registry.source for registry in found] == ["network", "kept copy", "kept copy", "kept copy"]
    assert all(registry.cluster_for("us-east-1", "phi") == "east-phi" for registry in found)
    assert not found[0].warning
    assert all("the last good copy is used" in registry.warning for registry in found[1:])
    assert load_local(location, kept).source == "kept copy"
    other = load_local("http://127.0.0.1:1/other.json", kept)  # another registry's copy is not this one's
    assert (other.source, dict(other.names)) == ("derived", {})


def test_an_endless_registry_is_cut_off(tmp_path: Path) -> None:
    async def main() -> ClusterRegistry:
        async def serve(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            try:
                while True:
                    await answer.write(b" " * 65536)
            except (ConnectionError, asyncio.CancelledError):
                return answer

        app = web.Application()
        app.router.add_get("/", serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await fetch(f"http://127.0.0.1:{runner.addresses[0][1]}/", tmp_path / "kept")
        finally:
            await runner.cleanup()

    assert "larger than" in asyncio.run(main()).warning
