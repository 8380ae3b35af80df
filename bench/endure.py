"""What mete serve endures, as figures: slow clients beside honest ones, connections that come and go, a million
scores, SIGTERM under load. Each honest answer is checked. `endure.py [CLIENTS]` runs it; bench/run calls it."""
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time

BUILD = os.environ["METE_BUILDDIR"]
HEAD = b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Server:
    def __init__(self):
        with open("endure.cfg", "w") as f:
            f.write('reward = { use = "length"; shape = "linear"; target = 10.0; }; serve = { queue = 4096; };\n')
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = open("endure.err", "w+")
        self.process = subprocess.Popen([f"{BUILD}/.libs/mete", "serve", "endure.cfg", "--set", f"serve.port={self.port}"], stderr=self.log)
        for _ in range(200):
            try:
                self.connect().close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("endure: the server did not start")

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        code = self.process.wait(60)
        return code, time.monotonic() - begin


def request(text):
    body = json.dumps({"response": text}).encode()
    return HEAD % len(body) + body


def read_answer(s):
    """An answer's reward, and whether the connection goes on; None where the server closed instead of answering."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = s.recv(65536)
        if not more:
            return None, False
        got += more
    head, body = got.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += s.recv(65536)
    return json.loads(body)["results"][0]["reward"], b"connection: close" not in head.lower()


class Honest:
    """Clients that each ask some ten times a second, on a connection that is kept: latencies in seconds."""

    def __init__(self, server, clients):
        self.server, self.clients = server, clients

    def measure(self, seconds):
        waiting, taken, ready = selectors.DefaultSelector(), [], []
        draw = random.Random(1)
        begin = time.monotonic()
        for _ in range(self.clients):
            ready.append((begin + draw.random() * 0.1, self.server.connect()))
        while time.monotonic() < begin + seconds or waiting.get_map():
            now = time.monotonic()
            ready.sort(key=lambda r: r[0])
            while ready and ready[0][0] <= now and now < begin + seconds:
                s = ready.pop(0)[1]
                text = "x" * draw.randint(1, 40)
                s.sendall(request(text))
                waiting.register(s, selectors.EVENT_READ, (time.monotonic(), text))
            pause = max(0, ready[0][0] - now) if ready else 1
            for key, _ in waiting.select(min(pause, 0.05)):
                sent, text = key.data
                waiting.unregister(key.fileobj)
                reward, _ = read_answer(key.fileobj)
                taken.append(time.monotonic() - sent)
                if reward != len(text) / 10:
                    sys.exit(f"endure: {reward} for {len(text)} bytes")
                ready.append((sent + 0.05 + 0.1 * draw.random(), key.fileobj))
        for _, s in ready:
            s.close()
        taken.sort()
        return 1e6 * taken[len(taken) // 2], 1e6 * taken[int(len(taken) * 0.99)], len(taken)


def drip(server, count, stop):
    """Half send headers and half a body, a byte every ten seconds each; those that are cut come again."""
    begun = b"POST /v1/score HTTP/1.1\r\nHost: a\r\n", HEAD % 100
    held = []
    for i in range(count):
        held.append([server.connect(), i])
        held[-1][0].sendall(begun[i % 2])
    cut = 0
    while not stop.is_set():
        for k in range(0, count, max(1, count // 100)):
            if stop.wait(0.1):
                break
            for client in held[k:k + max(1, count // 100)]:
                try:
                    client[0].sendall(b"x")
                    if client[0].recv(1, socket.MSG_DONTWAIT) == b"":
                        raise ConnectionError
                except BlockingIOError:
                    pass
                except OSError:
                    cut += 1
                    client[0].close()
                    client[0] = server.connect()
                    client[0].sendall(begun[client[1] % 2])
    for client, _ in held:
        client.close()
    print(f"  {count} slow clients; {cut} of theirs were cut and came again", flush=True)


def crowd(server, slow, honest):
    turns = []
    for _ in range(3):
        idle = Honest(server, honest).measure(6)
        before, stop = server.resident(), threading.Event()
        thread = threading.Thread(target=drip, args=(server, slow, stop))
        thread.start()
        time.sleep(1.5)
        beside = Honest(server, honest).measure(12)
        grown = server.resident() - before
        stop.set()
        thread.join()
        turns.append((beside[1] / idle[1], idle, beside, grown))
    turns.sort()
    ratio, idle, beside, grown = turns[len(turns) // 2]
    print(f"{honest} honest clients: p50 {idle[0]:.0f} us, p99 {idle[1]:.0f} us; beside {slow} slow ones p50 {beside[0]:.0f}, p99 {beside[1]:.0f} us: "
          f"{ratio:.2f} times (target: under 2; turns {', '.join('%.2f' % t[0] for t in turns)}); memory grew {max(t[3] for t in turns):.1f} MiB (target: under 50)", flush=True)


def come_and_go(server, count):
    files = server.files()
    for _ in range(count):
        server.connect().close()
    for _ in range(100):
        if server.files() <= files:
            break
        time.sleep(0.1)
    print(f"{count} connections that come and go: {server.files() - files} files more (target: 0)", flush=True)


def many_scores(server, scores):
    body = json.dumps({"records": [{"response": "x" * (i % 50)} for i in range(64)]}).encode()
    with open("endure.json", "wb") as f:
        f.write(body)
    done, marks = 0, []
    while done < scores + scores // 5:
        out = json.loads(subprocess.run(["./load", str(server.port), "/v1/score", "endure.json", "16", "0.5"], check=True, capture_output=True).stdout)
        done += int(64 * out["per_second"] * 0.5)
        marks.append((done, server.resident()))
    warm = next(m for m in marks if m[0] >= scores // 5)
    print(f"{done - warm[0]} scores after {warm[0]} to warm up: memory grew {marks[-1][1] - warm[1]:.2f} MiB (target: at most 1)", flush=True)


def ask_until_closed(server, counts, fresh):
    """A request is lost where a connection that stood brings no answer to it."""
    s = None
    while True:
        try:
            s = s or server.connect()
        except OSError:
            return
        counts["sent"] += 1
        try:
            s.sendall(request("xxxxx"))
            reward, goes_on = read_answer(s)
        except OSError as why:
            counts["lost"].append(repr(why))
            return
        if reward != 0.5:
            counts["lost"].append("closed" if reward is None else f"{reward}")
            return
        if fresh or not goes_on:
            s.close()
            s = None
        if not (fresh or goes_on):
            return


def terminate(clients, fresh):
    lost, sent, slowest = [], 0, 0
    for _ in range(10):
        server = Server()
        counts = [{"sent": 0, "lost": []} for _ in range(clients)]
        threads = [threading.Thread(target=ask_until_closed, args=(server, c, fresh)) for c in counts]
        for t in threads:
            t.start()
        time.sleep(0.5 + random.random() * 0.3)
        code, seconds = server.stop()
        for t in threads:
            t.join()
        if code:
            sys.exit(f"endure: exit code {code} after SIGTERM")
        lost += [why for c in counts for why in c["lost"]]
        sent += sum(c["sent"] for c in counts)
        slowest = max(slowest, seconds)
    what = "a connection for each request" if fresh else "kept connections"
    print(f"SIGTERM under load, {clients} clients with {what}, 10 times: {len(lost)} of {sent} requests lost (target: 0) {' '.join(lost)}, gone within {slowest:.2f} s (target: 5)", flush=True)


def main():
    slow = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    server = Server()
    crowd(server, slow, 100)
    come_and_go(server, 10000)
    many_scores(server, 1000000)
    server.stop()
    terminate(20, False)
    terminate(20, True)


main()
