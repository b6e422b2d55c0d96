#!/bin/sh
# Keeps what a version leaves behind, for the tests of those after it (README.md):
#   tests/data/keep.sh FOLDER NAME
# FOLDER has the `entente-node` and `entente` of that version, NAME is its tag or commit. It writes
# home-NAME.tgz and wire-NAME.tgz beside itself.
set -eu
programs=$(cd "$1" && pwd) name=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
old=$work/old
mkdir "$old" && cd "$old"
running=
trap 'kill -9 $running 2>/dev/null || true' EXIT

node() { "$programs/entente-node" "$@"; }
cli() { "$programs/entente" "$@"; }
as() { who=$1; shift; cli "$@" --profile "$who.toml"; }

run() { # HOME: its process is in $pid
    "$programs/entente-node" run --home "$1" 2>>"$work/$1.log" &
    pid=$!
    running="$running $pid"
    until as "$1/profiles/officer" whoami >/dev/null 2>&1; do sleep 0.2; done
}

ends() { # PID
    kill "$1" && wait "$1"
}

offered() { # Waits until all that dk offers is acknowledged.
    until as dk/profiles/officer status --format json |
        grep -q '"acknowledged":'"$1"'[,}].*"behind":0'; do sleep 0.2; done
}

policy() { # FILE: applied, and approved where it widens
    as dk/profiles/administrator policy apply "$1"
    number=$(as dk/profiles/coordinator policy show | sed -n 's/^# waits *\([0-9]*\).*/\1/p')
    [ -z "$number" ] || as dk/profiles/coordinator policy approve "$number"
}

# Two nodes that know each other.
echo 'correct horse battery' >passphrase
cli certs example --out certs dk.politi fr.pj
port=19760
for pair in dk:dk.politi fr:fr.pj; do
    home=${pair%%:*} authority=${pair##*:}
    node init --trial --authority "$authority" --home "$home" --certs certs --contact '+45 1' \
        --exchange-listen 127.0.0.1:$port \
        --desk-listen 127.0.0.1:$((port + 1)) --telemetry-listen 127.0.0.1:$((port + 2))
    cli identity create --authority "$authority" --out "$home.identity" --passphrase-file passphrase
    cli identity sign --key "$home.identity" --passphrase-file passphrase \
        --out "$home/descriptor.jws" "$home/descriptor.draft.json"
    port=$((port + 10))
done
run dk; dk=$pid
run fr; fr=$pid
for way in dk:fr:fr.pj fr:dk:dk.politi; do
    at=${way%%:*} of=$(echo "$way" | cut -d: -f2) authority=${way##*:}
    as "$at/profiles/administrator" peer import "$of/descriptor.jws"
    heard=$(cli identity fingerprint "$of/descriptor.jws" | sed -n 's/^fingerprint *//p')
    as "$at/profiles/coordinator" peer approve "$authority" --fingerprint "$heard"
done
cat >all.toml <<'END'
[[rule]]
name = "all"
peers = ["*"]
level = "view"
claims = ["*", "locations.text"]
END
policy all.toml

# What the homes hold.
cli sample --count 20 --seed 7 >all.jsonl
head -n 11 all.jsonl >before.jsonl
as dk/profiles/officer alert import before.jsonl >/dev/null
offered 11
first=$(as dk/profiles/officer alert list --format json | grep -o 'dk.politi:[0-9-]*' | head -1)
as dk/profiles/officer alert withdraw "$first" --reason 'for the record'
offered 12
as dk/profiles/auditor audit checkpoint --out cp.jws
for home in dk fr; do
    as "$home/profiles/officer" alert list --format json >"$home.list.json"
done
ends $dk; ends $fr
tar -czf "$here/home-$name.tgz" -C "$work" --exclude='*.jsonl' --exclude=all.toml old

# A session: what dk says while its peer is away arrives at once, and its receipts are kept from it.
run dk; dk=$pid
list=$(as dk/profiles/officer alert list --format json | grep -o 'dk.politi:[0-9-]*')
updated=$(echo "$list" | sed -n 1p) withdrawn=$(echo "$list" | sed -n 2p)
sed -n 12,15p all.jsonl >after.jsonl
as dk/profiles/officer alert import after.jsonl >/dev/null
shown=$(as dk/profiles/officer alert show "$updated" --format json | grep -o '"category":"[a-z_]*"')
grep "$shown" all.jsonl | head -1 >draft.json
as dk/profiles/officer alert update "$updated" draft.json
as dk/profiles/officer alert withdraw "$withdrawn" --reason 'for the record'
cat >narrow.toml <<'END'
[[rule]]
name = "objects stay at home"
peers = ["*"]
when = { category = ["object_check", "object_seizure"] }
level = "none"

[[rule]]
name = "all"
peers = ["*"]
level = "view"
claims = ["*", "locations.text"]
END
policy narrow.toml
# The recorder stands where the receiver listened.
mkdir "$work/wire"
sed 's/^listen = "127.0.0.1:19770"/listen = "127.0.0.1:19790"/' fr/entente.toml >moved.toml
mv moved.toml fr/entente.toml
run fr; fr=$pid
timeout 60 "$here/../../target/debug/examples/record" --sender dk --receiver fr \
    --listen 127.0.0.1:19770 --to 127.0.0.1:19790 --out "$work/wire"
kill -9 $dk; wait $dk || true
as fr/profiles/officer alert list --format json >"$work/wire/fr.list.json"
ends $fr
cp -r dk "$work/wire/dk"
tar -czf "$here/wire-$name.tgz" -C "$work" wire
ls -l "$here/home-$name.tgz" "$here/wire-$name.tgz"
