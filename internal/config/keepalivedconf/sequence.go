package keepalivedconf

import (
	"strconv"
	"strings"

	"weir/internal/config/block"
)

// sequence takes the rest of a line once for each value of "~SEQ(NAME, first,
// step, last)", "~SEQx(…)" (in hexadecimal digits) or "~LST(NAME, value, …)".
func (l *loader) sequence(at block.Pos, text string, depth int) {
	head, rest, closed := strings.Cut(text, ")")
	kind, inside, opened := strings.Cut(head, "(")
	if !opened || !closed {
		l.errorf(at, "%s needs its values in parentheses: write \"~SEQ(NAME, 1, 9) ...\"", shown(kind))
		return
	}
	if strings.ContainsAny(inside, "{}") {
		l.errorf(at, "~LST with several names is not supported: write a line for each")
		return
	}
	args := strings.Split(inside, ",")
	for i := range args {
		args[i] = strings.TrimSpace(args[i])
	}
	if !isName(args[0]) || len(args) < 2 {
		l.errorf(at, "%s needs a name and values: write \"~SEQ(NAME, 1, 9) ...\"", kind)
		return
	}
	before, had := l.defs[args[0]]
	each := func(value string) {
		l.defs[args[0]] = []string{value}
		l.line(at, rest, depth+1)
		if l.grown += len(rest) + 1; l.grown > block.MaxTotal {
			l.stop(at, "sequences make more than %d bytes of the file", block.MaxTotal)
		}
	}
	switch kind {
	case "~LST":
		for _, v := range args[1:] {
			each(v)
		}
	case "~SEQ", "~SEQx":
		first, step, last, ok := bounds(args[1:])
		if !ok {
			l.errorf(at, "%s(%s) is not NAME, first, step, last with numbers that lead from first to last", kind, shown(inside))
			return
		}
		base := 10
		if kind == "~SEQx" {
			base = 16
		}
		for v := first; (step > 0 && v <= last || step < 0 && v >= last) && !l.full; v += step {
			each(strconv.FormatInt(v, base))
		}
	default:
		l.errorf(at, "%s is none of ~SEQ, ~SEQx, ~LST", shown(kind))
	}
	if delete(l.defs, args[0]); had {
		l.defs[args[0]] = before
	}
}

// bounds reads "last", "first, last" or "first, step, last".
func bounds(args []string) (first, step, last int64, ok bool) {
	n := make([]int64, len(args))
	for i, a := range args {
		v, err := strconv.ParseInt(a, 0, 32)
		if err != nil {
			return 0, 0, 0, false
		}
		n[i] = v
	}
	switch len(n) {
	case 1:
		first, last = 1, n[0]
		if last < 0 {
			first = -1
		}
	case 2:
		first, last = n[0], n[1]
	case 3:
		return n[0], n[1], n[2], n[1] != 0
	default:
		return 0, 0, 0, false
	}
	if step = 1; last < first {
		step = -1
	}
	return first, step, last, true
}
