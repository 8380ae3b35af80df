#!/bin/bash
# mete serve against clients that do what clients do: each refusal is a status and a sentence, others
# are served meanwhile, a bad reload changes nothing, and what is under way at the end is answered.
set -e
export METE_PLUGIN_PATH="$METE_PLUGIN_PATH:$METE_BUILDDIR/tests/plugins"
echo 'reward = { use = "length"; shape = "linear"; target = 10.0; };
serve = { body_mib = 1; header_seconds = 3.0; body_seconds = 4.0; idle_seconds = 20.0; };' > quick.cfg
echo 'reward = { use = "slow"; seconds = 0.6; }; serve = { deadline = 60.0; queue = 4; };' > slow.cfg
PYTHONPATH="$METE_SRCDIR/tests/serve" timeout 200 python3 - <<'P'
import concurrent.futures as cf, gzip, json, os, signal, socket, subprocess, time
from serve import Server

def body(text):
    return {"response": text}

def rewards(answer):
    return [r["reward"] for r in answer["results"]]

with Server("quick.cfg", "--threads", "2", METE_SERVE_TOKEN="s3cret-token") as s:
    auth = {"Authorization": "Bearer s3cret-token"}
    # one connection, many requests; an answer names the version in a header, too
    c = s.connect()
    for i in range(50):
        status, got, r = s.ask("/v1/score", body("x" * i), connection=c, **auth)
        assert status == 200 and rewards(got) == [i / 10] and r.getheader("X-Mete-Version") == got["version"]
    # the token
    for header in ({}, {"Authorization": "Bearer s3cret-toke"}, {"Authorization": "Bearer s3cret-tokenx"},
                   {"Authorization": "Basic s3cret-token"}, {"X-Api-Key": "no"}, {"Authorization": "Bearer "}):
        status, got, r = s.ask("/v1/score", body("x"), **header)
        assert status == 401 and "token" in got["error"] and r.getheader("WWW-Authenticate") == "Bearer", header
    assert s.ask("/v1/score", body("x"), X_Api_Key="s3cret-token")[0] == 200
    assert s.ask("/health")[0] == 200 and s.ask("/metrics")[0] == 401
    # what is no request
    for data in (b"", b"{", b"[]", b"nan", b'{"query":["a"', b'{"response":"\xff"}', b'{"response":"a","response":"b"}',
                 b'{"response":"\\u0000"}', b"[" * 100000, b'{"a":1e999}', b"\x00\x01"):
        for path in ("/v1/score", "/get_reward", "/rm", "/reward", "/verify", "/classify", "/pooling", "/predict", "/rerank"):
            status, got, _ = s.ask(path, data, **auth)
            assert status == 400 and isinstance(got["error"], str) and "\n" not in got["error"], (path, data, got)
    for path, what in (("/get_reward", {"query": "a"}), ("/get_reward", {"query": [1]}), ("/get_reward", {"query": ["a"], "prompts": ["a", "b"]}),
                       ("/get_reward", {"query": ["a", "b"], "labels": {}}), ("/rm", {"response": 3}), ("/reward", {"messages": []}),
                       ("/reward", {"messages": [{"role": "user", "content": "x"}]}), ("/verify", {"response": {}}),
                       ("/classify", {}), ("/classify", {"input": "a", "use_activation": "no"}), ("/rerank", {"query": "a", "documents": 3}),
                       ("/rerank", {"query": "a", "documents": [], "top_n": -1}), ("/predict", {"inputs": []}), ("/predict", {"inputs": [[]]}),
                       ("/v1/score", {"records": {}}), ("/v1/score", {"records": [1]})):
        status, got, _ = s.ask(path, what, **auth)
        assert (status == 400) == (what != {"inputs": []}), (path, what, status, got)
    assert s.ask("/nowhere", **auth)[0] == 404
    status, _, r = s.ask("/v1/score", method="GET", **auth)
    assert status == 405 and r.getheader("Allow") == "POST"
    assert s.ask("/health", {}, **auth)[0] == 405
    # sizes on both sides of the limits
    fill = lambda n: b'{"response":"' + b"x" * (n - 15) + b'"}'
    assert s.ask("/v1/score", fill(1 << 20), **auth)[0] == 200
    assert s.ask("/v1/score", fill((1 << 20) + 1), **auth)[0] == 413
    assert s.ask("/v1/score", body("a"), X_Long="y" * 15000, **auth)[0] == 200
    assert s.ask("/v1/score", body("a"), X_Long="y" * 17000, **auth)[0] == 431
    chunked = b"POST /v1/score HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret-token\r\nTransfer-Encoding: chunked\r\n"
    one = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
    assert b" 413 " in s.raw(chunked + b"Connection: close\r\n\r\n" + one * 20 + b"0\r\n\r\n").split(b"\r\n")[0]
    assert b'"reward":0.4' in s.raw(chunked + b'Connection: close\r\n\r\n13\r\n{"response": "four"\r\n1\r\n}\r\n0\r\n\r\n')
    # two lengths, a length beside chunks
    for more in (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", b"Content-Length: 4\r\n" + chunked.split(b"\r\n", 3)[3] + b"\r\n0\r\n\r\n"):
        got = s.raw(b"POST /v1/score HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret-token\r\n" + more)
        assert not got or got.startswith(b"HTTP/1.1 400"), got
    # what is not HTTP
    for junk in (b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", os.urandom(3000), b"A" * 200000, b"POST /v1/score HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        got = s.raw(junk)
        assert not got or got[9:10] in (b"4", b"5", b"2"), got
    # gzip both ways; a bomb is refused
    packed = gzip.compress(json.dumps({"records": [body("x" * (i % 50)) for i in range(2000)]}).encode())
    c = s.connect()
    c.request("POST", "/v1/score", packed, {"Content-Encoding": "gzip", "Accept-Encoding": "gzip", **auth})
    r = c.getresponse()
    assert r.status == 200 and r.getheader("Content-Encoding") == "gzip"
    answer = json.loads(gzip.decompress(r.read()))
    assert rewards(answer) == [i % 50 / 10 for i in range(2000)]
    bomb = gzip.compress(b"x" * (64 << 20))
    assert s.ask("/v1/score", bomb, Content_Encoding="gzip", **auth)[0] == 413
    assert s.ask("/v1/score", b"no gzip", Content_Encoding="gzip", **auth)[0] == 400
    assert s.ask("/v1/score", packed[:-5], Content_Encoding="gzip", **auth)[0] == 400
    assert s.ask("/v1/score", b"{}", Content_Encoding="br", **auth)[0] == 415
    # a hundred that drip, and honest ones beside them
    slow = []
    for i in range(100):
        k = socket.create_connection(("127.0.0.1", s.port))
        k.sendall(b"POST /v1/score HTTP/1.1\r\nHost: a\r\n" + (b"" if i % 2 else b"Authorization: Bearer s3cret-token\r\nContent-Length: 100\r\n\r\n"))
        slow.append(k)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for k in slow:
            try:
                k.sendall(b"x")
            except OSError:
                pass
        assert rewards(s.good("/v1/score", body("honest"), **auth)) == [.6]
        time.sleep(.2)
    for k in slow:
        k.settimeout(5)
        try:
            while k.recv(4096):
                pass
        except ConnectionError:
            pass
        k.close()
    # files and memory come back
    fds = lambda: len(os.listdir("/proc/%d/fd" % s.process.pid))
    before = fds()
    for _ in range(300):
        socket.create_connection(("127.0.0.1", s.port)).close()
    s.good("/health")
    for _ in range(50):
        if fds() <= before:
            break
        time.sleep(.1)
    assert fds() <= before
    # from many threads at once, on connections that are kept
    def ask_many(t):
        k, wrong = s.connect(), 0
        for i in range(100):
            texts = ["x" * ((t * 7 + i + j) % 40) for j in range(1 + i % 5)]
            got = s.ask("/v1/score", {"records": [body(x) for x in texts]}, connection=k, **auth)[1]
            wrong += rewards(got) != [len(x) / 10 for x in texts]
        return wrong
    with cf.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask_many, range(8))) == 0
    # reload: a good config, then a bad one
    version = s.good("/health")["version"]
    text = open("quick.cfg").read()
    open("quick.cfg", "w").write(text.replace("10.0", "20.0"))
    s.process.send_signal(signal.SIGHUP)
    s.wait_for("reloaded")
    assert rewards(s.good("/v1/score", body("xx"), **auth)) == [.1]
    second = s.good("/health")["version"]
    assert second != version
    open("quick.cfg", "w").write("reward = { use = \"lenth\"; };")
    s.process.send_signal(signal.SIGHUP)
    s.wait_for("reload failed")
    assert "lenth" in open("serve.err").read()
    assert rewards(s.good("/v1/score", body("xx"), **auth)) == [.1] and s.good("/health")["version"] == second
    s.stop()
    assert "s3cret" not in open("serve.err").read()

with Server("slow.cfg", "--threads", "1") as s:
    def timed(text, path="/v1/score"):
        begin = time.monotonic()
        status, got, r = s.ask(path, body(text))
        return status, got, time.monotonic() - begin, r
    with cf.ThreadPoolExecutor(32) as pool:
        # while one batch is scored the next gathers: requests share it
        first = pool.submit(timed, "first")
        time.sleep(.1)
        rest = [pool.submit(timed, t) for t in ("one", "fault", "three", "unjudged")]
        got = [f.result() for f in rest]
        assert first.result()[0] == 200
        assert [g[0] for g in got] == [200, 500, 200, 200], got  # a fault is its own request's
        assert "asked to fail" in got[1][1]["error"]
        assert got[3][1]["results"][0]["reward"] is None and got[3][1]["results"][0]["reason"] == "the judge is out"
        assert rewards(got[0][1]) == [3]
        time.sleep(1)
        first = pool.submit(timed, "first")
        time.sleep(.1)
        got = [f.result() for f in [pool.submit(timed, t) for t in ("one", "two", "three")]]
        assert {g[1]["results"][0]["nodes"]["slow"]["signals"]["size"] for g in got} == {3}, got
        assert s.ask("/rm", {"prompt": "", "response": "unjudged"})[0] == 502
        # more than the queue holds is told to come again; what waits too long is told so
        many = [f.result() for f in [pool.submit(timed, "m") for _ in range(20)]]
        full = [m for m in many if m[0] == 503]
        assert len(full) >= 10 and all(m[3].getheader("Retry-After") == "1" and m[2] < 5 for m in full)
        assert all(m[0] in (200, 503) for m in many)
    s.stop()

# Requests that share a batch get what each would get alone: numbers drawn by record, and groups.
if os.path.exists(os.environ["METE_BUILDDIR"] + "/plugins/reward/lua.so"):
    open("draw.cfg", "w").write('reward = { use = "sum"; of = ( { use = "slow"; seconds = 0.6; }, { use = "lua"; '
                                'code = "function score_batch(b) local r = {} for i = 1, b.n do r[i] = random() end return r end"; } ); };')
    records = lambda n: [{"response": "x" * i, "group": "g"} for i in range(n)]
    def alone(n):
        out = subprocess.run(["mete", "score", "draw.cfg", "--quiet"], input="".join(json.dumps(r) + "\n" for r in records(n)),
                             capture_output=True, text=True, check=True).stdout
        return [json.loads(line)["reward"] for line in out.splitlines()]
    with Server("draw.cfg", "--threads", "1") as s:
        with cf.ThreadPoolExecutor(8) as pool:
            first = pool.submit(s.ask, "/v1/score", {"records": records(1)})
            time.sleep(.1)
            asked = [(n, pool.submit(s.ask, "/v1/score", {"records": records(n)})) for n in (3, 1, 2, 3)]
            got = [(n, a.result()[1]) for n, a in asked]
        sizes = {r["nodes"]["slow"]["signals"]["size"] for _, g in got for r in g["results"]}
        assert sizes == {9}, sizes
        assert all(rewards(g) == alone(n) for n, g in got), got
        s.stop()

open("late.cfg", "w").write('reward = { use = "slow"; seconds = 2.0; }; serve = { deadline = 0.4; };')
with Server("late.cfg", "--threads", "1") as s:
    with cf.ThreadPoolExecutor(4) as pool:
        got = [f.result() for f in [pool.submit(s.ask, "/v1/score", body("x")) for _ in range(3)]]
        assert [g[0] for g in got] == [504] * 3 and "deadline" in got[0][1]["error"]
    assert s.ask("/health")[0] == 200
    s.stop()

# SIGTERM while clients ask as fast as they can, on connections that are kept and on new ones: whoever got through is
# answered, and is told where it was the last answer.
def ask_on(server, fresh):
    c, asked = None, 0
    while True:
        try:
            c = c or server.connect()
            c.connect()
        except OSError:
            return asked
        while True:
            status, got, r = server.ask("/v1/score", body("x" * 20), connection=c)
            assert status == 200 and rewards(got) == [2], (status, got)
            asked += 1
            if r.getheader("Connection") == "close":
                return asked
            if fresh:
                break
        c.close()
        c = None
for _ in range(3):
    with open("load.cfg", "w") as f:
        f.write("reward = { use = \"length\"; shape = \"linear\"; target = 10.0; };")
    with Server("load.cfg", "--threads", "2") as s, cf.ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask_on, s, i % 2) for i in range(6)]
        time.sleep(.3)
        s.stop()
        assert all(a.result() > 0 for a in asking)

with Server("slow.cfg", "--threads", "2", "--set", "reward.seconds=3.0") as s:  # what is under way at SIGTERM is answered
    with cf.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(s.ask, "/v1/score", body("x" * i)) for i in range(4)]
        time.sleep(1)
        s.process.send_signal(signal.SIGTERM)
        got = [a.result() for a in asked]
        assert [g[0] for g in got] == [200] * 4 and [rewards(g[1]) for g in got] == [[float(i)] for i in range(4)]
    assert s.process.wait(10) == 0
    try:
        s.ask("/health")
        raise SystemExit("it still listens")
    except ConnectionError:
        pass
P
# What it refuses to start with.
for bad in 'serve.port=70000' 'serve.prot=1' 'serve.host=no.such.host.invalid' 'serve.token_file=none' 'serve.missing=maybe'; do
    rc=0; timeout 20 mete serve late.cfg --set "$bad" 2> err || rc=$?
    [ $rc = 2 ] || [ $rc = 1 ]
    grep -q "$(echo "${bad%=*}" | sed 's/.*\.//')" err
done
