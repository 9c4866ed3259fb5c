"""/v1/files and /v1/batches in our OpenAPI document."""

from __future__ import annotations

from typing import Final

from opengateway.app.gateway.batch_routes import MOST_FILES_LISTED, MOST_LISTED
from opengateway.app.gateway.forms import Json
from opengateway.app.gateway.openapi_parts import NUMBER, TEXT, closed, object_of, operation, parameter
from opengateway.batch.lines import ROUTES
from opengateway.batch.record import MOST_METADATA
from opengateway.batch.shelf import PURPOSES

_ABSENT_OR: Final = {"text": {"type": ["string", "null"]}, "number": {"type": ["integer", "null"]}}
_FILE = object_of(
    id=TEXT,
    object={"const": "file"},
    bytes=NUMBER,
    created_at=NUMBER,
    filename=TEXT,
    purpose={"enum": [*PURPOSES, "batch_output"]},
    status={"const": "processed"},
)
_STATES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_BATCH = object_of(
    id=TEXT,
    object={"const": "batch"},
    endpoint={"enum": list(ROUTES)},
    errors={"type": ["object", "null"]},
    input_file_id=TEXT,
    completion_window={"const": "24h"},
    status={"enum": ["validating", *_STATES]},
    output_file_id=_ABSENT_OR["text"],
    error_file_id=_ABSENT_OR["text"],
    created_at=NUMBER,
    expires_at=NUMBER,
    **{f"{state}_at": _ABSENT_OR["number"] for state in _STATES},
    request_counts=object_of(total=NUMBER, completed=NUMBER, failed=NUMBER),
    metadata={"type": ["object", "null"]},
)
_METADATA: Json = {
    "type": "object",
    "maxProperties": MOST_METADATA,
    "propertyNames": {"maxLength": 64},
    "additionalProperties": {"type": "string", "maxLength": 512},
}
_ASKED = closed(
    ["endpoint", "completion_window", "input_file_id"],
    endpoint={"enum": list(ROUTES)},
    completion_window={"const": "24h"},
    input_file_id={"type": "string", "description": "POST /v1/files gives one"},
    metadata=_METADATA,
)
_FORM = closed(
    ["purpose", "file"], purpose={"enum": list(PURPOSES)}, file={"type": "string", "format": "binary"}
)
_ID = [parameter("id", "path", {"type": "string", "minLength": 1})]
_AFTER = parameter("after", "query", TEXT)


def _page_of(one: Json) -> Json:
    page = object_of(
        object={"const": "list"}, data={"type": "array", "items": one}, has_more={"type": "boolean"}
    )
    page["properties"] |= {"first_id": TEXT, "last_id": TEXT}
    return page


def _limit(most: int) -> Json:
    return parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": most})


def _upload() -> Json:
    made = operation("Leave a file for a batch", _FILE)
    return made | {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


def _content() -> Json:
    made = operation("What is in a file", {}, parameters=_ID)
    raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    made["responses"]["200"]["content"] = raw
    made["responses"]["206"] = {"description": "the range that was asked for", "content": raw}
    return made


FILES: Final[Json] = {
    "/v1/files": {
        "post": _upload(),
        "get": operation(
            "The files, newest first",
            _page_of(_FILE),
            parameters=[
                parameter("purpose", "query", TEXT),
                parameter("order", "query", {"enum": ["asc", "desc"]}),
                _limit(MOST_FILES_LISTED),
                _AFTER,
            ],
        ),
    },
    "/v1/files/{id}": {
        "get": operation("One file", _FILE, parameters=_ID),
        "delete": operation(
            "Delete a file",
            object_of(id=TEXT, object={"const": "file"}, deleted={"const": True}),
            parameters=_ID,
        ),
    },
    "/v1/files/{id}/content": {"get": _content()},
    "/v1/batches": {
        "post": operation("Have a file of requests answered", _BATCH, asked=_ASKED),
        "get": operation(
            "The batches, newest first", _page_of(_BATCH), parameters=[_limit(MOST_LISTED), _AFTER]
        ),
    },
    "/v1/batches/{id}": {"get": operation("One batch", _BATCH, parameters=_ID)},
    "/v1/batches/{id}/cancel": {
        "post": operation("End a batch; what is answered is kept", _BATCH, parameters=_ID)
    },
}
