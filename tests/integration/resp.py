"""RESP as a proxy needs it: where a frame ends, and what stands in it."""

_LINES = b"+-:_,#("
_BULKS = b"$!="
_LISTS = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}


class Framer:
    """
    Cuts a stream of RESP2, RESP3 or inline commands into whole top-level frames.

    feed(bytes) gives back the frames that became complete; the rest waits. Resumable: bytes may come one at
    a time. After bytes that are no RESP, `broken` is set and everything is given back as it comes.
    """

    def __init__(self):
        self._buffer = bytearray()
        self._at = 0       # what was looked at already
        self._need = 1     # items until the top-level frame is whole
        self._bulk = None  # bytes of the bulk under way, its end of line included
        self.broken = False

    def feed(self, data):
        self._buffer += data
        frames = []
        while not self.broken and self._item():
            if self._need == 0:
                frames.append(bytes(self._buffer[:self._at]))
                del self._buffer[:self._at]
                self._at, self._need = 0, 1
        if self.broken and self._buffer:
            frames.append(bytes(self._buffer))
            self._buffer.clear()
        return frames

    def rest(self):
        """What came of a frame that will not be completed."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._at, self._need, self._bulk = 0, 1, None
        return data

    def _item(self):
        """One step onwards: a line or the body of a bulk. False when more bytes are wanted."""
        if self._bulk is not None:
            if len(self._buffer) < self._at + self._bulk:
                return False
            self._at += self._bulk
            self._bulk = None
            self._need -= 1
            return True
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            return False
        kind, text = self._buffer[self._at], bytes(self._buffer[self._at + 1:end]).strip()
        first = self._at == 0
        self._at = end + 1
        try:
            if kind in _BULKS and int(text) >= 0:
                self._bulk = int(text) + 2
            elif kind in _LISTS and int(text) >= 0:
                self._need += int(text) * _LISTS[kind] - 1
                if kind == ord("|"):
                    self._need += 1  # attributes stand before the reply they belong to
            elif kind in _BULKS or kind in _LISTS or kind in _LINES or first:
                self._need -= 1  # a line, a nil, or an inline command
            else:
                self.broken = True
        except ValueError:
            self.broken = True
        return not self.broken


def decode(frame):
    """A whole frame as bytes, int, None, an exception (error reply) or a list of these."""
    value, end = _decode(frame, 0)
    if end != len(frame):
        raise ValueError("more than one frame")
    return value


def _decode(frame, at):
    end = frame.index(b"\r\n", at)
    kind, text = frame[at:at + 1], frame[at + 1:end]
    end += 2
    if kind == b":":
        return int(text), end
    if kind == b"-":
        return RuntimeError(text.decode("utf-8", "replace")), end
    if kind in (b"$", b"!", b"="):
        length = int(text)
        return (None, end) if length < 0 else (frame[end:end + length], end + length + 2)
    if kind in (b"*", b"~", b">", b"%"):
        if int(text) < 0:
            return None, end
        items = []
        for _ in range(int(text) * _LISTS[kind[0]]):
            item, end = _decode(frame, end)
            items.append(item)
        return items, end
    return text, end


def command_of(frame):
    """Name of a command in capitals; empty for anything else. Only its beginning is looked at."""
    if not frame.startswith(b"*"):
        return frame.split(None, 1)[0].upper() if frame.strip() else b""
    parts = frame.split(b"\r\n", 3)
    return parts[2].upper() if len(parts) == 4 and parts[1].startswith(b"$") else b""


def encode(*args):
    """A command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        arg = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)
