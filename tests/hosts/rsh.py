"""A remote shell for the hosts of `up.sh`: rsh.py HOST COMMAND..., or
`rsh.py serve FILE`, which makes that file when it listens.

As with ssh, the command is a line for a shell in the home directory, with a bare
environment; standard input and output go over a TCP connection, standard error over a
second one, and the command's end closes both. There is no encryption and no password:
it is for networks that nobody else is on.
"""

import os
import signal
import socket
import sys
import threading

PORT = 514
CHUNK = 65536


def serve(ready: str) -> None:
    """Serve as the first process of a host, which collects orphans, too."""
    with socket.create_server(("", PORT), backlog=64) as server:
        open(ready, "w").close()
        while True:
            # Children that have ended are collected as new ones come.
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
            server.settimeout(0.2)
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                server.close()
                connection.settimeout(None)
                one(connection)
            connection.close()


def one(connection: socket.socket) -> None:
    with connection.makefile("rb", buffering=0) as lines:
        port, _, command = lines.readline().decode().strip().partition(" ")
    errors = socket.create_connection((connection.getpeername()[0], int(port)))
    os.dup2(errors.fileno(), 2)
    os.dup2(connection.fileno(), 1)
    os.dup2(connection.fileno(), 0)
    bare = {"HOME": "/root", "USER": "root", "SHELL": "/bin/sh"}
    bare["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.chdir("/root")
    os.execve("/bin/sh", ["sh", "-c", command], bare)


def copy(source: int, target: int, then: socket.socket | None = None) -> None:
    try:
        while data := os.read(source, CHUNK):
            while data:
                data = data[os.write(target, data) :]
    except OSError:
        pass
    if then is not None:
        try:
            then.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def call(host: str, command: str) -> int:
    server = socket.create_server(("", 0))
    try:
        connection = socket.create_connection((host, PORT), timeout=10)
    except OSError as error:
        print(f"rsh: {host}: {error}", file=sys.stderr)
        return 255
    connection.settimeout(None)
    connection.sendall(f"{server.getsockname()[1]} {command}\n".encode())
    errors, _ = server.accept()
    fd = connection.fileno()
    threading.Thread(target=copy, args=(0, fd, connection), daemon=True).start()
    told = threading.Thread(target=copy, args=(errors.fileno(), 2), daemon=True)
    told.start()
    copy(fd, 1)
    told.join(0.5)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    words = sys.argv[1:]
    if words[:1] == ["serve"]:
        serve(words[1])
    sys.stdout.flush()
    status = call(words[0], " ".join(words[1:]))
    sys.stderr.flush()
    os._exit(status)
