package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Between these lines a file's text is ours.
const (
	markBegin = "<!-- bench-peers -->"
	markEnd   = "<!-- /bench-peers -->"
)

// page is the whole report, as Markdown.
func (c *catch) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s. Load of the machine at the beginning: %s. %s.\n\n", c.Machine, c.When, c.Load, strings.Join(c.Versions, "; "))
	fmt.Fprintf(&b, "%d rounds of all in turn, of iperf3 %d; slices of %g s of calm time. %s Medians of the rounds, and in brackets the quartiles.\n\n", c.Reps, max(c.Reps/iperfFewer, 1), c.Seconds, c.calmness())
	c.figures(&b, c.rows(), true)
	fmt.Fprintf(&b, "\nThe same as multiples of others'; with ± where the rounds say that twice the standard deviation is more than 5 %%. With %s one of the two has no figure of calm time: then the rounds of both that were disturbed count, so that where the other has one such a ratio is not the quotient of the two figures above.\n\n", mark)
	c.ratios(&b)
	b.WriteByte('\n')
	for _, name := range c.Peers {
		if text := c.texts[name]; text != "" {
			fmt.Fprintf(&b, "- %s: %s\n", name, text)
		}
	}
	return b.String()
}

// summary is what the README has of it.
func (c *catch) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s; %s. Medians of %d rounds of all in turn; with %s of time that others of the machine disturbed.\n\n", c.Machine, c.When, strings.Join(c.Versions, "; "), c.Reps, mark)
	var rows []figure
	for _, f := range c.rows() {
		if f.short {
			rows = append(rows, f)
		}
	}
	c.figures(&b, rows, false)
	return b.String()
}

// head is the first two lines of a table with a column for each peer.
func (c *catch) head(b *strings.Builder) {
	fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(c.Peers, " | "), strings.Repeat("---|", len(c.Peers)))
}

func (c *catch) figures(b *strings.Builder, rows []figure, spread bool) {
	c.head(b)
	for _, f := range rows {
		fmt.Fprintf(b, "| %s |", f.label)
		for _, name := range c.Peers {
			v := c.counted(f.key, name)
			if len(v) == 0 {
				b.WriteString(" - |")
				continue
			}
			q := quarters(v)
			fmt.Fprintf(b, " %.*f%s", f.digits, q[1]*f.scale, c.marked(&f, name))
			if spread && len(v) > 1 {
				fmt.Fprintf(b, " (%.*f-%.*f)", f.digits, q[0]*f.scale, f.digits, q[2]*f.scale)
			}
			b.WriteString(" |")
		}
		b.WriteByte('\n')
	}
}

// doubtful is from where the table says how far a ratio is to be trusted.
const doubtful = agreement / 2

func (c *catch) ratios(b *strings.Builder) {
	c.head(b)
	for _, f := range c.rows() {
		if f.beside == "" {
			continue
		}
		fmt.Fprintf(b, "| %s: of %s |", f.label, f.beside)
		for _, name := range c.Peers {
			switch r, ok := c.ratio(&f, name, f.beside); {
			case !ok:
				b.WriteString(" - |")
			case name == f.beside:
				b.WriteString(" 1 |")
			default:
				fmt.Fprintf(b, " %s |", &r)
			}
		}
		b.WriteByte('\n')
	}
}

// String is a ratio as the table has it.
func (r *ratio) String() string {
	s := strconv.FormatFloat(r.times, 'f', decimals(r.times), 64)
	if r.disturbed {
		s += mark
	}
	if r.within > doubtful {
		s += fmt.Sprintf(" ±%.0f %%", 100*r.within)
	}
	return s
}

// decimals is how many of a ratio are written, so that one is not a tenth of it.
func decimals(times float64) int {
	if times < 0.3 {
		return 3
	}
	return 2
}

// write puts report and picture where readers find them.
func (c *catch) write(dir string) error {
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	return errors.Join(
		rewrite(at("docs/performance.md"), "\n"+c.page()+"\n![The same as bars](performance.svg)\n\n"),
		rewrite(at("README.md"), "\n"+c.summary()+"\n![The same as bars](docs/performance.svg)\n\n"),
		os.WriteFile(at("docs/performance.svg"), []byte(c.plot()), 0o644),
	)
}

// rewrite replaces what is between the marks of a file.
func rewrite(name, text string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(old), markBegin)
	_, after, ok2 := strings.Cut(rest, markEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has not the lines %s and %s, between which the results go", name, markBegin, markEnd)
	}
	return os.WriteFile(name, []byte(before+markBegin+"\n"+text+markEnd+after), 0o644)
}
