"""The sections of config.json: every setting with its default, its doc and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from opengateway.schema import MOST_PORT, setting


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    name: str = setting("opengateway", "nodes meet only inside one network name", form="word")
    secret: str = setting("", "makes the network private: who lacks it cannot join", secret=True)


@dataclass(frozen=True, slots=True)
class HttpConfig:
    host: str = setting("127.0.0.1", "address that programs on this machine ask", form="word")
    port: int = setting(11435, "its port; 0 takes any free one", most=MOST_PORT)
    names: tuple[str, ...] = setting((), "host names by which others reach it", form="words")
    keys: str = setting(
        "auto",
        "who needs an API key: auto, whoever is not on this machine; always, everybody",
        one_of=("auto", "always"),
    )
    origins: tuple[str, ...] = setting((), "web pages elsewhere that may use it (CORS)", form="origins")
    certificate: str = setting("", "PEM file with the certificate chain; turns on TLS")
    certificate_key: str = setting("", "PEM file with its private key")
    body_mib: int = setting(16, "MiB that one request may have", least=1, most=256)
    requests_per_minute: int = setting(
        0, "of one API key or remote address; 0 is without limit", most=1_000_000
    )
    patience_s: int = setting(120, "seconds that a request waits for a free slot", least=1, most=86_400)


@dataclass(frozen=True, slots=True)
class WireConfig:
    host: str = setting("*", 'address that other nodes dial; "*" is every interface', form="word")
    port: int = setting(11436, "its port; 0 takes any free one", most=MOST_PORT)
    bootstrap: tuple[str, ...] = setting((), 'nodes to dial at start, each "host:port"', form="entries")
    map_port: bool = setting(
        default=True, doc="where nobody gets in, ask the router for a port (NAT-PMP, UPnP)"
    )


@dataclass(frozen=True, slots=True)
class RelayConfig:
    enabled: bool = setting(default=True, doc="pass sealed traffic on for nodes that cannot be dialled")
    kbytes_per_s: int = setting(2500, "for all of them together; 0 is without limit", most=10_000_000)


@dataclass(frozen=True, slots=True)
class LanConfig:
    enabled: bool = setting(default=True, doc="find nodes on this link by multicast DNS, and be found")


@dataclass(frozen=True, slots=True)
class DhtConfig:
    enabled: bool = setting(default=True, doc="find nodes anywhere by a distributed hash table, and be found")
    port: int = setting(11437, "its UDP port, or one of the ten after it; 0 takes any", most=MOST_PORT)
    mainline: bool = setting(default=False, doc="use BitTorrent's public DHT instead of a network of our own")
    entries: tuple[str, ...] = setting((), 'DHT nodes to enter it by, each "host:port"', form="endpoints")


@dataclass(frozen=True, slots=True)
class BootstrapConfig:
    source: str = setting("", "signed list of nodes to enter the network by", form="location")
    publishers: tuple[str, ...] = setting((), "ids whose signatures on that list count", form="nodes")
    needed: int = setting(1, "how many of them must have signed it", least=1, most=32)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    kind: str = setting(
        "auto",
        "what runs the models; auto takes the first found, none only asks others",
        one_of=("auto", "none", "pocket", "llama_server", "ollama", "openai"),
    )
    url: str = setting("", "base URL of an ollama or openai engine", form="url")
    api_key: str = setting("", "key that this engine wants", secret=True)
    model: str = setting("", "GGUF file or model name to serve; empty serves what the engine has")
    slots: int = setting(0, "requests answered at once; 0 chooses", most=256)
    threads: int = setting(0, "CPU threads; 0 takes one less than there are cores", most=1024)
    context: int = setting(0, "tokens of context per slot; 0 chooses", most=10_000_000)
    abilities: tuple[str, ...] = setting(
        (), "what an openai engine can do beyond the usual: vision, reasoning, insert ...", form="words"
    )


@dataclass(frozen=True, slots=True)
class ContributeConfig:
    when: str = setting("always", "when others may use this machine", one_of=("always", "idle", "never"))
    hours: tuple[str, ...] = setting(
        (), "only then: 22:00-07:00, mon-fri 18:00-23:30, sat+sun 00:00-24:00", form="hours"
    )
    on_battery: bool = setting(default=False, doc="also while the machine runs on battery")
    busy_percent: int = setting(25, "of CPU or GPU by your own programs is not idle", least=1, most=100)
    cpu_percent: int = setting(100, "of the CPU cores that a started engine may use", least=1, most=100)
    slots: int = setting(0, "how many slots others may use; 0 is all", most=256)
    friends: tuple[str, ...] = setting((), "ids of nodes that go before others", form="nodes")


@dataclass(frozen=True, slots=True)
class PriceConfig:
    multiplier_percent: int = setting(100, "of the usual price; 0 serves for nothing", least=0, most=10_000)


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    sweep_to: str = setting("", "id of your main node, which is to get what others owe this one", form="node")
    own_nodes: tuple[str, ...] = setting((), "ids of your other nodes that sweep to this one", form="nodes")


@dataclass(frozen=True, slots=True)
class LogConfig:
    level: str = setting("info", "least important message kept", one_of=("debug", "info", "warning", "error"))
    format: str = setting(
        "text", "how a line is written: for people, or as JSON for programs", one_of=("text", "json")
    )
    requests: bool = setting(default=False, doc="a line for each request: id, place, time; never its text")
