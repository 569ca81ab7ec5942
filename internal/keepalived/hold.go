package keepalived

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
)

// How long a holder waits before it asks again.
const (
	soon = 50 * time.Millisecond
	late = 2 * time.Second
)

// holding is a stream of rpc HoldAddresses that is kept alive.
type holding struct {
	client weirv1.DirectorClient
	log    *slog.Logger
	name   string
	// changed hears that the addresses have arrived or left.
	changed func(there bool)
	cancel  context.CancelFunc
	arrived chan struct{} // closed when the director has taken addresses of it
	once    sync.Once
	ended   chan struct{}
}

// hold keeps addresses with the director until it is let go; without addresses it is a
// line that says whether the director lives.
func hold(c weirv1.DirectorClient, log *slog.Logger, name string, addresses []*weirv1.Address, changed func(there bool)) *holding {
	ctx, cancel := context.WithCancel(context.Background())
	h := &holding{client: c, log: log, name: name, changed: changed, cancel: cancel, arrived: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		h.keep(ctx, addresses)
	}()
	return h
}

// release lets go, and returns when the stream has ended.
func (h *holding) release() {
	h.cancel()
	<-h.ended
}

// until lets go when another has arrived, so that what both hold does not leave for a moment.
func (h *holding) until(other *holding) {
	select {
	case <-other.arrived:
	case <-other.ended:
	case <-time.After(late):
	}
	h.cancel()
}

// keep asks for the addresses again and again. Where the director refuses some of many, each
// half is asked for by itself, so that the others come.
func (h *holding) keep(ctx context.Context, addresses []*weirv1.Address) {
	wait, told := soon, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := h.stream(ctx, addresses)
		if ctx.Err() != nil {
			return
		}
		if !isEnd(err) {
			if len(addresses) > 1 {
				h.halves(ctx, addresses)
				return
			}
			if said := client.Message(err); said != told && len(addresses) == 1 {
				h.log.Error(fmt.Sprintf("%s: the director does not take %s: %s", h.name, addresses[0].Prefix, said))
				told = said
			}
		} else if time.Since(began) > late {
			wait = soon
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, late)
	}
}

func (h *holding) halves(ctx context.Context, addresses []*weirv1.Address) {
	other := make(chan struct{})
	go func() {
		defer close(other)
		h.keep(ctx, addresses[len(addresses)/2:])
	}()
	h.keep(ctx, addresses[:len(addresses)/2])
	<-other
}

// stream holds them for the life of one stream.
func (h *holding) stream(ctx context.Context, addresses []*weirv1.Address) error {
	stream, err := h.client.HoldAddresses(ctx, connect.NewRequest(&weirv1.HoldAddressesRequest{Holder: h.name, Addresses: addresses}))
	if err != nil {
		return err
	}
	defer stream.Close()
	if !stream.Receive() {
		return ended(stream.Err())
	}
	h.once.Do(func() { close(h.arrived) })
	h.changed(true)
	for stream.Receive() {
	}
	h.changed(false)
	return ended(stream.Err())
}

// ended is why a stream is over.
func ended(err error) error {
	if err == nil {
		return io.EOF
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return err
}
