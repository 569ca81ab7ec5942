package dpip

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// listing is what one round of `link show` prints.
type listing []entry

// entry is a port or a worker.
type entry struct {
	group  string // title above the first entry of the group; "" for none
	name   string // finds the entry of the round before
	text   string // the lines that are always printed
	detail string // -v
	totals []figures
	rates  []figures // counters whose growth per second -i prints; same entry, same shape
}

// figures is a line of a table: names and their counters.
type figures []figure

type figure struct {
	name  string
	value uint64
}

// watch prints a listing once, or with -i again every interval with what the
// counters grew by per second. ctx's end while it waits ends it without error.
func (s *session) watch(ctx context.Context, list func() (listing, error)) error {
	before, err := list()
	if err != nil || s.opts.interval == 0 {
		s.printListing(before, nil, 0)
		return err
	}
	since := s.env.Now()
	for n := uint32(0); s.opts.count == 0 || n < s.opts.count; n++ {
		if s.env.Sleep(ctx, time.Duration(s.opts.interval)*time.Second) != nil {
			return nil
		}
		after, err := list()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		now := s.env.Now()
		if s.opts.color {
			s.printf("\x1b[H\x1b[2J") // home, clear: redraw in place
		}
		s.printListing(after, before, now.Sub(since))
		if err := s.out.Flush(); err != nil {
			return err
		}
		before, since = after, now
	}
	return nil
}

// printListing prints l; with an elapsed time also the growth since before.
func (s *session) printListing(l, before listing, elapsed time.Duration) {
	group := ""
	for _, e := range l {
		if e.group != group {
			group = e.group
			s.printf("%s\n", group)
		}
		s.printf("%s", e.text)
		if s.opts.stats {
			s.printTable(20, e.totals, func(f figure) string { return strconv.FormatUint(f.value, 10) })
		}
		if s.opts.verbose {
			s.printf("%s", e.detail)
		}
		if elapsed > 0 {
			s.printRates(e, before, elapsed)
		}
	}
}

func (s *session) printRates(e entry, before listing, elapsed time.Duration) {
	was := map[string]uint64{}
	known := false
	for _, b := range before {
		if b.name != e.name {
			continue
		}
		known = true
		for _, line := range b.rates {
			for _, f := range line {
				was[f.name] = f.value
			}
		}
	}
	s.printTable(16, e.rates, func(f figure) string {
		if !known || f.value < was[f.name] {
			return "-" // a new port, or the director was restarted
		}
		return strconv.FormatFloat(float64(f.value-was[f.name])/elapsed.Seconds(), 'f', 0, 64)
	})
}

// printTable prints a header line and a line of values for each line of
// figures, in columns of width. With -C what is not zero stands out.
func (s *session) printTable(width int, lines []figures, value func(figure) string) {
	for _, line := range lines {
		var names, values []string
		for _, f := range line {
			names = append(names, f.name)
			values = append(values, value(f))
		}
		text := row(width, values)
		if s.opts.color {
			text = highlight(width, values)
		}
		s.printf("%s%s", row(width, names), text)
	}
}

// row lays out columns of width, indented by four, without trailing spaces.
func row(width int, columns []string) string {
	var b strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&b, "%-*s", max(width, len(c)+1), c) // a long one leaves a space as well
	}
	return "    " + strings.TrimRight(b.String(), " ") + "\n"
}

// highlight is row with every figure that is not zero in bold.
func highlight(width int, columns []string) string {
	var b strings.Builder
	b.WriteString("    ")
	for i, c := range columns {
		pad := strings.Repeat(" ", max(0, width-len(c)))
		if i == len(columns)-1 {
			pad = ""
		}
		if c != "0" && c != "-" {
			c = "\x1b[1m" + c + "\x1b[0m"
		}
		b.WriteString(c + pad)
	}
	return b.String() + "\n"
}
