package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// The real server's place in the demo's network.
const (
	serverLink = "eth0"
	serverPort = 80
)

// serverReady is the line a real server prints when it can be asked.
const serverReady = "ready"

// toaPatience is how long an answer waits for the option of address to be read
// off the wire. It lies there already: only a busy machine needs a moment.
const toaPatience = time.Second

// RealServer is one of the demo's real servers: it listens on port 80 of all
// addresses and answers every HTTP request in plain text with three lines: its
// name, the peer that TCP sees, and the client's address as the option of address
// (TOA) gave it on the wire. It prints "ready" to out and serves until ctx ends,
// which is no error.
func RealServer(ctx context.Context, out io.Writer, name string) error {
	w, err := watch(serverLink, serverPort)
	if err != nil {
		return err
	}
	defer w.close()
	go w.run()

	l, err := net.Listen("tcp4", fmt.Sprintf(":%d", serverPort))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { answer(rw, r, name, w) }),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // a client that hangs up is none of the reader's business
		ConnState: func(c net.Conn, s http.ConnState) {
			if peer, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil && s == http.StateClosed {
				w.forget(peer)
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if _, err := fmt.Fprintln(out, serverReady); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func answer(rw http.ResponseWriter, r *http.Request, name string, w *watcher) {
	toa := "none"
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), toaPatience)
		defer cancel()
		if client, ok := w.client(ctx, peer); ok {
			toa = client.String()
		}
	}
	rw.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(rw, "I am %s\nYour ip:port : %s\nclient in TOA : %s\n", name, r.RemoteAddr, toa)
}
