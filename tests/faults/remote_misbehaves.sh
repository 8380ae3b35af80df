#!/bin/bash
# The reward `remote` over a server that does all that servers do: each row has a score, or none and a
# sentence; nothing is 0 that was not said to be 0; nothing hangs.
set -e
[ -f "$METE_BUILDDIR/plugins/reward/remote.so" ] || { echo "the reward remote is not built"; exit 77; }
cat > server.py <<'P'
"""Scores texts by their length, unless the path of the request says how to misbehave."""
import http.server, json, threading, time
tries, lock = {}, threading.Lock()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *unused): pass
    def say(self, code, text, **header):
        data = text if isinstance(text, bytes) else text.encode()
        self.send_response(code)
        for k, v in header.items(): self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return self.wfile.write(data)
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        word, n = self.path[1:], len(body["query"])
        scores = [float(len(q)) for q in body["query"]]
        with lock: k = tries[word] = tries.get(word, 0) + 1
        with open("seen.jsonl", "a") as out: out.write(json.dumps([word, n, time.monotonic(), self.headers.get("Authorization")]) + "\n")
        good = json.dumps({"rewards": scores})
        if word == "429" and k == 1: return self.say(429, "{}", Retry_After="1")
        if word == "500once" and k == 1: return self.say(500, "oops")
        if word == "500": return self.say(500, '{"detail": "out of \\u001b[31mmemory"}')
        if word == "404": return self.say(404, "<html>no such page</html>")
        if word == "picky" and any("bad" in q for q in body["query"]): return self.say(422, '{"error": "cannot read it"}')
        if word == "html": return self.say(200, "<html><body>Sign in</body></html>")
        if word == "half": return self.say(200, good[:len(good) // 2])
        if word == "halfonce" and k == 1: return self.say(200, good[:len(good) // 2])
        if word == "short": return self.say(200, json.dumps({"rewards": scores[1:]}))
        if word == "long": return self.say(200, json.dumps({"rewards": scores + [1.0]}))
        if word == "text": return self.say(200, json.dumps({"rewards": ["1.0"] * n}))
        if word == "huge": return self.say(200, '{"rewards": [%s]}' % ",".join(["1e999"] * n))
        if word == "nan": return self.say(200, '{"rewards": [%s]}' % ",".join(["NaN"] * n))
        if word == "list": return self.say(200, json.dumps(scores))
        if word == "null": return self.say(200, json.dumps({"rewards": [None] + scores[1:]}))
        if word == "big": return self.say(200, good + " " * 100000)
        if word == "leak": return self.say(200, '{"rewards": %s, "hint": "%s"}' % (scores, self.headers["Authorization"]))
        if word == "drips":
            self.send_response(200); self.send_header("Content-Length", "500"); self.end_headers()
            try:
                for c in b"{" * 500: self.wfile.write(bytes([c])); self.wfile.flush(); time.sleep(1)
            except OSError: pass
            return
        self.say(200, good)

class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 64
server = Server(("127.0.0.1", 0), Handler)
open("port.new", "w").write(str(server.server_port))
import os; os.rename("port.new", "port")
server.serve_forever()
P
rm -f port seen.jsonl
python3 server.py & server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for _ in $(seq 100); do [ -f port ] && break; sleep 0.1; done
export RM_KEY=rm-secret-2f9d81c4
timeout 120 python3 - <<'P'
import json, subprocess
words = "good 429 500once halfonce 500 404 picky html half short long text huge nan list null big leak drips".split()
rows = [{"prompt": "p%d " % i, "response": "bad" if i == 3 else "x" * i} for i in range(6)]
open("rows.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in rows))
node = """{ use = "remote"; url = "http://127.0.0.1:%s"; path = "/%s"; protocol = "openrlhf"; key_env = "RM_KEY";
    batch = 6; retries = 2; timeout = 2.5; backoff = 0.01; backoff_most = 0.05; answer_limit = 20000; }"""
right = [float(len(r["prompt"] + r["response"])) for r in rows]
said, seen = {}, {}
for w in words:
    open("a.cfg", "w").write("reward = " + node % (open("port").read(), w))
    p = subprocess.run(["mete", "score", "a.cfg", "--in", "rows.jsonl", "--quiet"], capture_output=True, text=True, timeout=60)
    said[w] = [json.loads(line) for line in p.stdout.splitlines()]
    assert len(said[w]) == 6 and "rm-secret" not in p.stdout + p.stderr and "\x1b" not in p.stdout, (w, p.stderr)
    assert p.returncode == 0, (w, p.returncode, p.stderr)
for line in open("seen.jsonl"):
    w, n, at, key = json.loads(line)
    assert key == "Bearer rm-secret-2f9d81c4"
    seen.setdefault(w, []).append((n, at))
for w in ("good", "429", "500once", "halfonce"):
    assert [r["reward"] for r in said[w]] == right, (w, said[w])
    assert len(seen[w]) == (1 if w == "good" else 2), (w, seen[w])
assert seen["429"][1][1] - seen["429"][0][1] >= 1
want = {  # part of the sentence; requests
    "500": ("HTTP 500: out of  [31mmemory", None), "404": ("HTTP 404", 1), "html": ("no JSON", 2), "half": ("no JSON", 2),
    "short": ("5 scores in rewards where 6 were asked for", 2), "long": ("7 scores", 2), "text": ("score 1 of the answer is no number", 2),
    "huge": ("no", 2), "nan": ("no JSON", 2), "list": ("no list rewards", 2), "big": ("answer_limit", 1),
    "leak": ("repeats the API key", 1), "drips": ("timed out", 3)}
for w, (says, times) in want.items():
    for r in said[w]:
        assert r["reward"] is None and r["status"] == ("timed_out" if w == "drips" else "failed"), (w, r)
        assert says in r["reason"] and len(r["reason"]) < 500 and "\n" not in r["reason"], (w, r)
    assert times is None or len(seen[w]) == times, (w, seen[w])
assert max(n for n, _ in seen["500"][3:]) == 1  # asked row by row after it
for w, k, says in (("null", 0, "gave no score"), ("picky", 3, "HTTP 422: cannot read it")):
    assert [r["reward"] for r in said[w]] == [None if i == k else v for i, v in enumerate(right)], (w, said[w])
    assert says in said[w][k]["reason"]
assert [n for n, _ in seen["picky"]] == [6] + [1] * 6
P
for bad in 'path = "score"' 'protocol = "predict"; fields = ["a"]' 'protocol = "classify"; signals = ["a"]' 'between = "a"' \
    'protocol = "openrlhf"; fields = ["a", "b"]' 'url = "ftp://a"' 'url = "http://u:p@a"' 'key_env = "RM_KEY"; url = "http://203.0.113.1"'; do
    case $bad in *url*) url=;; *) url='url = "http://127.0.0.1:1";';; esac
    echo "reward = { use = \"remote\"; $url $bad; };" > bad.cfg
    rc=0; mete check bad.cfg > out.txt 2>&1 || rc=$?
    [ $rc = 1 ] || [ $rc = 2 ] || { echo "$bad: exit $rc"; cat out.txt; exit 9; }
    grep -q "reward" out.txt && ! grep -q "rm-secret" out.txt || { cat out.txt; exit 9; }
done
