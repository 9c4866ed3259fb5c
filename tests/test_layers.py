"""The layer table of the style guide, held by reading every import statement.

| importer                             | must not import | because                                    |
|--------------------------------------|-----------------|--------------------------------------------|
| opengateway (except opengateway.app) | actors          | the library is usable without threads      |
| actors.kernel                        | opengateway     | supervision knows nothing of AI or peers   |
| actors                               | opengateway.app | actors are wired by the app, never reverse |

Inside opengateway an import goes down the ladder below, never up and never sideways.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LADDER = (
    ("errors", "units", "closest", "download"),
    ("identity", "home", "regions", "hours"),
    ("wire", "schema", "models", "keys"),
    ("sections",),
    ("config",),
    ("ledger", "discovery", "routing", "engines", "transport", "batch"),
    ("app",),
)
RUNG = {name: rung for rung, names in enumerate(LADDER) for name in names}

MEANINGLESS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
LONGEST_FILE = 300
"""Lines; past that a file wants to be two."""


@dataclass(frozen=True)
class Import:
    importer: str
    """Dotted module name of the file that holds the statement."""

    imported: str
    """Dotted module name, the submodule itself where one is imported from its package."""

    line: int
    types_only: bool = False
    """Stands under `if TYPE_CHECKING`: the layers hold for types too, but no circle arises at run time."""

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.imported}"


def test_the_layer_table_is_kept() -> None:
    broken = [words for found in project_imports() if (words := table_break(found))]
    assert not broken, "\n" + "\n".join(broken)


def test_imports_inside_the_library_go_down_the_ladder() -> None:
    broken = [words for found in project_imports() if (words := ladder_break(found))]
    assert not broken, "\n" + "\n".join(broken)


def test_there_are_no_import_circles() -> None:
    circle = find_circle(project_imports())
    assert not circle, "these modules import each other in a circle: " + " -> ".join(circle)


def test_every_part_of_the_library_has_a_rung() -> None:
    parts = {name.split(".")[1] for name in modules() if name.startswith("opengateway.")} - {"__main__"}
    assert parts <= set(RUNG), f"give these a place in LADDER: {sorted(parts - set(RUNG))}"


def test_no_file_is_longer_than_300_lines() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in sources("opengateway", "actors", "tools")}
    long = [
        f"{path.relative_to(ROOT)} has {lines} lines" for path, lines in sizes.items() if lines > LONGEST_FILE
    ]
    assert not long, f"split these (at most {LONGEST_FILE} lines): " + ", ".join(long)


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for path in sources("opengateway", "actors", "tools", "tests")
        if MEANINGLESS
        & {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
    ]
    assert not vague, f"name these for what they hold: {vague}"


def test_the_tests_are_no_package() -> None:
    packages = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("__init__.py")]
    assert not packages, f"with these, tests/actors would shadow the real actors: {packages}"


def test_a_broken_rule_is_reported_with_its_line_and_reason() -> None:
    def rule(importer: str, imported: str) -> str:
        return table_break(Import(importer, imported, 7)) + ladder_break(Import(importer, imported, 7))

    assert "line 7" in rule("opengateway.wire.session", "actors.kernel")
    assert "without threads" in rule("opengateway.wire.session", "actors.kernel")
    assert "knows nothing of AI" in rule("actors.kernel.mailbox", "opengateway.errors")
    assert "never the reverse" in rule("actors.gauge", "opengateway.app.node")
    assert "siblings" in rule("opengateway.ledger.chain", "opengateway.routing.rings")
    assert "up the ladder" in rule("opengateway.identity", "opengateway.wire.cbor")
    assert not rule("opengateway.app.node", "actors.scheduler")
    assert not rule("actors.scheduler", "opengateway.routing.rings")
    assert not rule("opengateway.ledger.chain", "opengateway.wire.cbor")


def test_a_circle_is_found_and_spelled_out() -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
    assert set(find_circle(Import(one, other, 1) for one, other in pairs)) == {"a", "b", "c"}
    assert find_circle(Import(one, other, 1) for one, other in pairs[:2]) == []
    assert find_circle([Import("a", "b", 1), Import("b", "a", 1, types_only=True)]) == []


def test_every_form_of_import_is_read() -> None:
    known = {"opengateway", "opengateway.wire", "opengateway.wire.cbor", "opengateway.errors"}
    source = """
import opengateway.errors
from opengateway.wire import cbor
from . import cbor as again
from ..errors import PeerError
if TYPE_CHECKING:
    from opengateway import identity
def later():
    from opengateway import wire
"""
    found = list(imports_of("opengateway.wire.messages", source, known))
    assert [i.imported for i in found if i.types_only] == ["opengateway"]
    assert [i.imported for i in found if not i.types_only] == [
        "opengateway.errors",
        "opengateway.wire.cbor",
        "opengateway.wire.cbor",
        "opengateway.errors",
        "opengateway.wire",
    ]


def table_break(found: Import) -> str:
    """The row of the table that an import breaks, in words; empty when it breaks none."""
    table = (
        (within(found.importer, "opengateway") and not within(found.importer, "opengateway.app"), "actors",
         "the library must be usable, and readable, without threads"),
        (within(found.importer, "actors.kernel"), "opengateway",
         "supervision knows nothing of AI, peers or money"),
        (within(found.importer, "actors"), "opengateway.app",
         "actors are wired by the app, never the reverse"),
    )  # fmt: skip
    for applies, forbidden, because in table:
        if applies and within(found.imported, forbidden):
            return f"{found}, but must not import {forbidden}: {because}"
    return ""


def ladder_break(found: Import) -> str:
    ours, theirs = part_of(found.importer), part_of(found.imported)
    if ours == theirs or ours not in RUNG or theirs not in RUNG:
        return ""
    if RUNG[theirs] > RUNG[ours]:
        return f"{found}, which goes up the ladder ({ours} is below {theirs})"
    if RUNG[theirs] == RUNG[ours]:
        return f"{found}, but {ours} and {theirs} are siblings on one level"
    return ""


def find_circle(imports: Iterable[Import]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for found in imports:
        if found.importer != found.imported and not found.types_only:
            graph.setdefault(found.importer, set()).add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def part_of(module: str) -> str:
    """`wire` of `opengateway.wire.cbor`; empty outside the library."""
    names = module.split(".")
    return names[1] if names[0] == "opengateway" and len(names) > 1 else ""


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def modules() -> dict[str, Path]:
    """Dotted name -> file, of both packages."""
    found = {}
    for path in sources("opengateway", "actors"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def project_imports() -> list[Import]:
    known = modules()
    return [
        found
        for name, path in known.items()
        for found in imports_of(name, path.read_text(), known, is_package=path.stem == "__init__")
    ]


def imports_of(
    importer: str, source: str, known: Iterable[str], *, is_package: bool = False
) -> Iterator[Import]:
    """Every import of `source`, also lazy ones in functions and those for type checking only."""
    names, tree = set(known), ast.parse(source)
    types_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    for node in sorted(nodes, key=lambda n: n.lineno):
        for imported in _targets(importer, node, names, is_package=is_package):
            yield Import(importer, imported, node.lineno, types_only=id(node) in types_only)


def _targets(
    importer: str, node: ast.Import | ast.ImportFrom, names: set[str], *, is_package: bool
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    own = importer.split(".")
    above = own[: len(own) - node.level + is_package] if node.level else []
    package = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        submodule = f"{package}.{alias.name}"
        yield submodule if submodule in names else package
