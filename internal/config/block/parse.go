package block

// Bounds of what is read, so that no file can exhaust the daemon.
const (
	MaxDepth    = 32       // blocks in blocks
	MaxSize     = 4 << 20  // bytes of a file
	MaxTotal    = 16 << 20 // bytes of a file and all that it includes
	MaxFiles    = 1024     // a file and all that it includes, each time it is read
	MaxIncludes = 16       // files that include one another
)

// Parse reads src as one file called name. It opens nothing: include is refused.
func Parse(name string, src []byte) ([]Node, error) {
	if len(src) > MaxSize {
		return nil, Pos{name, 1}.Errorf("file is larger than %d bytes", MaxSize)
	}
	p := parser{lex: newLexer(name, src)}
	return p.block(nil, 0)
}

// parser reads the tokens of one file.
type parser struct {
	lex *lexer
	// follow reads what an include names; nil where there are no files.
	follow func(at Pos, glob string, depth int) ([]Node, error)
}

// block reads up to the end of the file (owner nil) or to the brace that ends
// the owner's block. It returns a slice that is never nil.
func (p *parser) block(owner *Node, depth int) ([]Node, error) {
	if depth > MaxDepth {
		return nil, owner.Pos.Errorf("block %s lies deeper than %d blocks: is a '}' missing above?", owner.Keyword, MaxDepth)
	}
	nodes := []Node{}
	bare := false // the last node is a plain line: a '{' on a line of its own belongs to it
	for {
		switch t := p.lex.next(); t.kind {
		case wrong:
			return nil, t.err
		case endLine:
		case endFile:
			if owner != nil {
				return nil, owner.Pos.Errorf("block %s is not closed: add a '}'", owner.Keyword)
			}
			return nodes, nil
		case shut:
			if owner == nil {
				return nil, t.pos.Errorf("'}' closes no block: remove it, or look for a '{' missing above")
			}
			return nodes, nil
		case open:
			if !bare {
				return nil, t.pos.Errorf("'{' without a keyword before it: write \"keyword {\"")
			}
			bare = false
			if err := p.fill(&nodes[len(nodes)-1], depth); err != nil {
				return nil, err
			}
		case word:
			n, opened, stop := p.line(t)
			if stop.kind == wrong {
				return nil, stop.err
			}
			if n.Keyword == "include" && !t.quoted && !opened {
				more, err := p.include(&n, depth)
				if err != nil {
					return nil, err
				}
				nodes = append(nodes, more...)
				bare = false
			} else {
				nodes = append(nodes, n)
				bare = !opened
			}
			if opened {
				if err := p.fill(&nodes[len(nodes)-1], depth); err != nil {
					return nil, err
				}
			}
			if stop.kind == shut {
				if owner == nil {
					return nil, stop.pos.Errorf("'}' closes no block: remove it, or look for a '{' missing above")
				}
				return nodes, nil
			}
		}
	}
}

// fill reads the block of n, whose '{' was just read.
func (p *parser) fill(n *Node, depth int) (err error) {
	n.Block, err = p.block(n, depth+1)
	return err
}

// line reads a keyword and its values up to what ends them: the end of the
// line, a '{' (opened) or a '}'.
func (p *parser) line(first token) (n Node, opened bool, stop token) {
	n = Node{Keyword: first.text, Pos: first.pos}
	for {
		t := p.lex.next()
		if t.kind != word {
			return n, t.kind == open, t
		}
		n.Args = append(n.Args, t.text)
	}
}

// include returns the nodes of the files that an include line names.
func (p *parser) include(n *Node, depth int) ([]Node, error) {
	if len(n.Args) != 1 {
		return nil, n.Pos.Errorf("include takes one file name or pattern, not %d", len(n.Args))
	}
	if p.follow == nil {
		return nil, n.Pos.Errorf("include is possible only in a file")
	}
	return p.follow(n.Pos, n.Args[0], depth)
}
