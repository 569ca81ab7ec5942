package dpvsconf

import (
	"encoding/hex"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weir/internal/config/block"
)

// block reads the inside of a block that has no name.
func (r *reader) block(rs rules) rule {
	return func(n *block.Node) {
		switch {
		case !n.IsBlock():
			r.errorf(n.Pos, "%s is a block: write \"%s { ... }\"", n.Keyword, n.Keyword)
		case len(n.Args) > 0:
			r.errorf(n.Pos, "block %s takes no name: remove %s", n.Keyword, shown(n.Args[0]))
		default:
			r.read(n.Keyword, n.Block, rs)
		}
	}
}

// named reads a block that has a name.
func (r *reader) named(read func(n *block.Node, name string)) rule {
	return func(n *block.Node) {
		switch {
		case len(n.Args) != 1 || n.Args[0] == "":
			r.errorf(n.Pos, "%s needs one name: write \"%s NAME { ... }\"", n.Keyword, n.Keyword)
		case !n.IsBlock():
			r.errorf(n.Pos, "%s %s needs a block: write \"%s %s { ... }\"", n.Keyword, shown(n.Args[0]), n.Keyword, shown(n.Args[0]))
		default:
			read(n, n.Args[0])
		}
	}
}

// one returns the value of a keyword that takes exactly one.
func (r *reader) one(n *block.Node) (string, bool) {
	switch {
	case n.IsBlock():
		r.errorf(n.Pos, "%s takes a value, not a block", n.Keyword)
	case len(n.Args) == 0:
		r.errorf(n.Pos, "%s needs a value", n.Keyword)
	case len(n.Args) > 1:
		r.errorf(n.Pos, "%s takes one value, not %d: put each keyword on a line of its own", n.Keyword, len(n.Args))
	default:
		return n.Args[0], true
	}
	return "", false
}

// number reads a whole number from lo to hi. otherwise says what counts when the
// keyword is absent.
func number[T ~int | ~uint8 | ~uint32](r *reader, dst *T, lo, hi int, otherwise string) rule {
	return func(n *block.Node) {
		if v, ok := r.one(n); ok {
			if i, ok := r.integer(n, v, lo, hi, otherwise); ok {
				*dst = T(i)
			}
		}
	}
}

// integer reads one number of a keyword's values.
func (r *reader) integer(n *block.Node, v string, lo, hi int, otherwise string) (int, bool) {
	i, err := strconv.Atoi(v)
	if err != nil || i < lo || i > hi {
		r.errorf(n.Pos, "%s %s is not a number from %d to %d (default: %s)", n.Keyword, shown(v), lo, hi, otherwise)
		return 0, false
	}
	return i, true
}

// seconds reads a timeout; its default is what dst holds.
func (r *reader) seconds(dst *uint32) rule {
	return number(r, dst, 1, maxSeconds, strconv.Itoa(int(*dst)))
}

// maxSeconds is DPVS's greatest timeout, a second short of a year.
const maxSeconds = 31535999

// flag reads a switch: the bare keyword means on.
func (r *reader) flag(dst *bool) rule {
	otherwise := "off"
	if *dst {
		otherwise = "on"
	}
	return func(n *block.Node) {
		if len(n.Args) == 0 && !n.IsBlock() {
			*dst = true
			return
		}
		v, ok := r.one(n)
		switch {
		case !ok:
		case v == "on":
			*dst = true
		case v == "off":
			*dst = false
		default:
			r.errorf(n.Pos, "%s %s is neither on nor off (default: %s)", n.Keyword, shown(v), otherwise)
		}
	}
}

// uoaMode reads DPVS's carrier of UOA, one for all services. Here each service
// has its own, so that none loses datagrams at real servers that know no UOA.
func (r *reader) uoaMode(n *block.Node) {
	mode := ""
	r.checked(choice(r, &mode, "opp", "ipo"), func(n *block.Node) {
		r.warnf(n.Pos, "%s is ignored: UOA is off until a UDP service asks for it; do so with ipvsadm -E -u VIP:PORT ... --uoa %s", n.Keyword, mode)
	})(n)
}

// stableSecret reads the 32 hexadecimal digits of stable-privacy.
func (r *reader) stableSecret(n *block.Node) {
	v, ok := r.one(n)
	if !ok {
		return
	}
	secret, err := hex.DecodeString(v)
	if err != nil || len(secret) != len(r.cfg.Boot.IPv6.StableSecret) {
		// Not repeated: it is a secret.
		r.errorf(n.Pos, "stable_secret is not 32 hexadecimal digits (default: none)")
		return
	}
	copy(r.cfg.Boot.IPv6.StableSecret[:], secret)
	r.secret = &n.Pos
}

// portRange reads FIRST-LAST, the ports that local addresses use.
func (r *reader) portRange(n *block.Node) {
	v, ok := r.one(n)
	if !ok {
		return
	}
	from, to, ok := strings.Cut(v, "-")
	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if !ok || err1 != nil || err2 != nil || first == 0 || last < first {
		r.errorf(n.Pos, "port_range %s is not FIRST-LAST within 1-65535 (default: 1025-65535)", shown(v))
		return
	}
	r.cfg.Boot.LocalFirst, r.cfg.Boot.LocalLast = uint16(first), uint16(last)
}

// choice reads one of a few words, in any case of letters.
func choice[T ~string](r *reader, dst *T, words ...T) rule {
	otherwise := *dst
	return func(n *block.Node) {
		v, ok := r.one(n)
		if !ok {
			return
		}
		i := slices.IndexFunc(words, func(w T) bool { return strings.EqualFold(string(w), v) })
		if i < 0 {
			all := make([]string, len(words))
			for i, w := range words {
				all[i] = string(w)
			}
			r.errorf(n.Pos, "%s %s is not one of %s%s", n.Keyword, shown(v), strings.Join(all, ", "), defaultIs(string(otherwise)))
			return
		}
		*dst = words[i]
	}
}

func defaultIs(word string) string {
	if word == "" {
		return ""
	}
	return " (default: " + word + ")"
}

// path reads an absolute file name.
func (r *reader) path(dst *string, otherwise string) rule {
	return func(n *block.Node) {
		v, ok := r.one(n)
		switch {
		case !ok:
		case !filepath.IsAbs(v):
			r.errorf(n.Pos, "%s %s does not begin with '/': give the whole path (default: %s)", n.Keyword, shown(v), otherwise)
		default:
			*dst = v
		}
	}
}

// unused accepts a keyword that Weir has no use for and says why. inside are the
// keywords that its block may hold, at any depth.
func (r *reader) unused(why string, inside ...string) rule {
	return r.ignored("is not needed by weir and is ignored: "+why, inside)
}

// later accepts a keyword for something that Weir does not do yet.
func (r *reader) later(inside ...string) rule {
	return r.ignored("is not supported yet and is ignored", inside)
}

// without is unused for a keyword whose value is held to its range all the same.
func (r *reader) without(read rule, why string) rule {
	return r.checked(read, r.unused(why))
}

// notYet is later for a keyword that is read as it will be: a value that is wrong
// then is refused now.
func (r *reader) notYet(read rule) rule {
	return r.checked(read, r.later())
}

// checked reads a value and says what becomes of it, unless it is refused.
func (r *reader) checked(read, say rule) rule {
	return func(n *block.Node) {
		before := len(r.errors)
		read(n)
		if len(r.errors) == before {
			say(n)
		}
	}
}

func (r *reader) ignored(text string, inside []string) rule {
	return func(n *block.Node) {
		r.warnf(n.Pos, "%s %s", n.Keyword, text)
		r.strange(n, inside)
	}
}

// strange warns of unknown keywords in an ignored block.
func (r *reader) strange(n *block.Node, inside []string) {
	for i := range n.Block {
		c := &n.Block[i]
		if !slices.Contains(inside, c.Keyword) {
			r.unknown(c, inside, n.Keyword)
			continue
		}
		r.strange(c, inside)
	}
}
