package health

import "context"

// TCP is TCP_CHECK: the server accepts a connection.
type TCP struct{ Way }

// Probe implements [Probe].
func (t TCP) Probe(ctx context.Context) Finding {
	ctx, cancel := t.within(ctx)
	defer cancel()
	l, err := t.dialTCP(ctx)
	if err != nil {
		return found(err)
	}
	l.hangUp()
	return Finding{}
}
