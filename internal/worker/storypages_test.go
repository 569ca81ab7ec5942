package worker_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A page of docs/ shows a part of a story like this:
//
//	<!-- story dr.txt: A client's SYN. -->
//	```
//	inject lan from=client
//	...
//	```
//
// The part is what stands under the comment that begins with these words, as far
// as the next comment. Pages can't differ from stories, and TestStories sees to
// it that stories do not differ from the walk.
var (
	marker    = regexp.MustCompile(`^<!-- story ([a-z0-9_]+\.txt): (.+) -->$`)
	quoteMark = "```"
)

// quotation is a part of a story that a page shows.
type quotation struct {
	page, story, part string
	line              int    // of the marker, from 1
	text              string // what the page shows
	want              string // what the story says
}

// storyPart returns what stands under the comment that begins with these words:
// just one has to.
func storyPart(story, words string) (string, error) {
	var found []string
	lines := strings.Split(strings.TrimRight(story, "\n"), "\n")
	for i := 0; i < len(lines); {
		if !strings.HasPrefix(lines[i], "#") {
			i++
			continue
		}
		var comment []string
		for ; i < len(lines) && strings.HasPrefix(lines[i], "#"); i++ {
			comment = append(comment, strings.TrimSpace(lines[i][1:]))
		}
		from := i
		for i < len(lines) && !strings.HasPrefix(lines[i], "#") {
			i++
		}
		if strings.HasPrefix(strings.Join(comment, " "), words) {
			found = append(found, strings.TrimSpace(strings.Join(lines[from:i], "\n")))
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("has %d comments that begin with %q, not one", len(found), words)
	}
	return found[0], nil
}

// quotations reads a page: what it shows of stories, what is wrong with that, and
// how the page reads when it is right. read returns a story's text.
func quotations(page, text string, read func(story string) (string, bool)) (quotes []quotation, bad []string, right string) {
	complain := func(line int, format string, a ...any) {
		bad = append(bad, fmt.Sprintf("docs/%s:%d: %s", page, line, fmt.Sprintf(format, a...)))
	}
	lines := strings.Split(text, "\n")
	var out []string
	for i := 0; i < len(lines); i++ {
		out = append(out, lines[i])
		if strings.HasPrefix(lines[i], quoteMark) { // quoted from elsewhere
			from := i + 1
			for i++; i < len(lines) && lines[i] != quoteMark; i++ {
				out = append(out, lines[i])
			}
			if slices.Contains(lines[from:i], "----") {
				complain(from, "a story without a line that says which (<!-- story FILE: COMMENT -->)")
			}
			if i < len(lines) {
				out = append(out, lines[i])
			}
			continue
		}
		m := marker.FindStringSubmatch(lines[i])
		if m == nil {
			if strings.Contains(lines[i], "<!-- story") {
				complain(i+1, "can't be read: it has to be <!-- story FILE: COMMENT -->, alone on its line")
			}
			continue
		}
		q := quotation{page: page, story: m[1], part: m[2], line: i + 1}
		shown := lines[i+1 : i+1] // with its frame
		if i+1 < len(lines) && lines[i+1] == quoteMark {
			end := slices.Index(lines[i+2:], quoteMark)
			if end < 0 {
				complain(i+2, "what begins here does not end")
				continue
			}
			shown = lines[i+1 : i+3+end]
			q.text = strings.Join(shown[1:len(shown)-1], "\n")
			i += len(shown)
		}
		story, ok := read(q.story)
		var err error
		if !ok {
			err = errors.New("is no story")
		} else {
			q.want, err = storyPart(story, q.part)
		}
		if err != nil {
			complain(q.line, "%s %v", q.story, err)
			out = append(out, shown...)
			continue
		}
		out = append(out, quoteMark, q.want, quoteMark)
		quotes = append(quotes, q)
		if q.text != q.want {
			complain(q.line, "is not what %s says: %s", q.story, firstDifference(q.text, q.want))
		}
	}
	return quotes, bad, strings.Join(out, "\n")
}

// firstDifference says where a page goes its own way.
func firstDifference(page, story string) string {
	p, s := strings.Split(page, "\n"), strings.Split(story, "\n")
	for i := range max(len(p), len(s)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(p) {
			a = p[i]
		}
		if i < len(s) {
			b = s[i]
		}
		if a != b {
			return fmt.Sprintf("line %d is\n\t%s\nand has to be\n\t%s", i+1, a, b)
		}
	}
	return "blanks at an end"
}

// TestDocsQuoteStories compares what the pages show with the stories. With
// -rewrite the pages get what the stories say.
func TestDocsQuoteStories(t *testing.T) {
	rewrite := flag.Lookup("rewrite").Value.String() == "true"
	stories := map[string]string{}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		stories[filepath.Base(f)] = string(text)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	read := func(s string) (string, bool) {
		story, ok := stories[s]
		return story, ok
	}
	var all []quotation
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		quotes, bad, right := quotations(filepath.Base(page), string(text), read)
		all = append(all, quotes...)
		if rewrite && right != string(text) {
			if err := os.WriteFile(page, []byte(right), 0o644); err != nil {
				t.Fatal(err)
			}
			_, bad, _ = quotations(filepath.Base(page), right, read)
		}
		for _, b := range bad {
			t.Errorf("%s\n(-rewrite makes pages as stories are)", b)
		}
	}
	for _, m := range missingExamples(all, examples) {
		t.Error(m)
	}
	for _, b := range badStoryList(slices.Sorted(maps.Keys(stories)), all, notShown) {
		t.Error(b)
	}
}

// missingExamples returns a sentence for each example that its page does not have.
func missingExamples(quotes []quotation, want []example) (bad []string) {
	have := map[string]map[string]bool{}
	byStory := map[string][]quotation{}
	for _, q := range quotes {
		byStory[q.page+" "+q.story] = append(byStory[q.page+" "+q.story], q)
	}
	for _, of := range byStory {
		page := of[0].page
		if have[page] == nil {
			have[page] = map[string]bool{}
		}
		var events []event
		for _, q := range of {
			events = append(events, eventsOf(q.want)...)
		}
		for _, kind := range kinds(events) {
			have[page][kind] = true
		}
	}
	for _, w := range want {
		for _, kind := range w.kinds {
			if !have[w.page][kind] {
				bad = append(bad, fmt.Sprintf("docs/%s shows no story of %s; it shows %s",
					w.page, kind, strings.Join(slices.Sorted(maps.Keys(have[w.page])), ", ")))
			}
		}
	}
	return bad
}

// badStoryList returns a sentence for each story that no page shows and nobody
// says why, and for each reason that is not needed.
func badStoryList(stories []string, quotes []quotation, reasons map[string]string) (bad []string) {
	shown := map[string]string{}
	for _, q := range quotes {
		shown[q.story] = q.page
	}
	for _, s := range stories {
		switch reason, listed := reasons[s]; {
		case shown[s] == "" && reason == "":
			bad = append(bad, fmt.Sprintf("no page shows %s, and notShown does not say why", s))
		case shown[s] != "" && listed:
			bad = append(bad, fmt.Sprintf("docs/%s shows %s: it need not be in notShown", shown[s], s))
		}
	}
	for _, s := range slices.Sorted(maps.Keys(reasons)) {
		if !slices.Contains(stories, s) {
			bad = append(bad, fmt.Sprintf("notShown says why %s is not shown, which is no story", s))
		}
	}
	return bad
}

func TestQuotations(t *testing.T) {
	const story = "# A story\n# of two parts.\ndirector\n----\nready\n\n# First.\ninject a\nx\n----\ny\n\nconns\n----\nnothing\n\n# Second,\n# and last.\ninject b\n----\nz\n\n# Second and a half.\nwait 1s\n----\nnothing\n"
	read := func(s string) (string, bool) { return story, s == "a.txt" }
	const first = "```\ninject a\nx\n----\ny\n\nconns\n----\nnothing\n```\n"
	tests := []struct{ name, page, want, right string }{
		{"fine", "T\n<!-- story a.txt: First. -->\n" + first + "U\n", "", ""},
		{"a comment of two lines", "<!-- story a.txt: Second, and last. -->\n```\ninject b\n----\nz\n```\n", "", ""},
		{"differs", "<!-- story a.txt: First. -->\n" + strings.Replace(first, "y", "w", 1) + "U\n", "p.md:1: is not what a.txt says: line 4 is\n\tw\nand has to be\n\ty", "<!-- story a.txt: First. -->\n" + first + "U\n"},
		{"too short", "<!-- story a.txt: First. -->\n```\ninject a\n```\n", "line 2 is\n\t(nothing)", "<!-- story a.txt: First. -->\n" + first},
		{"not there yet", "<!-- story a.txt: First. -->\n\nU\n", "line 1 is", "<!-- story a.txt: First. -->\n" + first + "\nU\n"},
		{"no such story", "<!-- story b.txt: First. -->\n", "b.txt is no story", ""},
		{"no such part", "<!-- story a.txt: Third. -->\n" + first, "has 0 comments that begin", "<!-- story a.txt: Third. -->\n" + first},
		{"two such parts", "<!-- story a.txt: Second -->\n", "has 2 comments that begin", ""},
		{"no marker", "T\n" + first, "without a line that says which", ""},
		{"a marker that is none", "see <!-- story a.txt First. -->\n", "can't be read", ""},
		{"no end", "<!-- story a.txt: First. -->\n```\ninject a\n", "does not end", ""},
		{"other frames", "```go\nx := 1\n```\nT\n```\ny\n```\n", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, bad, right := quotations("p.md", tt.page, read)
			got := strings.Join(bad, "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("it says %q, want %q", got, tt.want)
			}
			if tt.want == "" {
				tt.right = tt.page
			}
			if tt.right != "" && right != tt.right {
				t.Errorf("the page is to be\n%s\nwant\n%s", right, tt.right)
			}
			if _, _, again := quotations("p.md", right, read); again != right {
				t.Errorf("done twice it is\n%s\nand was\n%s", again, right)
			}
		})
	}
}

func TestExamplesLawCanFail(t *testing.T) {
	dr := quotation{page: "dr.md", story: "dr.txt", want: "inject lan\nip 1.2.3.4 > 10.0.0.100 / tcp 4 > 80 S seq=1\n----\nlan > rs1: ip 1.2.3.4 > 10.0.0.100 ttl=63 / tcp 4 > 80 S seq=1"}
	want := []example{{"dr.md", []string{"DR 4 tcp", "DR 6 tcp"}}}
	if got := strings.Join(missingExamples([]quotation{dr}, want), "\n"); got != "docs/dr.md shows no story of DR 6 tcp; it shows DR 4 tcp" {
		t.Errorf("law says %q", got)
	}
	tests := []struct {
		name    string
		stories []string
		reasons map[string]string
		want    string
	}{
		{"fine", []string{"dr.txt", "arp.txt"}, map[string]string{"arp.txt": "why"}, ""},
		{"nobody shows it", []string{"dr.txt", "arp.txt"}, nil, "no page shows arp.txt"},
		{"no reason", []string{"dr.txt", "arp.txt"}, map[string]string{"arp.txt": ""}, "no page shows arp.txt"},
		{"shown", []string{"dr.txt"}, map[string]string{"dr.txt": "why"}, "need not be in notShown"},
		{"gone", []string{"dr.txt"}, map[string]string{"nd.txt": "why"}, "which is no story"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(badStoryList(tt.stories, []quotation{dr}, tt.reasons), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("law says %q, want %q", got, tt.want)
			}
		})
	}
}
