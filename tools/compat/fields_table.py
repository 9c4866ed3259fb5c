"""The tables of fields in docs/COMPATIBILITY.md, made from the table that the gateway reads requests by.

python tools/compat/fields_table.py [--write]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from opengateway.app.gateway.fields import TABLES, Field  # noqa: E402
from opengateway.app.gateway.responses_body import RESPONSES  # noqa: E402
from opengateway.engines.needs import NEEDS  # noqa: E402

ALL = {**TABLES, "response": RESPONSES}
PAGE = ROOT / "docs/COMPATIBILITY.md"
PROBES: tuple[object, ...] = (True, "required", False, "low", 1, {"type": "json_object"}, ["x"], {"1": 1})
"""Values by which an ability is found that a field may want."""


def table(kind: str) -> str:
    rows = ["| field | what becomes of it | needs | note |", "|---|---|---|---|"]
    rows += [_row(field) for field in ALL[kind].values()]
    return "\n".join(rows) + "\n"


def _row(field: Field) -> str:
    what = {
        "engine": "passed to the engine",
        "node": "honoured by the node",
        "label": "accepted, stays on this node",
        "default": f"only {' or '.join(f'`{_json(value)}`' for value in field.only)}",
        "refused": "refused by name",
    }[field.treatment]
    name = f"`{field.name}`" + (" (beyond OpenAI)" if field.extension else "")
    return f"| {name} | {what} | {_ability(field)} | {field.note} |"


def _ability(field: Field) -> str:
    if field.treatment != "engine" or (need := NEEDS.get(field.name)) is None:
        return ""
    fitting = [value for value in PROBES if field.form.fits(value)]
    return ", ".join(dict.fromkeys(f"`{need(value)}`" for value in fitting if need(value)))


def _json(value: object) -> str:
    import json

    return json.dumps(value)


def written(page: str) -> str:
    for kind in ALL:
        mark = re.compile(rf"(<!-- fields: {kind} -->\n).*?(<!-- end -->)", re.DOTALL)
        made = table(kind)
        page = mark.sub(lambda found, made=made: found[1] + made + found[2], page)  # type: ignore[misc]
    return page


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        print("\n".join(f"## {kind}\n\n{table(kind)}" for kind in ALL))
