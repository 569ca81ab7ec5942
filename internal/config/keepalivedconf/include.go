package keepalivedconf

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weir/internal/config/block"
)

// main reads the file that was asked for.
func (l *loader) main(path string) {
	whole := block.Pos{File: path, Line: 1}
	if err := l.file(path, whole); err != nil {
		l.stop(whole, "can't read the file: %v", reason(err))
	}
}

// reason is what an error says of a file, without its name.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// file reads one file in the place of the line at.
func (l *loader) file(path string, at block.Pos) error {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if resolved, err = filepath.Abs(resolved); err != nil {
		return err
	}
	switch l.files++; {
	case slices.Contains(l.reading, resolved):
		l.stop(at, "include: %s includes itself: remove one of the include lines", path)
		return nil
	case len(l.reading) > block.MaxIncludes:
		l.stop(at, "include: more than %d files include one another", block.MaxIncludes)
		return nil
	case l.files > block.MaxFiles:
		l.stop(at, "include: more than %d files are included", block.MaxFiles)
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	src, err := io.ReadAll(io.LimitReader(f, block.MaxSize+1))
	if err != nil {
		return err
	}
	if l.bytes += len(src); l.bytes > block.MaxTotal {
		l.stop(at, "the included files are larger than %d bytes together", block.MaxTotal)
		return nil
	}
	dir := l.dir
	l.dir = filepath.Dir(resolved)
	l.reading = append(l.reading, resolved)
	l.text(path, src)
	l.reading = l.reading[:len(l.reading)-1]
	l.dir = dir
	return nil
}

// includes are the forms of include: whether a pattern must match, and whether
// a plain name must exist.
var includes = map[string]struct{ match, exist bool }{
	"include":  {false, true},
	"includer": {false, true},
	"includem": {true, true},
	"includew": {true, true},
	"includeb": {false, true},
	"includea": {true, true},
}

// include follows an include line. It reports whether the line was one.
func (l *loader) include(at block.Pos, text string) bool {
	word, rest := cutWord(text)
	form, is := includes[word]
	if !is || strings.HasPrefix(strings.TrimSpace(rest), "{") {
		return false
	}
	glob := strings.Trim(strings.TrimSpace(rest), `"'`)
	switch {
	case glob == "" || strings.ContainsAny(glob, " \t"):
		l.errorf(at, "%s takes one file name or pattern", word)
		return true
	case strings.ContainsAny(glob, "{}"):
		l.errorf(at, "%s: braces in %s are not supported: write a line for each", word, shown(glob))
		return true
	case !l.open:
		l.errorf(at, "%s is possible only in a file", word)
		return true
	}
	if !filepath.IsAbs(glob) {
		glob = filepath.Join(filepath.Dir(at.File), glob)
	}
	paths := []string{glob}
	if strings.ContainsAny(glob, `*?[`) {
		var err error
		if paths, err = filepath.Glob(glob); err != nil {
			l.errorf(at, "%s: pattern %s is not well formed", word, shown(glob))
			return true
		}
		if len(paths) == 0 && form.match {
			l.errorf(at, "%s: no file matches %s; include allows that", word, shown(glob))
		}
	}
	for _, path := range paths {
		if err := l.file(path, at); err != nil && form.exist {
			l.errorf(at, "%s: can't read %s: %v", word, path, reason(err))
		}
	}
	return true
}
