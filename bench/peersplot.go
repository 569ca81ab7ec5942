package main

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the picture, in its own units.
const (
	plotWidth  = 560 // of a panel
	plotNames  = 100 // of which the names take
	plotValues = 90  // and the figures behind the bars
	barHeight  = 18
	panelHead  = 30
	panelGap   = 24
	panelsWide = 2
)

// plot draws the main figures as bars, an SVG: a panel for each, a bar for each peer.
// The whisker goes from quartile to quartile.
func (c *catch) plot() string {
	var panels []figure
	for _, f := range c.rows() {
		if f.plot {
			panels = append(panels, f)
		}
	}
	height := panelHead + len(c.Peers)*barHeight + panelGap
	lines := (len(panels) + panelsWide - 1) / panelsWide
	var b strings.Builder
	w, h := panelsWide*plotWidth, lines*height
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", w, h)
	for i, f := range panels {
		c.panel(&b, f, i%panelsWide*plotWidth, i/panelsWide*height)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c *catch) panel(b *strings.Builder, f figure, x, y int) {
	better := "more is better"
	if f.less {
		better = "less is better"
	}
	fmt.Fprintf(b, `<text x="%d" y="%d"><tspan font-weight="bold" font-size="11">%s</tspan><tspan fill="#777777" font-size="10"> %s</tspan></text>`+"\n", x+8, y+20, html.EscapeString(f.label), better)
	most := 0.0
	for _, name := range c.Peers {
		if v := c.counted(f.key, name); len(v) > 0 {
			most = max(most, quarters(v)[2])
		}
	}
	for i, name := range c.Peers {
		top := y + panelHead + i*barHeight
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", x+plotNames, top+13, html.EscapeString(name))
		v := c.counted(f.key, name)
		if len(v) == 0 {
			fmt.Fprintf(b, `<text x="%d" y="%d" fill="#777777">-</text>`+"\n", x+plotNames+8, top+13)
			continue
		}
		q := quarters(v)
		at := func(v float64) float64 {
			if most <= 0 {
				return 0
			}
			return max(v, 0) / most * (plotWidth - plotNames - plotValues)
		}
		fill := "#9aa5b1"
		if strings.HasPrefix(name, "weir") {
			fill = "#2b6cb0"
		}
		left := float64(x + plotNames + 8)
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left, top+3, at(q[1]), barHeight-5, fill)
		fmt.Fprintf(b, `<path d="M%.1f %dH%.1f" stroke="#1a202c" stroke-width="1.5"/>`+"\n", left+at(q[0]), top+9, left+at(q[2]))
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%.*f%s</text>`+"\n", left+max(at(q[1]), at(q[2]))+5, top+13, f.digits, q[1]*f.scale, c.marked(&f, name))
	}
}
