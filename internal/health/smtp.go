package health

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/textproto"
)

// maxSMTP is how much a mail server may say in a whole check, in bytes.
const maxSMTP = 64 << 10

// SMTP is SMTP_CHECK: the server greets, takes our HELO, and lets us go (RFC 5321,
// section 4.3.2). A check of several hosts is several checks.
type SMTP struct {
	Way
	// Helo is the name that we give. "" means smtpchecker.keepalived.org, as stock.
	Helo string
}

// Probe implements [Probe].
func (s SMTP) Probe(ctx context.Context) Finding {
	ctx, cancel := s.within(ctx)
	defer cancel()
	l, err := s.dialTCP(ctx)
	if err != nil {
		return found(err)
	}
	defer l.hangUp()
	from := textproto.NewReader(bufio.NewReader(io.LimitReader(l, maxSMTP)))
	for _, step := range []struct {
		say  string
		code int
	}{
		{"", 220},
		{"HELO " + cmp.Or(s.Helo, "smtpchecker.keepalived.org"), 250},
		{"QUIT", 221},
	} {
		if step.say != "" {
			if _, err := fmt.Fprintf(l, "%s\r\n", step.say); err != nil {
				return found(err)
			}
		}
		if _, _, err := from.ReadResponse(step.code); err != nil {
			return found(fmt.Errorf("%s: %w", cmp.Or(step.say, "greeting"), err))
		}
	}
	return Finding{}
}
