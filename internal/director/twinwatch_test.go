package director

import (
	"testing"
	"time"
)

// A few words of Linux's are looked after at once, whenever they come; of many that come
// together the later ones wait for the last.
func TestManyWords(t *testing.T) {
	for _, tc := range []struct {
		name  string
		every time.Duration
		words int
		wait  int // how many words are waited after
	}{
		{"an operator's script", 3 * time.Millisecond, atOnce, 0},
		{"now and then, for long", settleMost / atOnce, 1000, 0},
		{"a program that moves many", 100 * time.Microsecond, 1000, 1000 - atOnce},
		{"all in one moment", 0, 1000, 1000 - atOnce},
	} {
		var last recent
		wait, now := 0, time.Unix(1, 0)
		for range tc.words {
			if last.many(now) {
				wait++
			}
			now = now.Add(tc.every)
		}
		if wait != tc.wait {
			t.Errorf("%s: %d of %d words are waited after, want %d", tc.name, wait, tc.words, tc.wait)
		}
	}
}
