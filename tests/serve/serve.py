"""A server for the tests: starts `mete serve`, speaks to it with the standard library alone."""
import http.client, json, os, re, signal, socket, subprocess, sys, time


class Server:
    def __init__(self, config, *flags, **env):
        self.log = open("serve.err", "w+")
        self.process = subprocess.Popen(
            ["mete", "serve", config, "--set", "serve.port=0", *flags], stderr=self.log,
            env=dict(os.environ, **env))
        self.port = int(self.wait_for(r"serving .* at http://[^ ]*:(\d+) "))

    def wait_for(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, open("serve.err").read())
            if found:
                return found.group(1) if found.groups() else found.group(0)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit("no %r in: %s" % (pattern, open("serve.err").read()))

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, path, body=None, method=None, connection=None, **header):
        """The status, the answer (JSON where it is) and the headers."""
        c = connection or self.connect()
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        c.request(method or ("GET" if body is None else "POST"), path, data,
                  {k.replace("_", "-"): v for k, v in header.items()})
        r = c.getresponse()
        text = r.read()
        if connection is None:
            c.close()
        kind = r.getheader("Content-Type", "")
        return r.status, json.loads(text) if kind == "application/json" else text, r

    def good(self, path, body=None, **more):
        status, answer, _ = self.ask(path, body, **more)
        assert status == 200, (path, status, answer)
        return answer

    def raw(self, data, timeout=30):
        """All that comes back for bytes as they are."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            try:  # a server that has answered need not hear it out
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            got = b""
            while True:
                try:
                    more = s.recv(65536)
                except ConnectionError:
                    break
                if not more:
                    return got
                got += more
            return got

    def stop(self, seconds=20):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        assert code == 0, (code, open("serve.err").read())

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
