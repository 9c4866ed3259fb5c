"""The HTTP port of a node: which routes there are, and whom they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from actors.messages import Tick
from opengateway.app.gateway.api_keys import KeyFile, Usage
from opengateway.app.gateway.batch_asking import AskInside
from opengateway.app.gateway.batch_desk import BatchDesk
from opengateway.app.gateway.batch_routes import BatchRoutes
from opengateway.app.gateway.callers import Callers
from opengateway.app.gateway.chat_body import Aliases
from opengateway.app.gateway.control import Control
from opengateway.app.gateway.credit_routes import CreditRoutes
from opengateway.app.gateway.dashboard.routes import Dashboard
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.model_routes import ModelRoutes
from opengateway.app.gateway.ollama_api import OllamaApi
from opengateway.app.gateway.ollama_models import OllamaModels
from opengateway.app.gateway.openai_api import OpenAiApi
from opengateway.app.gateway.openapi import OpenApi
from opengateway.app.gateway.picture import Parts
from opengateway.app.gateway.quote_routes import QuoteRoutes
from opengateway.app.gateway.responses_api import ResponsesApi
from opengateway.app.gateway.server import HttpServer
from opengateway.app.gateway.trace_routes import TraceRoutes
from opengateway.app.scrape import Scrape

if TYPE_CHECKING:
    from opengateway.app.node import Node


def http_port(node: Node) -> HttpServer:
    """Not open yet: the Gateway actor opens and closes it."""
    http = node.config.http
    usage = Usage(node.home.api_usage)
    usage.load()
    callers = Callers(
        node.token,
        KeyFile(node.home.api_keys),
        usage,
        always=http.keys == "always",
        per_minute=http.requests_per_minute,
        resolve=Aliases.of(node.config.aliases).resolve,
    )
    asking = AskInside(node.scheduler, node.meter, Aliases.of(node.config.aliases), callers.with_id)
    desk = BatchDesk(node.home.path / "batches", asking, spawn=node.io.task)
    return HttpServer(
        http, node.token, callers, routes=lambda: _routes(node, node.meter, desk), not_ready=node.not_ready
    )


def _routes(node: Node, meter: Meter, desk: BatchDesk) -> list[web.RouteDef]:
    node.io.call(desk.resume)
    parts = Parts(
        root=node.root,
        ledger=node.ledger,
        registry=node.registry,
        discovery=node.discovery,
        swarm_peer=node.swarm_peer,
        gauge=node.gauge,
        scheduler=node.scheduler,
        workers=node.engines.views,
        facts=node.facts,
        stop=node.stopped.set,
        stamp=node.lines.stamping.describe,
    )
    models = ModelRoutes(
        node.home.models,
        node.engines.running,
        look=lambda: node.scout.tell(Tick()),
        release=node.release,
    )
    credit = CreditRoutes(node.ledger, node.registry, node.lines)
    quote = QuoteRoutes(node.scheduler, node.lines)
    aliases = Aliases.of(node.config.aliases)
    patience = node.config.http.patience_s
    openai = OpenAiApi(node.scheduler, meter, aliases, patience_s=patience)
    ollama_models = OllamaModels(
        node.scheduler,
        aliases,
        engines=node.engines.running,
        workers=node.engines.views,
        look=lambda: node.scout.tell(Tick()),
    )
    ollama = OllamaApi(node.scheduler, meter, aliases, ollama_models, patience_s=patience)
    trace = TraceRoutes(node.scheduler)
    dashboard = Dashboard(parts, chat=openai.chat, trace=trace.one, folder=node.home.run)
    scrape = Scrape(parts, meter, lambda: node.http.door.counters if node.http.door is not None else {})
    responses = ResponsesApi(node.scheduler, meter, aliases, patience_s=patience)
    groups = (
        openai,
        responses,
        BatchRoutes(desk),
        OpenApi(),
        ollama,
        ollama_models,
        Control(parts),
        models,
        credit,
        quote,
        trace,
        scrape,
        dashboard,
    )
    return [route for group in groups for route in group.routes()]
