"""http_peer.py PORT: Python's own http.server, which answers every request with the
client's address as the module gives it to a handler, and logs as the module does."""

import http.server
import sys


class Peer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"Your ip:port : %s:%d\n" % (self.client_address[0].encode(), self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


Server(("", int(sys.argv[1])), Peer).serve_forever()
