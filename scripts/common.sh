# shellcheck shell=bash
# What the scripts share; sourced, never run.

# sshd, mkfs.btrfs and losetup stand in sbin; rustup's cargo stands in the home directory.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:${HOME:-/root}/.cargo/bin
export PATH

NEEDED_RUST=1.88

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' DIM='' PLAIN=''
fi

heading() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
say() { printf '%s\n' "$*"; }
note() { printf '%s%s%s\n' "$DIM" "$*" "$PLAIN"; }
problem() { printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2; }
die() {
    problem "$*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# Ends the script when there is no Rust that can build this.
need_rust() {
    local found
    have cargo || die "cargo is missing. Install Rust $NEEDED_RUST or newer: with rustup (https://rustup.rs), or from the distribution where its version is new enough."
    found=$(cargo --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$NEEDED_RUST" "$found" | sort -V | head -n 1)" != "$NEEDED_RUST" ]; then
        die "Rust $found is too old, $NEEDED_RUST or newer is needed. Install it with rustup (https://rustup.rs)."
    fi
}

# Where cargo puts what it builds.
target_directory() {
    cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# make_manuals BUILT: manual pages and completions, from the programs of that directory.
make_manuals() {
    rm -rf "$1/manuals"
    "$1/backup-manuals" "$1/manuals"
    gzip --best --no-name --recursive "$1/manuals/man"
}
