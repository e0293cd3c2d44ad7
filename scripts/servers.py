"""What the scripts that start servers for tests have in common. Standard library only."""

import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

END_SECONDS = 60


class Died(Exception):
    """A server ended before it answered; the text holds its last words."""


def free_ports(count):
    """Free loopback ports below the range from which the system takes ports for outgoing connections: a server that was
    killed finds its port free when it comes back."""
    held, ports = [], []
    candidates = random.sample(range(12_000, 32_000), 4_000)
    for port in candidates:
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        held.append(probe)
        ports.append(port)
        if len(ports) == count:
            break
    for probe in held:
        probe.close()
    if len(ports) < count:
        raise SystemExit(f"fewer than {count} loopback ports are free between 12000 and 32000")
    return ports


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def last_words(log):
    return Path(log).read_text(errors="replace")[-3000:]


def wait_until_ready(name, log, process, answers, seconds):
    """Asks until it answers. Raises Died when the process ends before that."""
    deadline = time.monotonic() + seconds
    while not answers():
        if process.poll() is not None:
            raise Died(f"{name} ended before it answered: {last_words(log)}")
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} did not answer within {seconds} s: {last_words(log)}")
        # The pause between two questions, not a wait for readiness.
        time.sleep(0.05)


def wait_until_gone(name, is_there):
    deadline = time.monotonic() + END_SECONDS
    while is_there():
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} did not end within {END_SECONDS} s")
        time.sleep(0.05)


def send(pid, name):
    """Sends a signal to a process that may be gone by now. Returns whether it was there."""
    try:
        os.kill(pid, getattr(signal, f"SIG{name}"))
    except ProcessLookupError:
        return False
    return True


def begin(start, wait, undo, is_new):
    """Starts a server and waits until it answers; undoes what there is of it otherwise. Another program may take a port between
    the look and the bind: then all is begun anew, where it `is_new`."""
    for attempt in range(3):
        described, started = start()
        try:
            wait(described, started)
            return described, started
        except BaseException as error:
            said = str(error)
            undo(described)
            if isinstance(error, Died) and is_new and attempt < 2 and "Address already in use" in said:
                continue
            raise SystemExit(said)


def end_when_told():
    """Lets an end that is asked for pass through the same clean-up as a closed pipe."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))


def serve(described, foreground, undo):
    """Tells of a server in one line. In the foreground it runs until standard input is closed, and is undone then."""
    try:
        print(json.dumps(described), flush=True)
        if foreground:
            while os.read(0, 4096):
                pass
    finally:
        if foreground:
            undo(described)


def load(folder, name, what="server"):
    """What a folder says of the server that it holds."""
    try:
        return json.loads((Path(folder) / name).read_text())
    except OSError as error:
        raise SystemExit(f"{folder} holds no {what}: {error}")


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
