"""HTTP by hand, so that it can be broken, and metrics as a test reads them."""
import socket

import exposition


def address_of(daemon):
    """Where `[metrics] listen` of the daemon is, for socket.connect."""
    listen = daemon.config["metrics"]["listen"]
    if listen.startswith("unix:"):
        return listen[5:]
    host, port = listen.rsplit(":", 1)
    return (host or "127.0.0.1", int(port))


def connect(daemon, timeout=10):
    address = address_of(daemon)
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(timeout)
    sock.connect(address)
    return sock


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def receive(sock, head=False):
    """One answer. EOFError: the other side closed without a whole one."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    top, body = data.split(b"\r\n\r\n", 1)
    first, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    length = 0 if head else int(headers["content-length"])
    while len(body) < length:
        body += _some(sock)
    assert len(body) == length, body
    return Answer(int(first.split()[1]), headers, body.decode())


def _some(sock):
    data = sock.recv(1 << 16)
    if not data:
        raise EOFError
    return data


def ask(daemon, path, method="GET", version="1.1", timeout=10):
    with connect(daemon, timeout) as sock:
        sock.sendall(f"{method} {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        return receive(sock, head=method == "HEAD")


def scrape(daemon):
    """name -> exposition.Family"""
    answer = ask(daemon, "/metrics")
    assert answer.status == 200
    return exposition.parse(answer.body)
