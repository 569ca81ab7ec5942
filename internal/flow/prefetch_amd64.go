package flow

// second says that lines are called into the second cache, from where they come in 14
// cycles, not into the first. AMD's processors (Zen 4 was measured) forget calls for the first
// one that come while some two dozen of its misses are open, of a burst's most, and their
// reader waits for memory; those for the second they keep. Intel's let the caller wait
// instead, and nothing is forgotten (docs/performance.md "Steps").
var second = amd(vendor())

// vendor is what CPUID's leaf 0 says of who made the processor, four letters each.
func vendor() (b, d, c uint32)

// amd reports whether these are AMD's letters, or those of Hygon, whose processors are
// AMD's.
func amd(b, d, c uint32) bool {
	name := [3]uint32{b, d, c}
	return name == letters("AuthenticAMD") || name == letters("HygonGenuine")
}

// letters is a vendor's name as CPUID says it: little-endian.
func letters(name string) (words [3]uint32) {
	for i := range 12 {
		words[i/4] |= uint32(name[i]) << (i % 4 * 8)
	}
	return words
}
