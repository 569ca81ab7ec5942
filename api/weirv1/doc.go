// Package weirv1 is the director's API: director.proto, and what `make generate`
// makes of it. Every tool is a client of it and imports nothing else of Weir.
package weirv1
