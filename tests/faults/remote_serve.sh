#!/bin/bash
# The reward `remote` over `mete serve`: in each protocol the scores are the tree's own, to the bit, and
# what the server has no score for is no score here, with its reason.
set -e
[ -f "$METE_BUILDDIR/plugins/reward/remote.so" ] || { echo "the reward remote is not built"; exit 77; }
cat > tree.cfg <<'C'
reward = { use = "sum"; of = (
  { name = "size"; use = "length"; target = 7.0; width = 3.0; },
  { name = "right"; use = "numeric_answer"; weight = 0.3; } ); };
C
echo 'reward = { use = "length"; target = 7.0; width = 3.0; };' > plain.cfg
PYTHONPATH="$METE_SRCDIR/tests/serve" timeout 120 python3 - <<'P'
import json, subprocess
from serve import Server

rows = [{"prompt": "Ask %d?\n" % i, "response": "so %s\"%d\" \u00fc" % ("o" * (i % 9), i * i), "reference": str(i * i + i % 3)} for i in range(70)]
open("rows.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in rows))

def score(config):
    p = subprocess.run(["mete", "score", config, "--nodes", "--in", "rows.jsonl"], capture_output=True, text=True)
    assert p.returncode == 0, (p.returncode, p.stderr)
    return [json.loads(line) for line in p.stdout.splitlines()]

def remote(port, protocol, **more):
    return score_remote("reward = { use = \"remote\"; url = \"http://127.0.0.1:%d/\"; protocol = \"%s\"; batch = 16; %s };"
                        % (port, protocol, " ".join("%s = %s;" % m for m in more.items())))

def score_remote(text):
    open("remote.cfg", "w").write(text)
    return score("remote.cfg")

own = score("tree.cfg")
assert len({r["reward"] for r in own}) > 9 and len({r["nodes"]["right"]["value"] for r in own}) == 2
with Server("tree.cfg", "--threads", "2", METE_SERVE_TOKEN="s3cret-token") as s:
    open("token", "w").write("s3cret-token\n")
    key = "\"token\""
    for protocol in ("mete", "openrlhf"):
        got = remote(s.port, protocol, fields="[\"reference\"]", signals="[\"size\", \"right\"]", key_file=key)
        assert [r["reward"] for r in got] == [r["reward"] for r in own], protocol
        assert [r["nodes"]["remote"]["signals"] for r in got] == [{n: r["nodes"][n]["value"] for n in ("size", "right")} for r in own]
        # within another tree, with its weight
        got = score_remote("reward = { use = \"sum\"; of = ({ name = \"far\"; weight = 0.5; use = \"remote\"; batch = 9; "
                           "url = \"http://127.0.0.1:%d\"; protocol = \"%s\"; fields = [\"reference\"]; key_file = %s; }); };"
                           % (s.port, protocol, key))
        assert [r["reward"] for r in got] == [r["reward"] * 0.5 for r in own]
    # a wrong token is every row's failure, in a sentence, and not asked again
    got = score_remote("reward = { use = \"remote\"; url = \"http://127.0.0.1:%d\"; };" % s.port)
    assert all(r["reward"] is None and "HTTP 401" in r["reason"] for r in got), got[0]
    s.stop()
own = score("plain.cfg")
with Server("plain.cfg") as s:
    split = {"between": "\"<|im_start|>assistant\\n\""}
    for protocol, more in (("mete", {}), ("openrlhf", {}), ("classify", split), ("classify", dict(split, path="\"/v1/classify\"")),
                           ("predict", {}), ("score", {})):
        got = remote(s.port, protocol, **more)
        assert [r["reward"] for r in got] == [r["reward"] for r in own], protocol
    s.stop()
# a row the server cannot score costs no other row, whatever the protocol says of it
del rows[20]["reference"]
open("rows.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in rows))
own = score("tree.cfg")
with Server("tree.cfg") as s:
    for protocol in ("mete", "openrlhf"):
        got = score_remote("reward = { use = \"remote\"; url = \"http://127.0.0.1:%d\"; protocol = \"%s\"; fields = [\"reference\"]; "
                           "retries = 1; backoff = 0.01; };" % (s.port, protocol))
        assert [r["reward"] for r in got] == [r["reward"] for r in own] and got[20]["reward"] is None, protocol
        assert got[20]["status"] == "failed" and "reference" in got[20]["reason"], got[20]
    s.stop()
P
