#!/usr/bin/env bash
# schemathesis against /openapi.json of a node with the pocket model: no 5xx, no violation of our own schemas.
#   tools/compat/schemathesis.sh FOLDER [ARGUMENTS OF st run...]
# Makes a virtual environment in FOLDER for schemathesis; the node is this checkout's, and gone afterwards.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ ! -x "$folder/schemathesis/bin/st" ]; then
    python3 -m venv "$folder/schemathesis"
    "$folder/schemathesis/bin/pip" install -q schemathesis
fi
cd "$folder" # it keeps what it found beside it
exec "$here/.venv/bin/python" "$here/tools/compat/with_node.py" "$folder/schemathesis/bin/st" run URL/openapi.json \
    --checks not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance \
    --phases examples,coverage,fuzzing --suppress-health-check too_slow --max-examples 100 --request-timeout 120 "$@"
