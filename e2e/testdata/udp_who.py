"""Answers each datagram with the sender's address as this machine sees it, a space
and the datagram: argv is address and port to listen on."""
import socket
import sys

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
s.bind((sys.argv[1], int(sys.argv[2])))
while True:
    data, (host, port) = s.recvfrom(2048)
    s.sendto(b"%s:%d %s" % (host.encode(), port, data), (host, port))
