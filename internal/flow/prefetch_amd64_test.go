package flow

import (
	"bytes"
	"os"
	"testing"
)

// TestVendor holds what CPUID says of who made the processor against what Linux says.
func TestVendor(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	its := bytes.Contains(info, []byte("AuthenticAMD")) || bytes.Contains(info, []byte("HygonGenuine"))
	if second != its {
		t.Errorf("CPUID says AMD: %v, /proc/cpuinfo: %v", second, its)
	}
	if !amd(0x68747541, 0x69746e65, 0x444d4163) {
		t.Error("AMD's processors say AuthenticAMD, which is not known")
	}
	if amd(0x756e6547, 0x49656e69, 0x6c65746e) {
		t.Error("GenuineIntel is taken for AMD's")
	}
}
