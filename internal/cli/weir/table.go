package weir

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is text in columns that are as wide as they must be, two spaces apart.
// Columns whose heading begins with '>' are set flush right.
type table struct {
	heading []string
	right   []bool
	rows    [][]string
}

func newTable(heading ...string) *table {
	t := &table{right: make([]bool, len(heading))}
	for i, h := range heading {
		title, right := strings.CutPrefix(h, ">")
		t.right[i] = right
		t.heading = append(t.heading, title)
	}
	return t
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// write prints heading and rows without trailing spaces.
func (t *table) write(w io.Writer) error {
	width := make([]int, len(t.heading))
	all := append([][]string{t.heading}, t.rows...)
	for _, cells := range all {
		for i, c := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, cells := range all {
		var line strings.Builder
		for i, c := range cells {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if t.right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func decimal[T ~uint32 | ~uint64 | ~int32](n T) string {
	if n < 0 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(uint64(n), 10)
}

// writeAfterBlank is write after an empty line, which parts it from the table before.
func (t *table) writeAfterBlank(w io.Writer) error {
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.write(w)
}
