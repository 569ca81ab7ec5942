package worker_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/packet"
	"weir/internal/testkit/story"
)

// elsewhere are the reasons that no story can bring about, and the test that
// does: the kernel's own, and what only happens between two workers at once.
var elsewhere = map[packet.Reason]struct{ name, file string }{
	packet.BondInactive:   {"BondInactive", "../port/bond/queue_test.go"},
	packet.BondSlowFull:   {"BondSlowFull", "../port/bond/queue_test.go"},
	packet.BondNoMember:   {"BondNoMember", "../port/bond/queue_test.go"},
	packet.PortRxRingFull: {"PortRxRingFull", "../port/drops_test.go"},
	packet.PortRxNoFrame:  {"PortRxNoFrame", "../port/drops_test.go"},
	packet.PortRxTooBig:   {"PortRxTooBig", "../port/drops_test.go"},
	packet.PortTxError:    {"PortTxError", "../port/drops_test.go"},
	packet.PortTxTooBig:   {"PortTxTooBig", "../port/drops_test.go"},
	packet.PortTxFull:     {"PortTxFull", "../port/pipe/pipe_test.go"},
	packet.NeighTableFull: {"NeighTableFull", "../ip/deliver4_test.go"},
	packet.PortDown:       {"PortDown", "drops_test.go"},
	packet.HandoffFull:    {"HandoffFull", "drops_test.go"},
	packet.WalkFault:      {"WalkFault", "drops_test.go"},
	packet.OffloadFull:    {"OffloadFull", "../port/engine_test.go"},
	packet.OffloadRefused: {"OffloadRefused", "../port/engine_test.go"},
	packet.LBConnRace:     {"LBConnRace", "../lb/race_test.go"},
	packet.LBLateRewrite:  {"LBLateRewrite", "../lb/race_test.go"},
	packet.LBMappingsFull: {"LBMappingsFull", "../lb/mapping_test.go"},
}

// kernelOnly are reasons that stand for counters of the kernel (struct
// xdp_statistics, tpacket, the redirect program's map): no packet of the walk.
var kernelOnly = map[packet.Reason]bool{packet.PortRxTruncated: true, packet.PortRxError: true, packet.PortRxNoQueue: true, packet.PortRxNobody: true}

// TestEngines tells the stories once more, and shows each frame to the XDP engine first:
// what that forwards must be what the workers send, and the rest be as it was.
func TestEngines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	tally := story.Tally{Kinds: map[string]int{}}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { story.RunShadowed(t, file, &tally) })
	}
	t.Logf("%d frames shown, %d taken: %v", tally.Shown, tally.Taken, tally.Kinds)
}

// TestEnginesModel shows random frames to both engines, and frames cut at every length.
func TestEnginesModel(t *testing.T) {
	tally := story.Tally{Kinds: map[string]int{}}
	story.RunModel(t, *modelSeed, *modelFrames, &tally)
	story.RunCuts(t, &tally)
	t.Logf("%d frames shown, %d taken: %v", tally.Shown, tally.Taken, tally.Kinds)
}

var (
	modelSeed   = flag.Uint64("model-seed", 1, "of TestEnginesModel")
	modelFrames = flag.Int("model-frames", 12000, "of TestEnginesModel")
)

// TestStories tells each story of testdata. `go test ./internal/worker -run
// TestStories -rewrite` writes down what the director does now: review the diff.
// When all were told, every reason for a drop has been met, here or in a test
// that is named above.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	told := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			told++
			story.Run(t, file)
		})
	}
	if told < len(files) || t.Failed() {
		return
	}
	met := story.Reached()
	for r := packet.NoReason + 1; r < packet.NumReasons; r++ {
		other, named := elsewhere[r]
		switch {
		case met[r] > 0 && (named || kernelOnly[r]):
			t.Errorf("a story meets %s: it need not be in the list of those that can't", r)
		case met[r] == 0 && !named && !kernelOnly[r]:
			t.Errorf("no story meets %s: %s", r, r.Text())
		case named:
			text, err := os.ReadFile(other.file)
			if err != nil || !strings.Contains(string(text), "packet."+other.name) {
				t.Errorf("%s has no test that meets %s (%v)", other.file, r, err)
			}
		}
	}
	if met[packet.NoReason] != 0 {
		t.Errorf("%d packets were dropped without a reason", met[packet.NoReason])
	}
}
