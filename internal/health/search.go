package health

import (
	"fmt"
	"regexp/syntax"
	"slices"
)

// search looks for what the body has to hold, in its first maxSearched bytes.
func (u *URL) search(body []byte) error {
	if u.Body == nil {
		return nil
	}
	switch matches := u.matches(body); {
	case matches && u.NoBody:
		return fmt.Errorf("the body matches %s, which it must not", u.Body)
	case !matches && !u.NoBody:
		return fmt.Errorf("the body does not match %s", u.Body)
	}
	return nil
}

// matches reports whether a match begins between the offsets.
func (u *URL) matches(body []byte) bool {
	within := func(at int) bool { return at >= u.MinOffset && (u.MaxOffset == 0 || at <= u.MaxOffset) }
	if u.MinOffset == 0 {
		at := u.Body.FindIndex(body)
		return at != nil && within(at[0])
	}
	if u.MinOffset > len(body) {
		return false
	}
	if !looksBack(u.Body.String()) {
		at := u.Body.FindIndex(body[u.MinOffset:])
		return at != nil && within(at[0]+u.MinOffset)
	}
	// What stands before counts: a match that begins too early may hide one that overlaps it.
	return slices.ContainsFunc(u.Body.FindAllIndex(body, -1), func(at []int) bool { return within(at[0]) })
}

// looksBack reports whether an expression asks what stands before its match: "^" and "\b".
func looksBack(re string) bool {
	tree, err := syntax.Parse(re, syntax.Perl)
	return err != nil || hasOp(tree, syntax.OpBeginText, syntax.OpBeginLine, syntax.OpWordBoundary, syntax.OpNoWordBoundary)
}

func hasOp(re *syntax.Regexp, ops ...syntax.Op) bool {
	return slices.Contains(ops, re.Op) || slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return hasOp(sub, ops...) })
}
