"""batch: a file of requests in OpenAI's batch format, answered by the whole network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, is_terminal, note, say, seconds
from opengateway.app.client import NodeClient, not_running
from opengateway.batch.drive import Drive, Progress, Reply
from opengateway.batch.lines import Line, read_body, read_lines
from opengateway.batch.output import Output, OutputForeign, forget_failures
from opengateway.errors import BadRequest, NotEnoughCredit, OpenGatewayError

if TYPE_CHECKING:
    from aiohttp import ClientSession

NOTE_EVERY_S: Final = 10.0
"""Seconds between progress lines where there is no terminal."""
DEADLINE_S: Final = 3600
"""Seconds that one request may wait for a free slot: a batch is in no hurry."""


def batch(
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl", help="Requests, one a line.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="Answers, one a line.")],
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="This model for all, whatever the lines say.")
    ] = "",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask what failed once more; its old line goes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Answer a file of requests in OpenAI's batch format with the whole network.

    As many at once as there are free slots. OUT.jsonl gets each answer as it comes, in any order, errors too.
    Stopped by Ctrl-C, kill or a power cut, the same command goes on where it was: each request has one line
    in the end.
    """
    client = session.node()
    if source.exists() and target.exists() and source.samefile(target):
        raise session.WrongUsage(
            "IN.jsonl and OUT.jsonl are one file", hint="choose another name for the answers"
        )
    try:
        file = source.open("rb")
    except OSError as error:
        raise BadRequest(
            f"cannot read {source}: {(error.strerror or str(error)).lower()}",
            hint="name a file with one request in each line, as OpenAI's batches have them (docs/CLI.md)",
        ) from error
    with file:
        lines = read_lines(file)
        if retry_failed:
            forget_failures(target)
        with Output(target) as output:
            _require_same(lines, output, source)
            if output.torn:
                note("the last line of the output was torn off: that request is asked again")
            try:
                ended = asyncio.run(_run(client, lines, output, file.fileno(), model, quiet=as_json))
            except KeyboardInterrupt:
                note(
                    f"stopped: {len(output.done)} of {len(lines)} are done and kept; the same command goes on"
                )
                raise
            except OpenGatewayError:
                note(
                    f"stopped: {len(output.done)} of {len(lines)} are done and kept; the same command goes on"
                )
                raise
    _report(ended, target, as_json=as_json)


def _require_same(lines: list[Line], output: Output, source: Path) -> None:
    strange = output.done - {line.custom_id for line in lines}
    if strange:
        raise OutputForeign(
            f"{output.path} has an answer to {min(strange)!r}, which {source} does not ask",
            hint="choose another file for the answers, or remove this one",
        )


async def _run(
    client: NodeClient, lines: list[Line], output: Output, descriptor: int, model: str, *, quiet: bool
) -> Progress:
    from aiohttp import ClientSession, ClientTimeout, TCPConnector

    connector = TCPConnector(limit=0)
    async with ClientSession(client.url, connector=connector, timeout=ClientTimeout(total=None)) as http:

        async def capacity() -> int:
            status = await asyncio.to_thread(client.get, "/node/status")
            return int((status.get("jobs") or {}).get("capacity", 1))

        async def ask(line: Line) -> Reply:
            return await _ask(http, line, read_body(descriptor, line, model))

        with _shown(len(lines), quiet=quiet) as changed:
            drive = Drive(lines, output, ask, name=output.path.name, capacity=capacity, changed=changed)
            return await drive.run()


async def _ask(http: ClientSession, line: Line, body: dict[str, Any]) -> Reply:
    """Raises `NotRunning`, and `NotEnoughCredit`, which every other request would meet as well."""
    from aiohttp import ClientConnectorError, ClientError

    try:
        async with http.post(
            line.url, json=body, headers={"x-opengateway-deadline": str(DEADLINE_S)}
        ) as answer:
            content: Any = await answer.read()
            with suppress(ValueError):
                import orjson

                content = orjson.loads(content)
            if answer.status == NotEnoughCredit.status:
                told = content.get("error", {}) if isinstance(content, dict) else {}
                raise NotEnoughCredit(
                    str(told.get("message") or "there is not enough credit for the next request"),
                    hint="serve others for a while, or allow fewer tokens; then the same command goes on",
                )
            request_id = answer.headers.get("x-opengateway-request-id", "")
            after = answer.headers.get("Retry-After", "")
            retry = float(after) if after.isdigit() else None
            return Reply(answer.status, request_id, content, retry)
    except ClientConnectorError as error:
        raise not_running() from error
    except ClientError as error:  # it went away in the middle; a node that is gone is met by the next try
        return Reply(502, "", {"error": {"message": str(error), "code": "worker_lost"}}, 1.0)


@contextmanager
def _shown(total: int, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """What to call with every change of the progress."""
    if quiet:
        yield lambda _: None
    elif is_terminal():
        with _bar(total) as changed:
            yield changed
    else:
        yield _lines()


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns) as bar:
        task = bar.add_task("", total=total)
        yield lambda progress: bar.update(task, completed=progress.done, description=_words(progress))


def _lines() -> Callable[[Progress], None]:
    last = 0.0

    def changed(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= NOTE_EVERY_S and progress.done < progress.total:
            last = time.monotonic()
            note(f"{progress.done} of {progress.total} done, {_words(progress)}")

    return changed


def _words(progress: Progress) -> str:
    eta = progress.eta_s
    told = [
        f"{progress.rate:.1f}/s" if progress.rate else "",
        f"about {seconds(eta)} left" if eta is not None and progress.done < progress.total else "",
        f"{progress.failed} failed" if progress.failed else "",
        f"{progress.running} at once" if progress.running else "",
    ]
    return ", ".join(part for part in told if part) or "begun"


def _report(progress: Progress, target: Path, *, as_json: bool) -> None:
    if as_json:
        counts = {"total": progress.total, "done": progress.done, "failed": progress.failed}
        emit_json(counts | {"resumed": progress.resumed, "output": str(target)})
    else:
        fine = progress.done - progress.failed
        say(
            f"{fine} of {progress.total} answered"
            + (f", {progress.failed} failed" if progress.failed else "")
        )
    if progress.failed:
        note(f"why is in {target}; to ask those again: the same command with --retry-failed")
        raise typer.Exit(1)
