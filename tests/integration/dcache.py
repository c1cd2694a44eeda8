"""
libdcache-client for Python, by ctypes: what the integration tests and the demo use as an application.

Answers are tuples with names and never exceptions: `result` says what happened, and error() why. Keys and values
are bytes; str is encoded as UTF-8.
"""
import ctypes
import enum
import os
from collections import namedtuple

import msgpack

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Result(enum.IntEnum):
    """enum dcache_result; its members are names of this module too."""
    OK = 0
    ABSENT = 1
    STALE = 2
    DUPLICATE = 3
    CONFLICT = 4
    LOCAL = 5
    E_REFUSED = -1
    E_UNREACHABLE = -2
    E_TIMEOUT = -3
    E_INDETERMINATE = -4
    E_PERMISSION = -5
    E_INVALID = -6
    E_TOO_LARGE = -7
    E_BUSY = -8
    E_STORE = -9
    E_CORRUPT = -10
    E_PROTOCOL = -11
    E_NOMEM = -12
    E_MIN_VERSION = -13
    E_OTHER_EPOCH = -14
    E_UNAVAILABLE = -15
    E_FORKED = -16
    E_INTERNAL = -17


globals().update(Result.__members__)


class State(enum.IntEnum):
    ABSENT = 0
    FRESH = 1
    STALE = 2
    LOCAL = 3


Reading = namedtuple("Reading", "result state value version source as_of_ns age_ns timestamp_ns replaced")
Written = namedtuple("Written", "result version seq epoch write_id")


def library_path():
    """
    Of the build that is tested, unless $DCACHED_LIBRARY_BUILD names another: Python cannot load a library with the
    sanitizers in it.
    """
    build = (os.environ.get("DCACHED_LIBRARY_BUILD") or os.environ.get("DCACHED_BUILD")
             or os.path.join(REPO, "build"))
    return os.path.join(build, "client", "libdcache-client.so.0")


class COptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("socket", ctypes.c_char_p), ("name", ctypes.c_char_p),
                ("timeout_ms", ctypes.c_uint32)]


class CReadOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("strong", ctypes.c_int), ("min_version", ctypes.c_uint64),
                ("epoch", ctypes.c_char_p), ("max_stale_ms", ctypes.c_uint32), ("timeout_ms", ctypes.c_uint32)]


class CReading(ctypes.Structure):
    _fields_ = [("result", ctypes.c_int), ("state", ctypes.c_int), ("value", ctypes.c_void_p),
                ("value_len", ctypes.c_size_t), ("version", ctypes.c_uint64), ("timestamp_ns", ctypes.c_uint64),
                ("source", ctypes.c_char_p), ("as_of_ns", ctypes.c_uint64), ("age_ns", ctypes.c_uint64),
                ("replaced", ctypes.c_int)]


class CKey(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("len", ctypes.c_size_t)]


class CWriteOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("version", ctypes.c_uint64), ("has_ttl", ctypes.c_int),
                ("ttl_ms", ctypes.c_uint64), ("invalidate", ctypes.c_int), ("timeout_ms", ctypes.c_uint32),
                ("write_id", ctypes.c_char_p), ("retry", ctypes.c_int)]


class CWritten(ctypes.Structure):
    _fields_ = [("result", ctypes.c_int), ("version", ctypes.c_uint64), ("seq", ctypes.c_uint64),
                ("epoch", ctypes.c_char * 33), ("write_id", ctypes.c_uint8 * 16)]


class CItem(ctypes.Structure):
    _fields_ = [("key", CKey), ("value", ctypes.c_char_p), ("value_len", ctypes.c_size_t),
                ("options", CWriteOptions)]


READ_FN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(CReading))
WRITE_FN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(CWritten))
EVENT_FN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

_HANDLE, _BYTES, _SIZE, _U32 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32
_P = ctypes.POINTER
_SIGNATURES = {
    "dcache_open": (ctypes.c_int, [_P(_HANDLE), _P(COptions)]),
    "dcache_close": (None, [_HANDLE]),
    "dcache_error": (_BYTES, [_HANDLE]),
    "dcache_result_name": (_BYTES, [ctypes.c_int]),
    "dcache_get": (ctypes.c_int, [_HANDLE, _BYTES, _SIZE, _P(CReadOptions), _P(CReading)]),
    "dcache_mget": (ctypes.c_int, [_HANDLE, _P(CKey), _SIZE, _P(CReadOptions), _P(CReading)]),
    "dcache_set": (ctypes.c_int, [_HANDLE, _BYTES, _SIZE, _BYTES, _SIZE, _P(CWriteOptions), _P(CWritten)]),
    "dcache_delete": (ctypes.c_int, [_HANDLE, _BYTES, _SIZE, _P(CWriteOptions), _P(CWritten)]),
    "dcache_mset": (ctypes.c_int, [_HANDLE, _P(CItem), _SIZE, _U32, _P(CWritten)]),
    "dcache_clear": (ctypes.c_int, [_HANDLE, _P(CWritten)]),
    "dcache_ping": (ctypes.c_int, [_HANDLE]),
    "dcache_call": (ctypes.c_int, [_HANDLE, _BYTES, _BYTES, _SIZE, _U32, _P(ctypes.c_void_p), _P(_SIZE)]),
    "dcache_get_async": (ctypes.c_int, [_HANDLE, _BYTES, _SIZE, _P(CReadOptions), READ_FN, ctypes.c_void_p]),
    "dcache_set_async": (ctypes.c_int, [_HANDLE, _BYTES, _SIZE, _BYTES, _SIZE, _P(CWriteOptions), WRITE_FN,
                                        ctypes.c_void_p]),
    "dcache_delete_async": (ctypes.c_int, [_HANDLE, _BYTES, _SIZE, _P(CWriteOptions), WRITE_FN, ctypes.c_void_p]),
    "dcache_watch": (ctypes.c_int, [_HANDLE, _BYTES, _SIZE, EVENT_FN, ctypes.c_void_p]),
    "dcache_fd": (ctypes.c_int, [_HANDLE]),
    "dcache_events": (ctypes.c_short, [_HANDLE]),
    "dcache_timeout_ms": (ctypes.c_int, [_HANDLE]),
    "dcache_process": (ctypes.c_int, [_HANDLE]),
}
_LIBRARIES = {}


def library():
    """The library of the build that is tested, loaded at the first use."""
    path = library_path()
    if path not in _LIBRARIES:
        loaded = ctypes.CDLL(path)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
        _LIBRARIES[path] = loaded
    return _LIBRARIES[path]


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def reading_of(c):
    """The C struct, copied: it borrows from the library."""
    value = ctypes.string_at(c.value, c.value_len) if c.value or c.result == Result.OK else None
    return Reading(Result(c.result), State(c.state), value, c.version, (c.source or b"").decode(errors="replace"),
                   c.as_of_ns, c.age_ns, c.timestamp_ns, bool(c.replaced))


def written_of(c):
    return Written(Result(c.result), c.version, c.seq, c.epoch.decode(), bytes(c.write_id))


def read_options(strong=False, min_version=0, epoch=None, max_stale_ms=0, timeout_ms=0):
    return CReadOptions(ctypes.sizeof(CReadOptions), strong, min_version, epoch.encode() if epoch else None,
                        max_stale_ms, timeout_ms)


def write_options(version=0, ttl_ms=None, invalidate=False, write_id=None, retry=False, timeout_ms=0):
    """ttl_ms: None is the daemon's default, 0 none."""
    return CWriteOptions(ctypes.sizeof(CWriteOptions), version, ttl_ms is not None, ttl_ms or 0, invalidate,
                         timeout_ms, write_id, retry)


class Client:
    """One handle. One thread at a time; several clients are independent."""

    def __init__(self, socket=None, timeout_ms=0, name=None):
        self.lib = library()
        self.handle = ctypes.c_void_p()
        options = COptions(ctypes.sizeof(COptions), os.fsencode(socket) if socket else None,
                           name.encode() if name else None, timeout_ms)
        result = Result(self.lib.dcache_open(ctypes.byref(self.handle), ctypes.byref(options)))
        if result != Result.OK:
            raise OSError(f"dcache_open: {result.name}")
        self._callbacks = []  # kept alive as long as the library may call them

    def close(self):
        if self.handle:
            self.lib.dcache_close(self.handle)  # callbacks run in here
            self.handle = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def error(self):
        return self.lib.dcache_error(self.handle).decode(errors="replace")

    # ---- reading ----

    def get(self, key, **options):
        """options: strong, min_version, epoch, max_stale_ms, timeout_ms."""
        key, ret = _bytes(key), CReading()
        self.lib.dcache_get(self.handle, key, len(key), ctypes.byref(read_options(**options)), ctypes.byref(ret))
        return reading_of(ret)

    def mget(self, keys, **options):
        """One reading per key; raises if the call as a whole was not answered."""
        keys = [_bytes(key) for key in keys]
        c_keys = (CKey * len(keys))(*[CKey(key, len(key)) for key in keys])
        rets = (CReading * len(keys))()
        result = Result(self.lib.dcache_mget(self.handle, c_keys, len(keys), ctypes.byref(read_options(**options)),
                                             rets))
        if result != Result.OK:
            raise OSError(f"dcache_mget: {result.name}: {self.error()}")
        return [reading_of(ret) for ret in rets]

    # ---- writing ----

    def set(self, key, value, version=0, **options):
        """options: ttl_ms, invalidate, write_id, retry, timeout_ms."""
        key, value, ret = _bytes(key), _bytes(value), CWritten()
        self.lib.dcache_set(self.handle, key, len(key), value, len(value),
                            ctypes.byref(write_options(version, **options)), ctypes.byref(ret))
        return written_of(ret)

    def delete(self, key, version=0, **options):
        key, ret = _bytes(key), CWritten()
        self.lib.dcache_delete(self.handle, key, len(key), ctypes.byref(write_options(version, **options)),
                               ctypes.byref(ret))
        return written_of(ret)

    def mset(self, items, timeout_ms=0):
        """items: (key, value) or (key, value, {options}). One Written per item, whatever happened to the call."""
        c_items = (CItem * len(items))()
        for c_item, item in zip(c_items, items):
            key, value = _bytes(item[0]), _bytes(item[1])
            options = write_options(**(item[2] if len(item) > 2 else {}))
            c_item.key, c_item.value, c_item.value_len = CKey(key, len(key)), value, len(value)
            c_item.options = options
        rets = (CWritten * len(items))()
        self.lib.dcache_mset(self.handle, c_items, len(items), timeout_ms, rets)
        return [written_of(ret) for ret in rets]

    def clear(self):
        ret = CWritten()
        self.lib.dcache_clear(self.handle, ctypes.byref(ret))
        return written_of(ret)

    def ping(self):
        return Result(self.lib.dcache_ping(self.handle))

    def call(self, method, params=(), timeout_ms=0):
        """Any method; the decoded result. Raises OSError with the text of the error."""
        packed = msgpack.packb(list(params), use_bin_type=True)
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        result = Result(self.lib.dcache_call(self.handle, method.encode(), packed, len(packed), timeout_ms,
                                             ctypes.byref(data), ctypes.byref(size)))
        if result != Result.OK:
            raise OSError(f"{result.name}: {self.error()}")
        return msgpack.unpackb(ctypes.string_at(data, size.value), raw=False, strict_map_key=False)

    # ---- asynchronous: fn gets a Reading or a Written, for watch a [watch, map] or None ----

    def _keep(self, callback):
        self._callbacks.append(callback)
        return callback

    def get_async(self, key, fn, **options):
        key = _bytes(key)
        callback = self._keep(READ_FN(lambda _, ret: fn(reading_of(ret.contents))))
        return Result(self.lib.dcache_get_async(self.handle, key, len(key), ctypes.byref(read_options(**options)),
                                                callback, None))

    def set_async(self, key, value, fn, version=0, **options):
        key, value = _bytes(key), _bytes(value)
        callback = self._keep(WRITE_FN(lambda _, ret: fn(written_of(ret.contents))))
        return Result(self.lib.dcache_set_async(self.handle, key, len(key), value, len(value),
                                                ctypes.byref(write_options(version, **options)), callback, None))

    def delete_async(self, key, fn, version=0, **options):
        key = _bytes(key)
        callback = self._keep(WRITE_FN(lambda _, ret: fn(written_of(ret.contents))))
        c_options = write_options(version, **options)
        return Result(self.lib.dcache_delete_async(self.handle, key, len(key), ctypes.byref(c_options), callback,
                                                   None))

    def watch(self, prefix, fn):
        def unpack(event, size):
            return msgpack.unpackb(ctypes.string_at(event, size), raw=False) if event else None
        prefix = _bytes(prefix)
        callback = self._keep(EVENT_FN(lambda _, event, size: fn(unpack(event, size))))
        return Result(self.lib.dcache_watch(self.handle, prefix, len(prefix), callback, None))

    def fd(self):
        return self.lib.dcache_fd(self.handle)

    def events(self):
        return self.lib.dcache_events(self.handle)

    def timeout_ms(self):
        return self.lib.dcache_timeout_ms(self.handle)

    def process(self):
        return Result(self.lib.dcache_process(self.handle))


Cache = Client
