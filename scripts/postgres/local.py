"""PostgreSQL for tests: lays out, starts, asks and stops one server on a loopback port. Standard library only."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import servers

READY_SECONDS = 60
USER, PASSWORD = "postgres", "postgres-secret"


def programs():
    """The folder of initdb and postgres, installed when missing and possible."""
    fetched = subprocess.run([HERE / "fetch"], stdout=subprocess.PIPE, text=True)
    if fetched.returncode != 0:
        raise SystemExit("PostgreSQL cannot be had")
    return Path(fetched.stdout.strip())


def as_whom():
    """PostgreSQL refuses to run as root: then it runs as the user that its package made."""
    if os.getuid() != 0:
        return {}
    known = pwd.getpwnam("postgres")
    return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}


def lay_out(options):
    folder = Path(tempfile.mkdtemp(prefix="evenkeel-postgres-")).resolve()
    who = as_whom()
    described = {"folder": str(folder), "port": servers.free_ports(1)[0], "user": USER, "password": PASSWORD}
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": described["port"],
        "unix_socket_directories": folder,
        "fsync": "on",
        "max_connections": 50,
        "shared_buffers": "32MB",
    }
    (folder / "password").write_text(PASSWORD)
    if options.tls:
        subprocess.run([HERE.parent / "kafka/certificates", folder / "tls"], check=True)
        described["tls"] = {"ca": str(folder / "tls/ca.pem"), "stranger_ca": str(folder / "tls/stranger-ca.pem")}
        settings |= {"ssl": "on", "ssl_cert_file": folder / "tls/server.pem", "ssl_key_file": folder / "tls/server.key"}
        os.chmod(folder / "tls/server.key", 0o600)
    if who:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, who["user"], who["group"])
        # Tests of whoever may read the authority's certificate.
        os.chmod(folder, 0o755)
    settings |= dict(line.split("=", 1) for line in options.set)
    made = subprocess.run(
        [programs() / "initdb", "--pgdata", folder / "data", "--username", USER, "--pwfile", folder / "password",
         "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, **who)
    if made.returncode != 0:
        raise SystemExit(f"initdb failed: {made.stdout}")
    with open(folder / "data/postgresql.conf", "a") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    (folder / "server.json").write_text(json.dumps(described, indent=1))
    return described


def launch(described, leave=True):
    """Starts the server. One that is to be left running has a session of its own, so that a Ctrl-C in the terminal does not
    end it."""
    folder = Path(described["folder"])
    if not pids(described):
        # A killed server that nobody has waited for yet is gone, and PostgreSQL takes its number for a running one.
        for left in (folder / "data/postmaster.pid", folder / f".s.PGSQL.{described['port']}.lock"):
            left.unlink(missing_ok=True)
    with open(folder / "postgres.log", "ab") as log:
        return subprocess.Popen([programs() / "postgres", "-D", folder / "data"], stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log, cwd=folder, start_new_session=leave, **as_whom())


def wait_until_ready(described, process):
    """Asks until it takes connections. Raises Died when it ends before that."""
    ask = [programs() / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(described["port"])]
    servers.wait_until_ready("PostgreSQL", Path(described["folder"]) / "postgres.log", process,
                             lambda: subprocess.run(ask).returncode == 0, READY_SECONDS)


def pids(described):
    """The server's own process first, then those that it started for connections and else."""
    shown = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], stdout=subprocess.PIPE, text=True).stdout
    lines = [line.split(None, 2) for line in shown.splitlines()]
    own = [int(pid) for pid, _, command in lines if command.endswith(f"-D {described['folder']}/data")]
    known = described.setdefault("children", [])
    known += [int(pid) for pid, parent, _ in lines if int(parent) in own and int(pid) not in known]
    # Orphans keep a name that begins so until they have seen that their parent is gone.
    alive = [int(pid) for pid, _, command in lines if int(pid) in known and command.startswith("postgres: ")]
    return own + alive


def send_signal(described, name):
    """Sends a signal to the server; STOP and CONT to all its processes. Waits until all are gone when it ends them."""
    running = pids(described)
    for pid in running if name in ("STOP", "CONT") else running[:1]:
        servers.send(pid, name)
    if name in ("TERM", "INT", "QUIT", "KILL"):
        servers.wait_until_gone("PostgreSQL", lambda: pids(described))


def load(folder):
    return servers.load(folder, "server.json")
