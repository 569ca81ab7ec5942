package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/internal/director"
)

// inFlight bounds the requests that are answered at a time: each stops every worker for a
// moment. More are refused with 503.
const inFlight = 2

// Listen takes the address, host:port, for Serve.
func Listen(addr string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, fmt.Errorf("--metrics %s: want ADDRESS:PORT, such as 127.0.0.1:9765", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--metrics %s: %w", addr, err)
	}
	return l, nil
}

// Serve answers until ctx ends. It closes l.
func Serve(ctx context.Context, l net.Listener, d *director.Director, version string) error {
	s := &http.Server{Handler: Handler(d, version), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Handler answers GET /metrics.
func Handler(d *director.Director, version string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(Registry(d, version), promhttp.HandlerOpts{MaxRequestsInFlight: inFlight}))
	return mux
}

// Registry has all metrics of a director and of its process.
func Registry(d *director.Director, version string) *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(&collector{d: d, version: version}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
