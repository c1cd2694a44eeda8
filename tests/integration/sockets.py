"""What the tests of the socket share: raw requests and what comes back until the daemon closes."""
import msgpack
import pytest

from daemon import Client, RpcError


def request(method, *params, request_id=7):
    return Client.request(request_id, method, *params)


def read_all(sock):
    """Everything until the daemon closes."""
    data = b""
    while True:
        try:
            part = sock.recv(1 << 16)
        except ConnectionResetError:
            return data
        if not part:
            return data
        data += part


def messages_of(data):
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(data)
    return list(unpacker)


def refusal_of(client, method, *params):
    with pytest.raises(RpcError) as caught:
        client.call(method, *params)
    assert caught.value.text, "an error has to name what was wrong"
    return caught.value.code


def differing(client, key):
    """What `verify` says of the key, over all pages."""
    cursor, found = 0, []
    while True:
        page = client.call("verify", cursor)
        found += [d for d in page["different"] if d["key"] == key]
        cursor = page["cursor"]
        if cursor == 0:
            return found
