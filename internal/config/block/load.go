package block

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the file at path and, in the place of each include line, the files
// that the line's pattern matches, in the order of their names. A pattern is
// relative to the folder of the file it stands in; a pattern with wildcards may
// match nothing, a plain name must exist.
func Load(path string) ([]Node, error) {
	l := loader{}
	nodes, err := l.file(path, 0)
	var pe *fs.PathError
	if errors.As(err, &pe) && len(l.reading) == 0 {
		return nil, fmt.Errorf("can't read %s: %w", path, pe.Err)
	}
	return nodes, err
}

// loader follows the includes of one file.
type loader struct {
	reading []string // the files being read, outermost first, without symbolic links
	files   int
	bytes   int
}

// file reads one file. depth is how many blocks lie around it.
func (l *loader) file(path string, depth int) ([]Node, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if resolved, err = filepath.Abs(resolved); err != nil {
		return nil, err
	}
	if slices.Contains(l.reading, resolved) {
		return nil, fmt.Errorf("%s includes itself: remove one of the include lines", path)
	}
	if l.files++; l.files > MaxFiles {
		return nil, fmt.Errorf("more than %d files are included", MaxFiles)
	}
	src, err := l.read(path)
	if err != nil {
		return nil, err
	}
	l.reading = append(l.reading, resolved)
	p := parser{lex: newLexer(path, src), follow: l.include}
	nodes, err := p.block(nil, depth)
	if err != nil {
		return nil, err
	}
	l.reading = l.reading[:len(l.reading)-1]
	return nodes, nil
}

func (l *loader) read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(src) > MaxSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, MaxSize)
	}
	if l.bytes += len(src); l.bytes > MaxTotal {
		return nil, fmt.Errorf("the included files are larger than %d bytes together", MaxTotal)
	}
	return src, nil
}

// include reads the files that match glob. Errors in them carry their own
// place; that a file can't be read is said at the include line.
func (l *loader) include(at Pos, glob string, depth int) ([]Node, error) {
	if len(l.reading) > MaxIncludes {
		return nil, at.Errorf("include: more than %d files include one another", MaxIncludes)
	}
	if !filepath.IsAbs(glob) {
		glob = filepath.Join(filepath.Dir(at.File), glob)
	}
	paths := []string{glob}
	if strings.ContainsAny(glob, `*?[`) {
		var err error
		if paths, err = filepath.Glob(glob); err != nil {
			return nil, at.Errorf("include: pattern %s is not well formed: %v", glob, err)
		}
	}
	nodes := []Node{}
	for _, path := range paths {
		more, err := l.file(path, depth)
		var placed *Error
		var pe *fs.PathError
		switch {
		case err == nil:
		case errors.As(err, &placed):
			return nil, err
		case errors.As(err, &pe):
			return nil, at.Errorf("include: can't read %s: %v", path, pe.Err)
		default:
			return nil, at.Errorf("include: %v", err)
		}
		nodes = append(nodes, more...)
	}
	return nodes, nil
}
