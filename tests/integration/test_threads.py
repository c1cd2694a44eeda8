"""The threads beside the loop, which look up names and read the configuration: what if they hang or cannot be."""
import os
import signal

import pytest

from daemon import Daemon, build_dir
from private_redis import free_port

pytestmark = pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer has to be loaded first")

END = 30  # seconds; what hangs does so for a minute


@pytest.fixture(name="fault")
def fixture_fault(folder):
    """fault("hang") makes it happen from now on; fault.env is for the daemon, fault.path(name) the file."""
    class Fault:
        env = {"LD_PRELOAD": os.path.join(build_dir(), "tests", "integration", "faulty_threads.so"),
               "FAULTY_THREADS": folder}

        def __call__(self, name):
            with open(self.path(name), "wb"):
                pass

        @staticmethod
        def path(name):
            return os.path.join(folder, name)
    return Fault()


def test_a_look_up_that_hangs_does_not_hold_up_the_end(fault):
    fault("hang")
    with Daemon(redis=f"localhost:{free_port()}", env=fault.env).start(ready=False) as daemon:
        daemon.wait_until(lambda: os.path.exists(fault.path("hanging")))
        with daemon.client() as client:
            assert client.call("ping") == "pong"
            process = daemon.process
            process.send_signal(signal.SIGTERM)
            with pytest.raises(EOFError):
                client.receive()
        assert process.wait(END) == 0, daemon.log()
        assert " stopped" in daemon.log().splitlines()[-1]
        assert not os.path.exists(daemon.socket)


def test_a_reload_that_hangs_does_not_hold_up_the_end(redis, fault):
    with Daemon(redis=redis.socket, env=fault.env).start() as daemon:
        daemon.config["access"] = {"read": "@root"}
        daemon.write_config()
        fault("hang")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: os.path.exists(fault.path("hanging")))
        assert daemon.stop(timeout=END) == 0, daemon.log()
        assert " stopped" in daemon.log().splitlines()[-1]
        assert not os.path.exists(daemon.socket)


def test_a_daemon_that_runs_reloads_where_no_more_threads_can_be_made(redis, fault):
    with Daemon(redis=redis.socket, env=fault.env).start() as daemon:
        fault("no-threads")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: daemon.process.poll() is not None or " reloaded " in daemon.log())
        assert daemon.process.poll() is None, daemon.process.returncode
        with daemon.client() as client:
            client.set(b"k", b"v")
            assert client.get(b"k")["value"] == b"v"
        assert daemon.stop() == 0, daemon.log()


def test_a_start_without_threads_fails_and_says_so(redis, fault):
    fault("no-threads")
    with Daemon(redis=redis.socket, env=fault.env).spawn() as daemon:
        assert daemon.process.wait(END) == 1, daemon.log()
        assert 'cannot start cause="no threads' in daemon.log()
        assert not os.path.exists(daemon.socket)
