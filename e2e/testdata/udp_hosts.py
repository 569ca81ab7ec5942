"""Plays many inside hosts: from each of HOSTS addresses beginning with FIRST, PORTS
flows to SERVER, all with the same ports on every host. Prints how many flows there
were, how many distinct addresses the server saw, and how many answers were wrong:
argv is FIRST HOSTS PORTS SERVER PORT."""
import ipaddress
import select
import socket
import sys

first, hosts, ports = ipaddress.ip_address(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
server = (sys.argv[4], int(sys.argv[5]))
seen, wrong, flows = set(), 0, 0
for port in range(20000, 20000 + ports):
    waiting = {}
    for i in range(hosts):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((str(first + i), port))
        s.connect(server)
        token = b"%s:%d" % (str(first + i).encode(), port)
        s.send(token)
        waiting[s] = token
    flows += hosts
    for attempt in range(5):
        for s in list(waiting):
            if attempt:
                s.send(waiting[s])
        while waiting:
            ready, _, _ = select.select(list(waiting), [], [], 1)
            if not ready:
                break
            for s in ready:
                who, token = s.recv(2048).split(b" ", 1)
                wrong += token != waiting[s]
                seen.add(who)
                s.close()
                del waiting[s]
        if not waiting:
            break
    wrong += len(waiting)
    for s in waiting:
        s.close()
print(flows, len(seen), wrong)
