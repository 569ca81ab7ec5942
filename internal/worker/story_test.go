package worker_test

import (
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/packet"
	"weir/internal/testkit/story"
)

// TestStories tells each story of testdata. `go test ./internal/worker -run
// TestStories -rewrite` writes down what the director does now: review the diff.
func TestStories(t *testing.T) {
	tellAll(t)
}

func tellAll(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { story.Run(t, file) })
	}
}

var _ = packet.NoReason
