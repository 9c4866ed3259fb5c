"""prompt --dry-run: the price and the verdict, before anybody works."""

from __future__ import annotations

from typing import Any

import typer

from opengateway.app.cli.asking import Asking
from opengateway.app.cli.output import emit_json, facts
from opengateway.app.client import NodeClient
from opengateway.units import show_credits


def show_quote(client: NodeClient, asking: Asking, *, as_json: bool) -> None:
    """Exit code 1 if the node that would be asked would say no."""
    where = f"?scope={asking.scope.value}" if asking.scope else ""
    found = client.post(f"/node/quote{where}", asking.body())
    if as_json:
        emit_json(found)
    else:
        facts(_rows(found))
    if not found["verdict"]["admitted"]:
        raise typer.Exit(1)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    price, tokens, verdict = found["price"], found["tokens"], found["verdict"]
    if found["local"]:
        return [("Node", "this one"), ("Model", found["model"]), ("Price", "nothing: it is your own engine")]
    at_most = f"{tokens['prompt_at_most']} tokens in, {tokens['completion_at_most']} out"
    thousand = [show_credits(1000 * int(price[kind])) for kind in ("prompt", "completion")]
    return [
        ("Node", f"{found['name']} ({found['node']}), {found['ring']}"),
        ("Model", found["model"]),
        ("Price", f"{thousand[0]} credits per 1,000 tokens in, {thousand[1]} per 1,000 out"),
        ("Estimate", f"{show_credits(int(found['estimate']))} credits"),
        ("At most", f"{show_credits(int(found['hold']))} credits, held while it runs ({at_most})"),
        ("Verdict", _verdict(verdict)),
    ]


def _verdict(verdict: dict[str, Any]) -> str:
    if not verdict["admitted"]:
        missing = (
            f"{show_credits(int(verdict['missing']))} credits are missing\n" if verdict["missing"] else ""
        )
        return f"no: {verdict['message']}\n{missing}{verdict['hint']}".rstrip()
    if verdict["unsecured"]:
        return f"yes, on trust: {show_credits(int(verdict['unsecured']))} credits are not covered"
    return "yes: it is covered by your credit there"
