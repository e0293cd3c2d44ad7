"""DynamoDB local for tests: starts, asks and stops one server on a loopback port. Standard library only."""

import http.client
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import servers

DEFAULT_VERSION = "2.6.1"
READY_SECONDS = 120

# C1 alone and a serial collector start soonest and use the least memory; a benchmark passes its own flags.
QUICK_JVM = "-Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xshare:auto"


def jars(version):
    """The folder that holds the jars of this version, fetched when missing."""
    fetched = subprocess.run([HERE / "fetch", version], stdout=subprocess.PIPE, text=True)
    if fetched.returncode != 0:
        raise SystemExit(f"DynamoDB local {version} cannot be fetched")
    return Path(fetched.stdout.strip())


def launch(options):
    """Starts the JVM and records its pid. Returns what it is and the process. One that is to be left running has a session of
    its own, so that a Ctrl-C in the terminal does not end it. All its data is in memory."""
    folder = Path(tempfile.mkdtemp(prefix="evenkeel-dynamodb-")).resolve()
    port = servers.free_ports(1)[0]
    here = jars(options.version)
    command = [
        os.environ.get("JAVA_HOME", "") and f"{os.environ['JAVA_HOME']}/bin/java" or "java",
        *shlex.split(options.jvm),
        f"-Djava.library.path={here}",
        # Names the process for `stop`.
        f"-Devenkeel.folder={folder}",
        "-cp", f"{here}/*", "com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
        "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port),
    ]
    with open(folder / "dynamodb.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                   start_new_session=not options.foreground)
    described = {"version": options.version, "folder": str(folder), "port": port,
                 "endpoint": f"http://127.0.0.1:{port}", "pid": process.pid}
    (folder / "dynamodb.json").write_text(json.dumps(described, indent=1))
    return described, process


def wait_until_ready(described, process):
    """Asks for the list of tables until it is answered. Raises Died when the JVM ends before that."""
    servers.wait_until_ready("DynamoDB local", Path(described["folder"]) / "dynamodb.log", process,
                             lambda: answers(described["port"]), READY_SECONDS)


def answers(port):
    """Whether the server lists its tables; it takes any signature."""
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "DynamoDB_20120810.ListTables",
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/dynamodb/aws4_request, "
                         "SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", body="{}", headers=headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def running_pid(described):
    """The pid of the JVM, or None: a recorded pid that another program has by now is not taken for it."""
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(described["pid"])],
                           stdout=subprocess.PIPE, text=True).stdout
    return described["pid"] if f"-Devenkeel.folder={described['folder']} " in shown else None


def send_signal(described, name):
    """Sends a signal and waits until the JVM is gone when it ends a process."""
    pid = running_pid(described)
    if pid is None or not servers.send(pid, name):
        return
    if name in ("TERM", "KILL"):
        servers.wait_until_gone("DynamoDB local",
                                lambda: running_pid(described) is not None or servers.listens(described["port"]))


def undo(described):
    send_signal(described, "KILL")
    servers.remove(described["folder"])


def load(folder):
    return servers.load(folder, "dynamodb.json")
