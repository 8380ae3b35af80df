"""A chat/completions endpoint that misbehaves on demand, for the tests: loopback only, one thread a
connection, gone after two minutes. The first word of the last message says what to do. It writes its
port to `port`, and a line for each request to `seen.jsonl`: word, number of the try, seconds."""
import email.utils, http.server, json, os, socket, socketserver, struct, sys, threading, time

tries, running, most = {}, 0, 0
lock = threading.Lock()
seen = open("seen.jsonl", "w", buffering=1)


def answer(text, choices=1, **more):
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    message.update(more)
    return json.dumps({"object": "chat.completion", "choices": [message] * choices,
                       "usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode()


def logprobs(text, top):
    tokens = [{"token": text, "logprob": top[0][1],
               "top_logprobs": [{"token": t, "logprob": l} for t, l in top]}]
    return answer(text, logprobs={"content": tokens})


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, code, body, **header):
        self.send_response(code)
        for name, value in header.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        global running, most
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        word = (text.split() or [""])[0]
        with lock:
            tries[text] = n = tries.get(text, 0) + 1
            running += 1
            most = max(most, running)
        seen.write(json.dumps({"word": word, "text": text, "try": n, "at": time.monotonic(), "most": most,
                               "path": self.path, "body": body}) + "\n")
        try:
            self.act(word, text, n, body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with lock:
                running -= 1

    def several(self, word, n):
        """Answers to `n`, all different, as endpoints do that know it, or half know it."""
        if word == "refuses" and n > 1:
            self.send(400, b'{"error": {"message": "n is not supported"}}')
        elif word == "broke":
            self.send(402, b'{"error": {"message": "no credit"}}')
        else:
            give = {"fewer": min(n, 2), "more": n + 1, "ignores": 1}.get(word, n)
            with lock:
                first = tries["said"] = tries.get("said", 0) + give
            said = ["%s %d" % (word, first - i) for i in range(give)]
            if word == "hollow" and n > 1:
                said[1] = ""
            self.send(200, json.dumps({
                "choices": [{"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": t}}
                            for i, t in enumerate(said)],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3 * give + 1}}).encode())

    def act(self, word, text, n, body):
        first = n == 1
        error = json.dumps({"error": {"message": "no: " + str(self.headers["Authorization"])}}).encode()
        if word == "429once" and first:
            self.send(429, error)
        elif word == "429after" and first:
            self.send(429, error, Retry_After="1")
        elif word == "429date" and first:
            self.send(429, error, Retry_After=email.utils.formatdate(time.time() + 2, usegmt=True))
        elif word == "429long":
            self.send(429, error, Retry_After="86400")
        elif word in ("400", "401", "404", "429", "500", "503"):
            self.send(int(word), error)
        elif word == "500once" and first:
            self.send(500, b"<html>oops</html>")
        elif word == "late":
            time.sleep(4)
        elif word in ("stops", "drips"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(4):
                self.wfile.write(b"{")
                self.wfile.flush()
                time.sleep(1 if word == "drips" else 4)
        elif word == "reset" or (word == "resetonce" and first):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif word == "html":
            self.send(200, b"<html><body>Sign in</body></html>", Content_Type="text/html")
        elif word == "half":
            self.send(200, answer("x")[:40])
        elif word == "halfonce" and first:
            self.send(200, answer("x")[:40])
        elif word == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(answer("x"))
            self.close_connection = True
        elif word in ("two", "none"):
            self.send(200, answer("x", choices={"two": 2, "none": 0}[word]))
        elif word == "empty":
            self.send(200, answer(""))
        elif word == "null":
            self.send(200, answer(None))
        elif word == "twice":
            self.send(200, b'{"choices":[],"choices":[]}')
        elif word == "deep":
            self.send(200, b"[" * 100000)
        elif word == "big":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif word == "loop":
            self.send(302, b"", Location=self.path)
        elif word == "away":
            self.send(307, b"", Location="http://localhost:1/v1/chat/completions")
        elif word == "leak":
            self.send(200, answer("it is " + self.headers["Authorization"]))
        elif word == "leakescaped":
            key = self.headers["Authorization"][7:]
            self.send(200, answer("KEY").replace(b"KEY", "".join("\\u%04x" % ord(c) for c in key).encode()))
        elif word == "escapes":
            self.send(200, answer("\x1b]0;title\x07 \x1b[2J\x9b31m"))
        elif word == "wait":
            time.sleep(0.05)
            self.send(200, answer("waited"))
        elif word in ("draws", "fewer", "more", "hollow", "ignores", "refuses", "broke"):
            self.several(word, body.get("n", 1))
        elif word == "sure":
            self.send(200, logprobs("yes", [("yes", -0.2231435513142097), ("No", -2.3025850929940455),
                                            (" no", -2.995732273553991), ("so", -3.912023005428146)]))
        elif word == "unsure":
            self.send(200, logprobs("Yes", [(" Yes", -0.5108256237659907), ("maybe", -1.6094379124341003)]))
        elif word == "other":
            self.send(200, logprobs("maybe", [("maybe", -0.01)]))
        elif word == "schema":
            self.send(200, answer('{"verdict": "yes"}'))
        elif word == "plain":
            self.send(200, answer(" Yes\n"))
        else:
            self.send(200, answer("you said " + text))


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Handler)
with open("port.new", "w") as f:
    f.write(str(server.server_port))
os.rename("port.new", "port")
threading.Timer(120, lambda: os._exit(1)).start()
server.serve_forever()
