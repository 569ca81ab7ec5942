package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestRS runs each way once: every step has a figure, and those without an agent
// none that needs one.
func TestRS(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "bench")
	if said, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	cmd := exec.CommandContext(t.Context(), bin, "rs", "-reps", "1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bench rs: %v\n%s", err, out)
	}
	const figure = ` +[+-]?[0-9]+ \([+-]?[0-9]+ [+-]?[0-9]+\)`
	for _, step := range rsSteps {
		row := regexp.QuoteMeta(step.name) + figure + figure + figure + figure
		if step.need != nil {
			row = regexp.QuoteMeta(step.name) + ` +- +-` + figure + ` +-`
		}
		if !regexp.MustCompile(`(?m)^` + row + `$`).Match(out) {
			t.Errorf("no row of %q in\n%s", step.name, out)
		}
	}
}
