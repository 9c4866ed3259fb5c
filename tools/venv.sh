# Sourced by tools/check, tools/quickstart and tools/install.sh: a virtual environment with this project in it.
# shellcheck shell=bash

say_and_exit() { # WHAT HAPPENED, WHAT TO DO
    printf 'error: %s\n' "$1" >&2
    printf '       %s\n' "$2" >&2
    exit 1
}

# macOS still ships bash 3.2, which has no EPOCHREALTIME: whole seconds there.
now() { printf '%s' "${EPOCHREALTIME:-$SECONDS}"; }
seconds_since() { LC_ALL=C awk -v a="${1/,/.}" -v b="$(now | tr , .)" 'BEGIN { printf "%.1f", b - a }'; }

find_python() { # prints the first interpreter that is new enough
    local candidate
    for candidate in ${OPENGATEWAY_PYTHON:+"$OPENGATEWAY_PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    say_and_exit "no Python 3.11 or newer is on PATH (found: $(python3 --version 2>&1 || true))" \
        "install one with your system's packages (Debian: apt install python3 python3-venv; macOS: brew install python), or name it: OPENGATEWAY_PYTHON=/path/to/python3"
}

make_venv() { # FOLDER: made anew when it is missing or its Python is gone
    local folder=$1 python
    if "$folder/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    python=$(find_python) || exit 1
    rm -rf "$folder"
    if ! "$python" -m venv "$folder" >"$folder.log" 2>&1; then
        cat "$folder.log" >&2
        rm -rf "$folder" "$folder.log"
        say_and_exit "$python cannot make a virtual environment" \
            "install its venv module (Debian and Ubuntu: apt install python3-venv), then run this again"
    fi
    rm -f "$folder.log"
}

packaging_hash() { # EXTRA: what an installation depends on
    { cat setup.cfg pyproject.toml; pwd; printf '%s' "$1"; } | cksum
}

install_project() { # FOLDER EXTRA: editable; nothing to do while the packaging is the same
    local folder=$1 extra=$2 stamp="$1/installed-${2:-plain}" current log="$1/install.log"
    current=$(packaging_hash "$extra")
    # What the tests need holds all that the node needs.
    if [ "$(cat "$stamp" 2>/dev/null)" = "$current" ]; then return; fi
    if [ -z "$extra" ] && [ "$(cat "$folder/installed-test" 2>/dev/null)" = "$(packaging_hash test)" ]; then return; fi
    if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        -e ".${extra:+[$extra]}" >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        say_and_exit "installing into $folder failed; pip's last words are above (all of them: $log)" \
            "check the connection and the disk, then run this again; it goes on where it stopped"
    fi
    printf '%s\n' "$current" >"$stamp"
}
