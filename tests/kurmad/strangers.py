"""Callers whose right to call is in doubt; each prints what became of the call.

strangers.py userns SOCKET       as root of a user namespace, which is 100000 outside
strangers.py passed SOCKET UID   over a connection that root made and another user got
strangers.py dropped SOCKET UID  as a process that became another user after it connected
"""

import array
import ctypes
import os
import socket
import sys

CLONE_NEWUSER = 0x10000000

verb, path, *rest = sys.argv[1:]
REQUEST = (
    b"POST /kurma.v1.Containers/Stop HTTP/1.1\r\nHost: kurma\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)


def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def call(connection, subject):
    body = b'{"container":"%s"}' % subject.encode()
    connection.sendall(REQUEST % (len(body), body))
    print(connection.recv(4096).split(b"\r\n")[0].decode())


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def child(work):
    """Runs work in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def userns():
    ready, mapped = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        assert ctypes.CDLL(None).unshare(CLONE_NEWUSER) == 0
        os.write(ready[1], b"x")
        os.read(mapped[0], 1)
        become(0)
        try:
            call(connect(), "userns")
        except OSError as error:
            print(type(error).__name__)
        sys.stdout.flush()
        os._exit(0)
    os.read(ready[0], 1)
    for kind in ("uid", "gid"):
        with open(f"/proc/{pid}/{kind}_map", "w") as file:
            file.write("0 100000 1000")
    os.write(mapped[1], b"x")
    os.waitpid(pid, 0)


def passed():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    connection = connect()
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]))])

    def take():
        become(int(rest[0]))
        _, received, _, _ = theirs.recvmsg(1, socket.CMSG_LEN(4))
        number = array.array("i", received[0][2])[0]
        call(socket.socket(fileno=number), "passed")

    child(take)


def dropped():
    def drop():
        connection = connect()
        become(int(rest[0]))
        call(connection, "dropped")

    child(drop)


globals()[verb]()
