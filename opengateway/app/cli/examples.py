"""Examples of every command: the end of its --help, and of its part of docs/CLI.md. A test parses them all.

One command needs at least one. `{path: ((what is typed, what it does), ...)}`; a path is what stands between
`opengateway` and the options.
"""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperCommand

Examples = tuple[tuple[str, str], ...]

EXAMPLES: Final[dict[str, Examples]] = {
    "start": (
        ("opengateway start", "find an engine and peers, and go on in the background"),
        ("opengateway start --engine pocket", "serve the small model that comes with the program"),
        ("opengateway start --foreground --set log.level=debug", "stay here and tell more"),
        (
            "opengateway --home ~/second start --set http.port=0 --set wire.port=0",
            "a second node here",
        ),
    ),
    "stop": (("opengateway stop", "end the node; peers get a goodbye"),),
    "restart": (
        ("opengateway restart", "begin anew, with what config.json says now"),
        ("opengateway restart --engine ollama", "another engine, for this run"),
    ),
    "status": (
        ("opengateway status", "what the node does, and what is wrong if something is"),
        ("opengateway status --json | jq .credit.balance", "one figure for a program (micro-credits)"),
    ),
    "dashboard": (
        ("opengateway dashboard", "open the page in a browser"),
        ("opengateway dashboard --print", "print the address, to open it elsewhere on this machine"),
        ("ssh -L 11435:127.0.0.1:11435 host opengateway dashboard --print", "of a node on another machine"),
    ),
    "top": (
        ("opengateway top", "peers, jobs, actors and credit, live; q ends it"),
        ("opengateway top --count 1", "one look in plain lines"),
        ("opengateway top --plain --interval 10 >> node.txt", "a record to read later"),
    ),
    "batch": (
        ("opengateway batch in.jsonl out.jsonl", "answer a file; the same command goes on after a stop"),
        ("opengateway batch in.jsonl out.jsonl -m llama3.1:8b", "by this model, whatever the lines say"),
        ("opengateway batch in.jsonl out.jsonl --retry-failed", "ask again what was an error"),
    ),
    "prompt": (
        ('opengateway prompt "Why is the sky blue?"', "ask; the answer comes as it is made"),
        ('opengateway prompt "What is 2+2?" --stats', "and who answered, how fast, for how much"),
        ("opengateway prompt -m llama3.1:8b < letter.txt", "the text from a file, a model of your choice"),
        ('opengateway prompt "Translate this" --local', "on this computer only"),
        ("opengateway prompt", "a conversation; /exit ends it"),
    ),
    "peers": (
        ("opengateway peers", "who is there, nearest first"),
        ("opengateway peers --json | jq -r '.peers[].name'", "their names"),
    ),
    "map": (
        ("opengateway map", "the network as seen from here"),
        ("opengateway map --png map.png", "as a picture"),
    ),
    "clusters": (("opengateway clusters", "groups of nodes with one model in one region"),),
    "connect": (
        ("opengateway connect 192.0.2.7:11436", "keep a session with the node at this address"),
        ("opengateway connect k3j5", "with one that is known, by the beginning of its id"),
    ),
    "disconnect": (("opengateway disconnect ben", "end the session with this peer, and do not redial it"),),
    "invite": (
        ("opengateway invite", "a line for a friend; it holds the network's secret"),
        ("opengateway invite --days 1", "good for a day"),
    ),
    "audit": (
        ("opengateway audit ben.ledger", "check an exported ledger: signatures, links, totals"),
        ("opengateway audit pair ben.ledger cleo.ledger", "whether two nodes say the same of each other"),
        ("opengateway audit net exports/", "all ledgers of a folder: forks, rings, what is at risk"),
    ),
    "models": (("opengateway models", "what this node serves, and what can be asked for"),),
    "models list": (("opengateway models list", "the same"),),
    "models pull": (("opengateway models pull llama3.2:3b", "have this node's Ollama fetch a model"),),
    "models rm": (("opengateway models rm llama3.2:3b", "remove it again"),),
    "models import": (
        ("opengateway models import ~/Downloads/qwen2.5-7b-q4_k_m.gguf", "serve a GGUF file"),
        ("opengateway models import model.gguf --name mine", "under a name of your choice"),
    ),
    "bootstrap": (("opengateway bootstrap verify nodes.json", "what a list is worth"),),
    "bootstrap make": (
        (
            "opengateway bootstrap make nodes.json --node ID@198.51.100.4:11436",
            "a list, not yet signed",
        ),
    ),
    "bootstrap sign": (("opengateway bootstrap sign nodes.json --key publisher.key", "put your name to it"),),
    "bootstrap verify": (("opengateway bootstrap verify nodes.json", "who signed it, and is that enough"),),
    "bootstrap key": (("opengateway bootstrap key publisher.key", "a publisher's key; keep it offline"),),
    "ledger": (("opengateway ledger", "the balance"),),
    "ledger balance": (("opengateway ledger balance --json", "in micro-credits, for a program"),),
    "ledger history": (("opengateway ledger history -n 20", "the last twenty entries"),),
    "ledger peers": (("opengateway ledger peers", "who owes whom how much"),),
    "ledger export": (
        ("opengateway ledger export ada.ledger", "the whole chain, for anybody to audit"),
        ("opengateway ledger export ada.ledger --tiles tiles/", "and as a transparency log"),
    ),
    "ledger repair": (
        ("opengateway ledger repair", "after an old copy of the home was put back"),
        ("opengateway ledger repair --accept ben", "take a disputed account as ben shows it"),
    ),
    "ledger transfer": (
        ("opengateway ledger transfer 0.5 --from ben --to cleo", "what ben owes you, cleo gets"),
    ),
    "gauge": (("opengateway gauge", "measure this machine anew"),),
    "resources": (("opengateway resources", "processor, memory, graphics, and how busy they are"),),
    "eligible": (("opengateway eligible", "which models this machine may serve"),),
    "actors": (
        ("opengateway actors --watch", "the parts of the node at work"),
        ("opengateway actors --stack scheduler", "where one of them is in the program"),
    ),
    "config": (("opengateway config", "the settings that differ from the defaults"),),
    "config get": (
        ("opengateway config get", "every setting with its value"),
        ("opengateway config get http.port", "one of them"),
    ),
    "config set": (
        ("opengateway config set region eu-west-1", "where this node is"),
        ("opengateway config set contribute.when idle", "lend the machine only while you do not use it"),
    ),
    "config unset": (("opengateway config unset http.port", "back to the default"),),
    "config check": (("opengateway config check", "every mistake in config.json at once"),),
    "key": (("opengateway key show", "who this node is"),),
    "key show": (("opengateway key show", "the node's id"),),
    "key backup": (("opengateway key backup ada.key.backup", "encrypted with a passphrase"),),
    "key rotate": (
        ("opengateway key rotate", "a new key, by the recovery key; all accounts follow"),
        (
            "opengateway key rotate --lost --from ada.key.backup",
            "the same where the old key is lost or stolen",
        ),
    ),
    "key restore": (("opengateway key restore ada.key.backup", "the node is itself again, on another disk"),),
    "keys": (("opengateway keys list", "who else may use this node"),),
    "keys add": (("opengateway keys add laptop", "a key for another user or machine; shown once"),),
    "keys list": (("opengateway keys list", "the keys, what they may use, and what they used"),),
    "keys revoke": (("opengateway keys revoke laptop", "end a key at once"),),
    "logs": (
        ("opengateway logs -f", "follow what the node says"),
        ("opengateway logs -n 200", "the last 200 lines"),
    ),
    "doctor": (
        ("opengateway doctor", "check port, link, DHT, router, engine, clock and disk"),
        ("opengateway doctor --json > report.json", "safe to paste: it holds no key and no prompt"),
    ),
    "service": (("opengateway service install", "start the node at login"),),
    "service install": (
        ("opengateway service install", "write the file, start the node by it, and at every login"),
        ("opengateway service install --print", "see the file first"),
    ),
    "service remove": (("opengateway service remove", "stop that; configuration, key and credit stay"),),
    "trace": (
        ("opengateway trace", "how the newest request found its answer"),
        ("opengateway trace --list", "the requests that the node remembers"),
        ("opengateway trace req-1fe300612658001a", "one of them, by its id"),
    ),
    "version": (("opengateway version", "what to name in a report"),),
}


def epilog(path: str, before: str = "") -> str:
    """The examples as the end of a help page, in Rich's markup; `before` is what stands there already."""
    shown = [f"[cyan]{_plain(typed)}[/]  [dim]# {_plain(does)}[/]" for typed, does in EXAMPLES.get(path, ())]
    parts = ["[bold]Examples[/]", *shown] if shown else []
    return "\n\n".join([*([before] if before else []), *parts])


class Command(TyperCommand):
    """A flag takes no value, so its help names none: Typer's says <bool>, as if one had to be typed."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)
        for one in params:
            if getattr(one, "is_flag", False) and one.metavar is None:
                one.metavar = ""
        return params


def add_to(app: Any, path: tuple[str, ...] = ()) -> None:
    """Put the examples below the help of every command of a Typer application."""
    for info in app.registered_commands:
        name = info.name or info.callback.__name__.replace("_", "-")
        info.epilog = epilog(" ".join((*path, name)), info.epilog or "") or None
        info.cls = Command
    for group in app.registered_groups:
        name = group.name
        group.epilog = epilog(" ".join((*path, name))) or None
        add_to(group.typer_instance, (*path, name))


def _plain(text: str) -> str:
    """What Rich would take for markup is none."""
    return text.replace("[", "\\[")
