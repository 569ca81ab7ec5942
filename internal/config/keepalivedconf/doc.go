// Package keepalivedconf reads keepalived.conf, stock keepalived's and DPVS's:
// virtual servers with their real servers and health checks, the groups of
// addresses they bind, and what of the VRRP side concerns the director.
//
// Enters: a file in the grammar of keepalived 2.2 with the keywords that DPVS
// adds. Its lines are not those of dpvs.conf (escapes, two kinds of quotes,
// definitions, conditions), so that of package block only the places, the errors
// and the bounds are used.
// Leaves: a Config of plain values, with the text of the VRRP side for the
// distribution's own keepalived, and a warning for each keyword that changes
// nothing.
// Owns: nothing; a Config belongs to whoever asked for it.
// Drops: keywords that Weir has no use for or does not know, each with a
// warning; a bad value refuses the whole file and names all such lines.
// See: docs/keepalived.md, which lists every keyword, range and default.
package keepalivedconf
