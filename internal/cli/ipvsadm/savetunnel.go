package ipvsadm

import (
	"strconv"

	"weir/api/weirv1"
)

// tunnelLine is the line that makes a tunnel device anew. It comes before whatever may be
// on the device.
func tunnelLine(t *weirv1.Tunnel) string {
	words := []string{"dpip tunnel add", t.GetName(), "mode", t.GetMode()}
	for _, w := range [][2]string{{"remote", t.GetRemote()}, {"local", t.GetLocal()}, {"dev", t.GetDevice()}} {
		if w[1] != "" {
			words = append(words, w[0], w[1])
		}
	}
	words = figure(words, "ttl", t.GetTtl())
	if t.GetTos() == 1 {
		words = append(words, "tos", "inherit")
	} else {
		words = figure(words, "tos", t.GetTos())
	}
	for _, way := range []struct {
		prefix string
		w      *weirv1.TunnelWords
	}{{"i", t.GetIn()}, {"o", t.GetOut()}} {
		if way.w.GetKeyed() {
			words = append(words, way.prefix+"key", strconv.FormatUint(uint64(way.w.GetKey()), 10))
		}
		if way.w.GetChecksum() {
			words = append(words, way.prefix+"csum")
		}
		if way.w.GetSequence() {
			words = append(words, way.prefix+"seq")
		}
	}
	return join(words...)
}
