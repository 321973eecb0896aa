"""Holds many connections to a port of this machine, until standard input ends.

Usage: crowd.py MODE PORT SOURCE COUNT. Prints a line once all of them are open.
"""
import select
import socket
import struct
import sys

mode, port, source, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
HALF = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\nX-Filler: " + b"x" * 15000
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"

connections = []
for _ in range(count):
    connection = socket.socket()
    if mode == "unread":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    try:
        if mode == "half":
            connection.sendall(HALF)
        elif mode == "unread":
            connection.sendall(REQUEST)
        elif mode == "reset":
            connection.sendall(REQUEST * 3 + HALF)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            continue
    except OSError:
        pass  # it had to make room
    connections.append(connection)
print("ready", flush=True)

# A byte of the request at a time, for as long as anybody takes it.
at = 0
while mode == "drip" and connections:
    if select.select([sys.stdin], [], [], 0.1)[0]:
        sys.exit()
    for connection in list(connections):
        try:
            connection.sendall(HALF[at : at + 1])
            if connection.recv(1, socket.MSG_DONTWAIT) == b"":
                connections.remove(connection)
        except BlockingIOError:
            pass
        except OSError:
            connections.remove(connection)
    at += 1
if mode == "drip":
    print("cut", flush=True)
sys.stdin.read()
