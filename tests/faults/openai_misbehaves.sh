#!/bin/bash
# A remote model whose endpoint does all that endpoints do: each row ends with a status and a
# sentence, or an answer; nothing hangs; nothing that is written holds the key.
set -e
[ -f "$METE_BUILDDIR/plugins/policy/openai.so" ] || { echo "the policy openai is not built"; exit 77; }
rm -rf run cache.sqlite* port seen.jsonl
python3 "$METE_SRCDIR/tests/faults/endpoint.py" & server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for _ in $(seq 100); do [ -f port ] && break; sleep 0.1; done
export TEST_API_KEY=sk-test-8f3a91c2d7e64b05
cat > a.cfg <<C
run = { seed = 1; };
models = { m = { use = "openai"; url = "http://127.0.0.1:$(cat port)/v1/"; model = "fake"; key_env = "TEST_API_KEY";
    timeout = 1.5; connect_timeout = 1; retries = 2; backoff = 0.02; backoff_most = 0.1; give_up = 20;
    answer_limit = 1000000; price_in = 1.0; price_out = 2.0; retry_share = 5; concurrency = 40;
    extra = "{\"user\": \"tester\"}"; }; };
C
words="ok 429once 429after 429date 429long 429 400 401 404 500 500once 503 late stops drips reset resetonce html half
    halfonce cut two none empty null twice deep big loop away leak leakescaped escapes"
for w in $words; do printf '{"id":"%s","prompt":"%s please"}\n' $w $w; done > in.jsonl
# One prompt a call would take a minute of waiting; together they wait side by side.
rc=0; timeout 60 mete generate a.cfg --model m --file in.jsonl --json > out.jsonl 2> err.txt || rc=$?
[ $rc = 1 ]
python3 - <<'P'
import json
rows = {r["id"]: r for r in map(json.loads, open("out.jsonl"))}
seen = [json.loads(l) for l in open("seen.jsonl")]
tries = {w: max([s["try"] for s in seen if s["word"] == w], default=0) for w in rows}
at = {w: sorted(s["at"] for s in seen if s["word"] == w) for w in rows}
for w in "ok 429once 429after 429date 500once resetonce halfonce".split():
    assert rows[w].get("response") == "you said %s please" % w, (w, rows[w])
    assert tries[w] == (1 if w == "ok" else 2), (w, tries[w])
assert rows["ok"]["prompt_tokens"] == 7 and rows["ok"]["answer_tokens"] == 3
assert abs(rows["ok"]["cost"] - 13e-6) < 1e-12, rows["ok"]
assert at["429after"][1] - at["429after"][0] >= 1
assert at["429date"][1] - at["429date"][0] >= 1  # dates have whole seconds
want = {  # word: status, part of the sentence, tries
    "429long": ("timed_out", "HTTP 429", 1), "429": ("failed", "HTTP 429", 3), "500": ("failed", "HTTP 500", 3),
    "503": ("failed", "HTTP 503", 3), "400": ("failed", "HTTP 400", 1), "401": ("failed", "HTTP 401", 1),
    "404": ("failed", "HTTP 404", 1), "late": ("timed_out", "timed out", 3), "stops": ("timed_out", "timed out", 3),
    "drips": ("timed_out", "timed out", 3), "reset": ("failed", "no answer", 3), "html": ("failed", "no JSON", 2),
    "half": ("failed", "no JSON", 2), "cut": ("failed", "no answer", 3), "two": ("failed", "2 choices", 2),
    "none": ("failed", "0 choices", 2), "empty": ("failed", "empty", 2), "null": ("failed", "no text", 2),
    "twice": ("failed", "no JSON", 2), "deep": ("failed", "no JSON", 2), "big": ("failed", "answer_limit", 1),
    "loop": ("failed", "redirects (HTTP 302)", 1), "away": ("failed", "redirects (HTTP 307)", 1),
    "leak": ("failed", "repeats the API key", 1), "leakescaped": ("failed", "repeats the API key", 1)}
for w, (status, says, n) in want.items():
    r = rows[w]
    assert r.get("status") == status and says in r["reason"] and len(r["reason"]) < 500, (w, r)
    assert tries[w] == n or w == "late", (w, tries[w])
assert rows["escapes"]["response"].startswith("\x1b")  # JSON escapes it
assert set(want) | {"ok", "429once", "429after", "429date", "500once", "resetonce", "halfonce", "escapes"} == set(rows)
first = next(s for s in seen if s["word"] == "ok")
assert first["path"] == "/v1/chat/completions" and first["body"]["user"] == "tester", first
assert first["body"]["seed"] >= 0 and first["body"]["temperature"] == 1 and first["body"]["logprobs"] is True
P
if grep -q "$(printf '\033')" out.jsonl err.txt; then echo "wrong: faults"; exit 9; fi
mete generate a.cfg --model m --prompt escapes --quiet > plain.txt
if grep -q "$(printf '\033')" plain.txt; then echo "wrong: faults"; exit 9; fi

# No more than so many at once.
sed 's/concurrency = 40/concurrency = 3/' a.cfg > three.cfg
for i in $(seq 24); do echo "{\"prompt\":\"wait $i\"}"; done > many.jsonl
mete generate three.cfg --model m --file many.jsonl --quiet > many.txt
[ "$(grep -c waited many.txt)" = 24 ]
python3 - <<'P'
import json
at = [json.loads(l) for l in open("seen.jsonl")]
times = sorted(s["at"] for s in at if s["word"] == "wait")
# With three side by side, the fourth starts after one of the first three ended: 0.05 s.
assert all(b - a >= 0.04 for a, b in zip(times, times[3:])), times
P

# An endpoint that is gone: the rest is not asked.
for i in $(seq 200); do echo "{\"prompt\":\"500 $i\"}"; done > gone.jsonl
rc=0; timeout 60 mete generate three.cfg --model m --file gone.jsonl --json > gone.txt 2> err2.txt || rc=$?
[ $rc = 1 ]
[ "$(wc -l < gone.txt)" = 200 ]
grep -q 'not asked, as 20 questions in a row' gone.txt
[ "$(grep -c '"500 ' seen.jsonl)" -lt 120 ]

# The cache: asked once, by any command; an exact replay needs no endpoint and no key.
sed 's/price_in/cache = "cache.sqlite"; price_in/' a.cfg > cache.cfg
head -n 1 in.jsonl > ok.jsonl; echo '{"id":"drawn","prompt":"hello"}' >> ok.jsonl
mete generate cache.cfg --model m --file ok.jsonl --json --quiet > c1.txt
lines=$(wc -l < seen.jsonl)
mete generate cache.cfg --model m --file ok.jsonl --json --quiet > c2.txt
[ "$(wc -l < seen.jsonl)" = "$lines" ]
grep -q '"cached":true' c2.txt
# Another seed is another draw; without a temperature there is none.
mete generate cache.cfg --model m --file ok.jsonl --json --quiet --seed 9 > /dev/null
[ "$(wc -l < seen.jsonl)" = $((lines + 2)) ]
mete generate cache.cfg --model m --file ok.jsonl --temperature 0 --quiet > /dev/null
mete generate cache.cfg --model m --file ok.jsonl --temperature 0 --quiet --seed 9 > /dev/null
[ "$(wc -l < seen.jsonl)" = $((lines + 4)) ]
# Two processes, one cache.
for i in $(seq 60); do echo "{\"prompt\":\"both $i\"}"; done > both.jsonl
mete generate cache.cfg --model m --file both.jsonl --quiet > b1.txt & other=$!
mete generate cache.cfg --model m --file both.jsonl --quiet > b2.txt; wait $other
cmp b1.txt b2.txt
python3 -c '
import sqlite3
db = sqlite3.connect("cache.sqlite")
assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
assert db.execute("SELECT count(*) FROM reply").fetchone()[0] == 66, db.execute("SELECT count(*) FROM reply").fetchone()'

# Several draws of a question in one request, where the endpoint knows `n`; else one by one.
several () { # word, most in a request, samples -> several.jsonl, asked.json
    lines=$(wc -l < seen.jsonl)
    sed 's/price_in/n = '"$2"'; price_in/' cache.cfg > n.cfg
    rc=0; mete generate n.cfg --model m --prompt "$1" --n "$3" --json --quiet > several.jsonl || rc=$?
    tail -n +$((lines + 1)) seen.jsonl > asked.jsonl
}
cat > several.py <<'P'
import json, sys
rows = [json.loads(l) for l in open("several.jsonl")]
asked = [json.loads(l)["body"].get("n", 1) for l in open("asked.jsonl")]
def told(name):
    return sum(r[name] for r in rows)
P
several draws 4 6 # what is paid for is told once: the prompt of each request, the tokens of all answers
cp several.jsonl six.jsonl
python3 - <<'P'
exec(open("several.py").read())
assert sorted(asked) == [2, 4] and len({r["response"] for r in rows}) == 6, (asked, rows)
assert told("prompt_tokens") == 14 and told("answer_tokens") == 3 * 6 + 2, rows
assert abs(told("cost") - (14 + 2 * 20) * 1e-6) < 1e-12, rows
P
several draws 4 6 # each draw was kept
[ "$(wc -l < asked.jsonl)" = 0 ]
python3 - <<'P'
exec(open("several.py").read())
paid = [json.loads(l) for l in open("six.jsonl")]
for a, b in zip(paid, rows):
    assert all(a[k] == b[k] for k in ("response", "prompt_tokens", "answer_tokens")) and b["cached"], (a, b)
P
several draws 4 9 # and only new ones are asked for
python3 - <<'P'
exec(open("several.py").read())
assert asked == [3] and len({r["response"] for r in rows}) == 9, (asked, rows)
P
for word in refuses ignores fewer hollow more broke; do
    several $word 4 6
    python3 - $word $rc <<'P'
exec(open("several.py").read())
word, rc = sys.argv[1], int(sys.argv[2])
fails = {"more": "has 5 choices where 4 were", "broke": "HTTP 402"}.get(word)
assert rc == (1 if fails else 0), rc
want = {"refuses": [4, 2] + [1] * 6, "ignores": [4, 2] + [1] * 4, "fewer": [4, 2] + [1] * 2,
        "hollow": [4, 2] + [1] * 2, "more": [4, 2] * 2, "broke": [4, 2]}[word]
assert sorted(asked) == sorted(want), (word, asked)
if fails:
    assert all(r["status"] == "failed" and "choices where" in r["reason"] or fails in r["reason"] for r in rows), rows
else:
    assert len({r["response"] for r in rows}) == 6, rows
P
done
# What an endpoint does not know is noted: the second prompt, of another call, is asked about one by one at once.
printf '{"prompt":"refuses first"}\n{"prompt":"refuses second"}\n' > refuses.jsonl
lines=$(wc -l < seen.jsonl)
sed 's/price_in/n = 128; price_in/' a.cfg > n.cfg
mete generate n.cfg --model m --file refuses.jsonl --n 256 --quiet > /dev/null
tail -n +$((lines + 1)) seen.jsonl > asked.jsonl
python3 - <<'P'
import json
rows = [json.loads(l) for l in open("asked.jsonl")]
asked = {w: [r["body"].get("n", 1) for r in rows if r["text"] == "refuses " + w] for w in ("first", "second")}
assert asked["first"][:2] == [128, 128] and asked["first"][2:] == [1] * 256 == asked["second"], asked
P

# Choices by the chances of the first token; rows in a reward.
cat > score.cfg <<C
@include "cache.cfg"
reward = { use = "asks"; judge = "m"; };
C
for w in sure unsure other plain 401; do echo "{\"response\":\"$w\"}"; done > score.jsonl
export METE_PLUGIN_PATH="$METE_PLUGIN_PATH:$METE_BUILDDIR/tests/plugins"
lines=$(wc -l < seen.jsonl)
mete check score.cfg > check.txt 2>&1
[ "$(wc -l < seen.jsonl)" = "$lines" ] # a check costs nothing
mete score score.cfg --in score.jsonl --quiet > scores.txt
python3 - <<'P'
import json
rows = [json.loads(l) for l in open("scores.txt")]
assert abs(rows[0]["reward"] - .8 / .95) < 1e-6, rows[0]    # yes .8; No .1 and " no" .05 are one
# " Yes" .6 told; no at most .2, the least that was told
assert abs(rows[1]["reward"] - .6 / .8) < 1e-6, rows[1]
assert rows[2]["reward"] is None and "'maybe', which is none" in rows[2]["reason"], rows[2]
assert rows[3]["reward"] == 1, rows[3]                      # no log-probabilities: what it said
assert rows[4]["reward"] is None and rows[4]["status"] == "failed" and "HTTP 401" in rows[4]["reason"]
P

# An answer by a schema, as each kind of endpoint wants to be asked.
schema='{\"type\": \"object\", \"properties\": {\"verdict\": {\"enum\": [\"yes\", \"no\"]}}}'
for how in json_schema json_object none json_object_schema; do
    cat > schema.cfg <<C
models = { m = { use = "openai"; url = "http://127.0.0.1:$(cat port)/v1"; model = "$how"; schema = "$how"; }; };
reward = { use = "asks"; judge = "m"; schema = "$schema"; };
C
    echo '{"response":"schema"}' | mete score schema.cfg --quiet | grep -qx '{"row":1,"reward":1}'
done
python3 - <<'P'
import json
seen = [json.loads(l)["body"] for l in open("seen.jsonl")]
got = {b["model"]: b.get("response_format") for b in seen if b["model"] != "fake"}
schema = {"type": "object", "properties": {"verdict": {"enum": ["yes", "no"]}}}
assert got["json_schema"] == {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
assert got["json_object"] == {"type": "json_object"} and got["none"] is None
assert got["json_object_schema"] == {"type": "json_object", "schema": schema}
P

# A rate is the url's: two models of it, asked one after the other, share the spacing.
fake="use = \"openai\"; url = \"http://127.0.0.1:$(cat port)/v1\"; model = \"fake\"; requests_per_minute = 60;"
cat > rate.cfg <<C
models = { m = { $fake }; n = { $fake }; };
reward = { use = "sum"; of = ( { name = "a"; use = "asks"; judge = "m"; }, { name = "b"; use = "asks"; judge = "n"; } ); };
C
echo '{"response":"plain rate"}' > rate.jsonl
python3 - <<'P'
import json, subprocess, time
start = time.monotonic()
out = subprocess.run(["mete", "score", "rate.cfg", "--in", "rate.jsonl", "--quiet"], stdout=subprocess.PIPE, check=True)
assert time.monotonic() - start >= 1  # at least: however slow the machine is, it is no sooner
assert json.loads(out.stdout)["reward"] == 2, out
P

# A run's folder tells what was used, and how to get at the key, but not the key.
cat > run.cfg <<C
@include "a.cfg"
env = { use = "prompts"; data = "run.jsonl"; lanes = 2; };
policy = { use = "openai"; url = "http://127.0.0.1:$(cat port)/v1/"; model = "fake"; key_env = "TEST_API_KEY"; };
reward = { use = "length"; };
stages = ( { name = "look"; do = "evaluate"; } );
evaluate = { episodes = 4; };
C
for i in 1 2 3 4; do echo "{\"prompt\":\"ok $i\"}"; done > run.jsonl
mete run run.cfg --out run --quiet > run.txt 2>&1 || true
grep -q 'policy: 4 requests: 4 answered, 0 failed' run/journal.jsonl
grep -q 'key_env = "TEST_API_KEY"' run/config.cfg

kill $server; wait $server 2> /dev/null || true
unset TEST_API_KEY
sed 's/price_in/cache_mode = "only"; price_in/' cache.cfg > only.cfg
cp c2.txt want.txt
mete generate only.cfg --model m --file ok.jsonl --json --quiet | cmp - want.txt
rc=0; mete generate only.cfg --model m --prompt never --json --quiet > never.txt || rc=$?
[ $rc = 1 ]
grep -q 'does not hold this answer' never.txt
# Nobody listens: bounded, and said.
export TEST_API_KEY=sk-test-8f3a91c2d7e64b05
rc=0; timeout 30 mete generate a.cfg --model m --prompt x --json --quiet > dead.txt || rc=$?
[ $rc = 1 ]
grep -q 'no answer from the endpoint' dead.txt

# Configs that cannot be right.
refuse () { # option text, sentence
    echo "models = { m = { use = \"openai\"; model = \"x\"; $1 }; }; reward = { use = \"length\"; };" > bad.cfg
    rc=0; mete check bad.cfg > bad.txt 2>&1 || rc=$?
    [ $rc = 2 ] && grep -q "$2" bad.txt || { echo "want: $2"; cat bad.txt; exit 1; }
}
refuse 'url = "ftp://x/v1";' 'url must be http'
refuse 'url = "http://me:pw@127.0.0.1/v1";' 'must not hold a name or password'
refuse 'url = "http://example.com/v1"; key_env = "TEST_API_KEY";' 'unencrypted'
refuse 'url = "https://x/v1"; key_env = "NO_SUCH_VARIABLE_HERE";' 'NO_SUCH_VARIABLE_HERE is not set'
refuse 'url = "https://x/v1"; key_file = "nothing-here";' 'cannot read the secret'
refuse 'url = "https://x/v1"; extra = "[1]";' 'extra must be one JSON object'
refuse 'url = "https://x/v1"; cache_mode = "only";' 'needs a cache'
refuse 'url = "https://x/v1"; cache_mode = "only"; cache = "no/such.sqlite";' 'cannot open the reply cache'

# The key is in no file but the server's own notes of what it was sent.
if grep -rl --exclude=seen.jsonl '8f3a91c2' .; then echo "the key was written"; exit 1; fi
