#!/usr/bin/env bash
# Installs OpenGateway for this user, without root: an own virtual environment, `opengateway` and
# `opengateway-audit` on PATH. Run it again to upgrade; configuration, key and ledger are kept.
#
#   tools/install.sh [--service]            install or upgrade; --service: start it at login (systemd, launchd)
#   tools/install.sh --uninstall [--purge]  remove it; --purge also removes the home with key and credit
#
# OPENGATEWAY_SOURCE    what pip installs (a requirement, path or URL); the checkout of this file if not set
# OPENGATEWAY_PYTHON    the Python to use; the first of at least 3.11 on PATH if not set
set -euo pipefail

share="${XDG_DATA_HOME:-$HOME/.local/share}/opengateway"
bin="$HOME/.local/bin"
node_home="${OPENGATEWAY_HOME:-$HOME/.opengateway}"
commands="opengateway opengateway-audit"
scratch=""

say() { printf '%s\n' "$*"; }

fail() { # WHAT HAPPENED, WHAT TO DO [EXIT CODE]
    printf 'error: %s\n       %s\n' "$1" "$2" >&2
    exit "${3:-1}"
}

usage() { sed -n '2,9p' "$0" | cut -c3-; }

find_python() {
    local candidate
    for candidate in ${OPENGATEWAY_PYTHON:+"$OPENGATEWAY_PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer is on PATH" "install one with your system's packages, or set OPENGATEWAY_PYTHON"
}

source_to_install() { # prints what pip gets
    if [ -n "${OPENGATEWAY_SOURCE:-}" ]; then
        printf '%s' "$OPENGATEWAY_SOURCE"
        return
    fi
    local checkout
    checkout=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." 2>/dev/null && pwd || true)
    if [ ! -f "$checkout/setup.cfg" ] || [ ! -d "$checkout/opengateway" ]; then
        fail "there is no checkout around this script" \
            "clone the repository and run its tools/install.sh, or set OPENGATEWAY_SOURCE to what pip should install"
    fi
    # A copy: building inside the checkout would leave build/ there, whose old files get into later wheels.
    (cd "$checkout" && tar cf - --exclude=__pycache__ \
        setup.cfg pyproject.toml README.md LICENSE opengateway actors) | tar xf - -C "$scratch"
    printf '%s' "$scratch"
}

is_ours() { case "$(readlink "$1" 2>/dev/null || true)" in "$share"/*) return 0 ;; *) return 1 ;; esac; }

install_it() { # SERVICE
    local python source command
    for command in $commands; do
        if [ -e "$bin/$command" ] && ! is_ours "$bin/$command"; then
            fail "$bin/$command exists and is not from this installer" "move it away, then run this again"
        fi
    done
    python=$(find_python)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    source=$(source_to_install)
    mkdir -p "$share" "$bin"
    if ! "$share/venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "making a virtual environment with $("$python" --version) in $share/venv"
        rm -rf "$share/venv"
        "$python" -m venv "$share/venv" >"$share/install.log" 2>&1 ||
            fail "$python cannot make a virtual environment (see $share/install.log)" \
                "install its venv module (Debian and Ubuntu: apt install python3-venv), then run this again"
    fi
    say "installing OpenGateway and what it needs (a minute or two the first time)"
    "$share/venv/bin/python" -m pip install --disable-pip-version-check --upgrade "$source" \
        >"$share/install.log" 2>&1 || {
        tail -n 15 "$share/install.log" >&2
        fail "the installation failed; pip's last words are above (all of them: $share/install.log)" \
            "check the connection and the disk, then run this again; an older version stays as it was"
    }
    for command in $commands; do ln -sfn "$share/venv/bin/$command" "$bin/$command"; done
    say "installed: $("$bin/opengateway" version 2>/dev/null || echo opengateway)"
    [ "$1" = no ] || install_service
    case ":$PATH:" in
        *":$bin:"*) ;;
        *) say "$bin is not on your PATH yet; add this line to your shell's profile:  export PATH=\"\$HOME/.local/bin:\$PATH\"" ;;
    esac
    if [ "$1" = no ] && "$bin/opengateway" status >/dev/null 2>&1; then
        say "a node is running with the version before this one; next:  opengateway restart"
    elif [ "$1" = no ]; then
        say "next:  opengateway start"
    fi
}

install_service() { OPENGATEWAY_HOME="$node_home" "$bin/opengateway" service install; }

uninstall_it() { # PURGE
    local command
    if [ -x "$share/venv/bin/opengateway" ]; then
        OPENGATEWAY_HOME="$node_home" "$share/venv/bin/opengateway" service remove >/dev/null 2>&1 || true
        OPENGATEWAY_HOME="$node_home" "$share/venv/bin/opengateway" stop >/dev/null 2>&1 || true
    fi
    for command in $commands; do
        if is_ours "$bin/$command"; then rm -f "$bin/$command"; fi
    done
    rm -rf "$share"
    say "OpenGateway is removed"
    if [ "$1" = yes ] && [ -e "$node_home" ]; then
        # A mistyped OPENGATEWAY_HOME must not cost anyone their files.
        [ -e "$node_home/identity.key" ] || [ -e "$node_home/config.json" ] ||
            fail "$node_home does not look like a node's home, so it is kept" "look into it and remove it yourself"
        rm -rf "$node_home"
        say "and with it $node_home: configuration, key, credit and models"
    elif [ -e "$node_home" ]; then
        say "$node_home is kept, with configuration, key and credit; --uninstall --purge removes it too"
    fi
}

main() {
    local action=install service=no purge=no
    for argument in "$@"; do
        case "$argument" in
            --service) service=yes ;;
            --uninstall) action=uninstall ;;
            --purge) purge=yes ;;
            -h | --help) usage && exit 0 ;;
            *) fail "unknown argument $argument" "see:  $0 --help" 2 ;;
        esac
    done
    if [ "$purge" = yes ] && [ "$action" = install ]; then
        fail "--purge goes with --uninstall only" "to remove everything:  $0 --uninstall --purge" 2
    fi
    if [ "$action" = install ]; then install_it "$service"; else uninstall_it "$purge"; fi
}

main "$@"
