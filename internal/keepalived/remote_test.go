package keepalived

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"weir/api/client"
)

// TestNoAnswerIsNoRefusal: a director that ends while it is asked has refused nothing; it is told
// of as what it is, and asked again.
func TestNoAnswerIsNoRefusal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 100\r\n\r\n"))
			_ = c.Close()
		}
	}()
	var log logged
	d := &remote{client: client.New(path), log: slog.New(slog.NewTextHandler(&log, nil))}
	d.arrived()
	d.bring(goal{}, false)
	_ = l.Close()
	<-ended
	if said := log.String(); strings.Contains(said, "refused") || !strings.Contains(said, "no answer, and asked again: the director ended") {
		t.Errorf("it said %q", said)
	}
	if d.again.IsZero() {
		t.Error("it is not asked again")
	}
}
